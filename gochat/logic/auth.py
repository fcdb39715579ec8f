"""Signing in: passwords and refresh tokens in, tokens out."""

import hashlib
import math
from typing import Any

from gochat.api.logic.v1 import logic_pb2
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
    def __init__(self, accounts: AccountServiceStub, tokens: Tokens, settings: Settings) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._settings = settings

    def Authenticate(self, request: logic_pb2.AuthRequest) -> logic_pb2.AuthResponse:
        policy.passwords(self._settings.passwords)
        session = self.new_session()
        opened = self._accounts.SignIn(
            account_pb2.SignInRequest(
                username=request.username,
                password=request.password,
                device_id=request.device_id,
                max_sessions=self._settings.sessions_per_user,
                address_delay_ms=math.ceil(current().address_delay * 1000),
                **session,
            )
        )
        caller = Caller(opened.profile.user_id, opened.role, opened.session_id)
        return logic_pb2.AuthResponse(success=True, user_info=opened.profile, **self.tokens_of(caller, session))

    def CreateSession(self, request: session_pb2.CreateSessionRequest) -> session_pb2.CreateSessionResponse:
        session = self.new_session()
        opened = self._accounts.OpenSession(
            account_pb2.OpenSessionRequest(
                user_id=request.user_id,
                device_id=request.device_id,
                max_sessions=self._settings.sessions_per_user,
                **session,
            )
        )
        caller = Caller(opened.profile.user_id, opened.role, opened.session_id)
        return session_pb2.CreateSessionResponse(user_info=opened.profile, **self.tokens_of(caller, session))

    def Register(self, request: session_pb2.RegisterRequest) -> session_pb2.RegisterResponse:
        policy.passwords(self._settings.passwords)
        policy.register(self._settings.registration)
        session = self.new_session()
        opened = self._accounts.Register(
            account_pb2.RegisterRequest(
                username=request.username,
                password=request.password,
                email=request.email,
                nickname=request.nickname,
                device_id=request.device_id,
                **session,
            )
        )
        caller = Caller(opened.user_id, opened.role, opened.session_id)
        return session_pb2.RegisterResponse(user_id=opened.user_id, **self.tokens_of(caller, session))

    def ChangePassword(self, request: session_pb2.ChangePasswordRequest) -> session_pb2.ChangePasswordResponse:
        caller = policy.personal(current().caller)
        session = self.new_session()
        opened = self._accounts.ChangePassword(
            account_pb2.ChangePasswordRequest(
                user_id=caller.user_id,
                old_password=request.old_password,
                new_password=request.new_password,
                session_id=caller.session_id,
                **session,
            )
        )
        changed = Caller(caller.user_id, opened.role, opened.session_id)
        return session_pb2.ChangePasswordResponse(**self.tokens_of(changed, session))

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
        rotated = self._accounts.RotateSession(
            account_pb2.RotateSessionRequest(
                session_id=claims.caller.session_id,
                refresh_id=claims.token_id,
                next_refresh_id=ids.new_secret(),
                expires_at=self._refresh_expiry(),
            )
        )
        # Of the session as it is, which is as it was the first time if this token was presented before.
        caller = Caller(rotated.user_id, rotated.role, claims.caller.session_id)
        access, refresh = self._pair(caller, rotated.refresh_id, rotated.expires_at)
        age = max(0, int(clock.now()) - self._issued_at(rotated.expires_at))
        return session_pb2.RefreshTokenResponse(
            access_token=access, refresh_token=refresh, expires_in=max(0, self._settings.access_ttl - age)
        )

    def _refresh_expiry(self) -> int:
        return int((clock.now() + self._settings.refresh_ttl) * 1000)

    def _issued_at(self, expires_at: int) -> int:
        """In Unix seconds, of a refresh token that expires then."""
        return expires_at // 1000 - self._settings.refresh_ttl

    def _pair(self, caller: Caller, refresh_id: str, expires_at: int) -> tuple[str, str]:
        """The access and the refresh token of a session: the same whenever they are asked for."""
        issued_at = self._issued_at(expires_at)
        access_id = hashlib.sha256(refresh_id.encode()).hexdigest()[:32]
        return (
            self._tokens.sign(ACCESS, caller, self._settings.access_ttl, access_id, issued_at),
            self._tokens.sign(REFRESH, caller, self._settings.refresh_ttl, refresh_id, issued_at),
        )

    def new_session(self) -> dict[str, Any]:
        """What the repo half needs to open one."""
        return {"refresh_id": ids.new_secret(), "expires_at": self._refresh_expiry()}

    def tokens_of(self, caller: Caller, session: dict[str, Any]) -> dict[str, Any]:
        """What an answer says of a session that was opened with these. session: of new_session()."""
        access, refresh = self._pair(caller, session["refresh_id"], session["expires_at"])
        return {"access_token": access, "refresh_token": refresh, "expires_in": self._settings.access_ttl}
