"""Signing in, tokens, sessions."""

import time
from dataclasses import replace

from gochat.api.logic.v1 import logic_pb2
from gochat.api.session.v1 import session_pb2
from gochat.api.store.v1 import store_pb2
from gochat.api.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.config import Auth as Settings
from gochat.context import Caller, current
from gochat.domain import ids
from gochat.domain.tokens import ACCESS, REFRESH, BadTokenError, Tokens
from gochat.errors import invalid, unauthorized


class Auth:
    def __init__(self, store: StoreServiceStub, tokens: Tokens, settings: Settings) -> None:
        self._store = store
        self._tokens = tokens
        self._settings = settings

    def Authenticate(self, request: logic_pb2.AuthRequest) -> logic_pb2.AuthResponse:
        checked = self._store.CheckCredentials(
            store_pb2.CheckCredentialsRequest(username=request.username, password=request.password)
        )
        refresh_id = ids.new_secret()
        session = self._store.CreateSession(
            store_pb2.CreateSessionRequest(
                user_id=checked.profile.user_id,
                device_id=request.device_id,
                refresh_id=refresh_id,
                expires_at=self._refresh_expiry(),
            )
        )
        access, refresh = self._pair(Caller(checked.profile.user_id, checked.role, session.session_id), refresh_id)
        return logic_pb2.AuthResponse(
            success=True,
            access_token=access,
            refresh_token=refresh,
            expires_in=self._settings.access_ttl,
            user_info=checked.profile,
        )

    def ValidateToken(self, request: logic_pb2.ValidateTokenRequest) -> logic_pb2.ValidateTokenResponse:
        try:
            claims = self._tokens.verify(request.token, ACCESS)
        except BadTokenError:
            return logic_pb2.ValidateTokenResponse(valid=False)
        return logic_pb2.ValidateTokenResponse(
            valid=True, user_id=claims.caller.user_id, expires_at=claims.expires_at * 1000
        )

    def RefreshToken(self, request: session_pb2.RefreshTokenRequest) -> session_pb2.RefreshTokenResponse:
        try:
            claims = self._tokens.verify(request.refresh_token, REFRESH)
        except BadTokenError as bad:
            raise unauthorized(str(bad), "BAD_REFRESH_TOKEN") from None
        next_id = ids.new_secret()
        rotated = self._store.RotateSession(
            store_pb2.RotateSessionRequest(
                session_id=claims.caller.session_id,
                refresh_id=claims.token_id,
                next_refresh_id=next_id,
                expires_at=self._refresh_expiry(),
            )
        )
        access, refresh = self._pair(replace(claims.caller, role=rotated.role), next_id)
        return session_pb2.RefreshTokenResponse(
            access_token=access, refresh_token=refresh, expires_in=self._settings.access_ttl
        )

    def Logout(self, request: session_pb2.LogoutRequest) -> session_pb2.LogoutResponse:  # noqa: ARG002 - it is empty
        session_id = current().caller.session_id
        if not session_id:
            raise invalid("authorization", "must be the token of a session to end")
        self._store.EndSession(store_pb2.EndSessionRequest(session_id=session_id))
        return session_pb2.LogoutResponse(success=True)

    def _refresh_expiry(self) -> int:
        return int((time.time() + self._settings.refresh_ttl) * 1000)

    def _pair(self, caller: Caller, refresh_id: str) -> tuple[str, str]:
        return (
            self._tokens.sign(ACCESS, caller, self._settings.access_ttl),
            self._tokens.sign(REFRESH, caller, self._settings.refresh_ttl, refresh_id),
        )
