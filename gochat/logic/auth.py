"""Signing in: passwords and refresh tokens in, tokens out."""

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.api.session.v1 import session_pb2
from gochat.config import Auth as Settings
from gochat.context import Caller, current
from gochat.domain import ids, policy
from gochat.domain.clock import clock
from gochat.domain.tokens import ACCESS, CALLING, REFRESH, BadTokenError, Tokens
from gochat.errors import unauthorized
from gochat.internal.account.v1 import account_pb2
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub


class Auth:
    def __init__(self, repo: RepoServiceStub, accounts: AccountServiceStub, tokens: Tokens, settings: Settings) -> None:
        self._repo = repo
        self._accounts = accounts
        self._tokens = tokens
        self._settings = settings

    def Authenticate(self, request: logic_pb2.AuthRequest) -> logic_pb2.AuthResponse:
        opened, access, refresh = self._sign_in(request.username, request.password, request.device_id)
        return logic_pb2.AuthResponse(
            success=True,
            access_token=access,
            refresh_token=refresh,
            expires_in=self._settings.access_ttl,
            user_info=opened.profile,
        )

    def Register(self, request: session_pb2.RegisterRequest) -> session_pb2.RegisterResponse:
        policy.register(self._settings.registration)
        created = self._repo.CreateUser(
            repo_pb2.CreateUserRequest(
                username=request.username, password=request.password, email=request.email, nickname=request.nickname
            )
        )
        _, access, refresh = self._sign_in(request.username, request.password, request.device_id)
        return session_pb2.RegisterResponse(
            user_id=created.user_id,
            access_token=access,
            refresh_token=refresh,
            expires_in=self._settings.access_ttl,
        )

    def ChangePassword(self, request: session_pb2.ChangePasswordRequest) -> session_pb2.ChangePasswordResponse:
        caller = policy.personal(current().caller)
        refresh_id = ids.new_secret()
        opened = self._accounts.ChangePassword(
            account_pb2.ChangePasswordRequest(
                user_id=caller.user_id,
                old_password=request.old_password,
                new_password=request.new_password,
                session_id=caller.session_id,
                refresh_id=refresh_id,
                expires_at=self._refresh_expiry(),
            )
        )
        access, refresh = self._pair(Caller(caller.user_id, opened.role, opened.session_id), refresh_id)
        return session_pb2.ChangePasswordResponse(
            access_token=access, refresh_token=refresh, expires_in=self._settings.access_ttl
        )

    def ValidateToken(self, request: logic_pb2.ValidateTokenRequest) -> logic_pb2.ValidateTokenResponse:
        try:
            claims = self._tokens.verify_with_new_keys(request.token, *CALLING)
        except BadTokenError:
            return logic_pb2.ValidateTokenResponse(valid=False)
        return logic_pb2.ValidateTokenResponse(
            valid=True, user_id=claims.caller.user_id, expires_at=claims.expires_at * 1000
        )

    def RefreshToken(self, request: session_pb2.RefreshTokenRequest) -> session_pb2.RefreshTokenResponse:
        try:
            claims = self._tokens.verify_with_new_keys(request.refresh_token, REFRESH)
        except BadTokenError as bad:
            raise unauthorized(str(bad), "BAD_REFRESH_TOKEN") from None
        next_id = ids.new_secret()
        rotated = self._accounts.RotateSession(
            account_pb2.RotateSessionRequest(
                session_id=claims.caller.session_id,
                refresh_id=claims.token_id,
                next_refresh_id=next_id,
                expires_at=self._refresh_expiry(),
            )
        )
        access, refresh = self._pair(Caller(rotated.user_id, rotated.role, claims.caller.session_id), next_id)
        return session_pb2.RefreshTokenResponse(
            access_token=access, refresh_token=refresh, expires_in=self._settings.access_ttl
        )

    def _sign_in(self, username: str, password: str, device_id: str) -> tuple[account_pb2.SignInResponse, str, str]:
        refresh_id = ids.new_secret()
        opened = self._accounts.SignIn(
            account_pb2.SignInRequest(
                username=username,
                password=password,
                device_id=device_id,
                refresh_id=refresh_id,
                expires_at=self._refresh_expiry(),
            )
        )
        return opened, *self._pair(Caller(opened.profile.user_id, opened.role, opened.session_id), refresh_id)

    def _refresh_expiry(self) -> int:
        return int((clock.now() + self._settings.refresh_ttl) * 1000)

    def _pair(self, caller: Caller, refresh_id: str) -> tuple[str, str]:
        return (
            self._tokens.sign(ACCESS, caller, self._settings.access_ttl),
            self._tokens.sign(REFRESH, caller, self._settings.refresh_ttl, refresh_id),
        )
