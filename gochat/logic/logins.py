"""Signing in without a password: by the operator's own login, and as a guest."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlencode

from gochat.api.common.v1 import common_pb2
from gochat.api.session.v1 import session_pb2 as pb
from gochat.config import Auth as Settings
from gochat.context import Caller, current
from gochat.domain import external, ids, policy
from gochat.domain.external import BadLoginError, Subject
from gochat.domain.tokens import BadTokenError, Tokens
from gochat.errors import ChatError, invalid
from gochat.internal.login.v1 import login_pb2
from gochat.internal.login.v1.login_pb2_grpc import LoginStoreServiceStub
from gochat.logic.auth import Auth
from gochat.logic.issuers import Issuers, Login

STATE_TTL = 10 * 60  # seconds that somebody may take to sign in at the provider
_STATE = "sign-in"
_REFUSALS = (common_pb2.ERROR_CODE_UNAUTHORIZED, common_pb2.ERROR_CODE_PERMISSION_DENIED)  # of who is not let in


class Logins:
    def __init__(
        self,
        store: LoginStoreServiceStub,
        auth: Auth,
        tokens: Tokens,
        settings: Settings,
        origins: Callable[[], Collection[str]],
    ) -> None:
        """origins: of pages that may have users sign in. Raises ConfigError."""
        self._store, self._auth, self._tokens, self._settings = store, auth, tokens, settings
        self._issuers, self._origins = Issuers(settings.issuers, self._record_refusal), origins

    def ListSignInMethods(self, request: pb.ListSignInMethodsRequest) -> pb.ListSignInMethodsResponse:  # noqa: ARG002
        settings = self._settings
        return pb.ListSignInMethodsResponse(
            password=settings.passwords,
            registration=settings.passwords and settings.registration == "open",
            guests=settings.guests == "on",
            issuers=[
                pb.SignInIssuer(name=name, label=issuer.label or name)
                for name, issuer in settings.issuers.items()
                if issuer.client_id
            ],
        )

    def ExchangeToken(self, request: pb.ExchangeTokenRequest) -> pb.ExchangeTokenResponse:
        subject, login = self._issuers.subject(request.token)
        return pb.ExchangeTokenResponse(**self._sign_in(subject, login, request.device_id))

    def BeginSignIn(self, request: pb.BeginSignInRequest) -> pb.BeginSignInResponse:
        login = self._issuers.named(request.issuer)
        _check_redirect(request.redirect_uri, self._origins())
        endpoint = login.provider().authorization_endpoint
        nonce, verifier = ids.new_secret(), ids.new_secret() + ids.new_secret()
        kept = {"login": login.name, "uri": request.redirect_uri, "nonce": nonce, "challenge": _challenge(verifier)}
        state = self._tokens.seal(_STATE, kept, STATE_TTL)
        query = {
            "response_type": "code",
            "client_id": login.settings.client_id,
            "redirect_uri": request.redirect_uri,
            "scope": " ".join(login.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": kept["challenge"],
            "code_challenge_method": "S256",
        }
        url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
        return pb.BeginSignInResponse(authorization_url=url, state=state, code_verifier=verifier)

    def FinishSignIn(self, request: pb.FinishSignInRequest) -> pb.FinishSignInResponse:
        login = self._issuers.named(request.issuer)
        try:
            nonce = self._nonce(request)
            token = login.exchanged(request.code, request.code_verifier, request.redirect_uri)
            subject = login.subject(external.parse(token), audience=login.settings.client_id, nonce=nonce)
        except BadLoginError as error:
            raise self._issuers.refused(error, login.name) from None
        return pb.FinishSignInResponse(**self._sign_in(subject, login, request.device_id))

    def CreateGuest(self, request: pb.CreateGuestRequest) -> pb.CreateGuestResponse:
        policy.guests(self._settings.guests)
        session = self._auth.new_session()
        opened = self._store.CreateGuest(
            login_pb2.CreateGuestRequest(nickname=request.nickname, device_id=request.device_id, **session)
        )
        caller = Caller(opened.user_id, opened.role, opened.session_id)
        return pb.CreateGuestResponse(user_id=opened.user_id, **self._auth.tokens_of(caller, session))

    def ClaimAccount(self, request: pb.ClaimAccountRequest) -> pb.ClaimAccountResponse:
        caller = policy.personal(current().caller)
        if request.token:
            if request.username or request.password:
                raise invalid("token", "must be empty where username and password are set")
            subject, _ = self._issuers.subject(request.token)
            way: dict[str, Any] = {"external_id": subject.external_id, "username": subject.username}
        else:
            for name in ("username", "password"):
                if not getattr(request, name):
                    raise invalid(name, "must not be empty unless token is set")
            policy.passwords(self._settings.passwords)
            way = {"username": request.username, "password": request.password}
        session = self._auth.new_session()
        opened = self._store.ClaimAccount(
            login_pb2.ClaimAccountRequest(user_id=caller.user_id, session_id=caller.session_id, **way, **session)
        )
        claimed = Caller(caller.user_id, opened.role, opened.session_id)
        return pb.ClaimAccountResponse(**self._auth.tokens_of(claimed, session))

    def _nonce(self, request: pb.FinishSignInRequest) -> str:
        """What the ID token must name. Raises BadLoginError unless the sign-in was begun here, and by this client."""
        try:
            kept = self._tokens.unseal(_STATE, request.state)
        except BadTokenError as error:
            raise BadLoginError(f"of its state: {error}") from None
        if (kept["login"], kept["uri"]) != (request.issuer, request.redirect_uri):
            raise BadLoginError("its state is of another issuer or redirect_uri")
        if not hmac.compare_digest(kept["challenge"], _challenge(request.code_verifier)):
            raise BadLoginError("its code_verifier is another")
        return str(kept["nonce"])

    def _sign_in(self, subject: Subject, login: Login, device_id: str) -> dict[str, Any]:
        session = self._auth.new_session()
        request = login_pb2.SignInExternalRequest(
            external_id=subject.external_id,
            username=subject.username,
            nickname=subject.nickname,
            email=subject.email,
            avatar=subject.avatar,
            create=login.settings.create,
            device_id=device_id,
            max_sessions=self._settings.sessions_per_user,
            **session,
        )
        try:
            opened = self._store.SignInExternal(request)
        except ChatError as error:
            if error.code in _REFUSALS:
                self._record_refusal(login.name)
            raise
        caller = Caller(opened.user_id, opened.role, opened.session_id)
        tokens = self._auth.tokens_of(caller, session)
        return {"user_id": opened.user_id, "created": opened.created, **tokens}

    def _record_refusal(self, issuer: str) -> None:
        self._store.RecordRefusal(login_pb2.RecordRefusalRequest(issuer=issuer))


def _challenge(verifier: str) -> str:
    """RFC 7636, 4.2, by S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _check_redirect(uri: str, origins: Collection[str]) -> None:
    """An origin is scheme and host exactly, so what follows it is a path."""
    is_plain = re.fullmatch(r"[!-~]+", uri) and not set(uri) & set("\\#")
    if not (is_plain and any(uri == origin or uri.startswith(f"{origin}/") for origin in origins)):
        raise invalid("redirect_uri", "must be on one of the server's [http] origins", "REDIRECT_NOT_ALLOWED")
