"""The operator's own logins while the server runs: their keys, their endpoints, and the verdict on their tokens."""

import base64
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from gochat.config import ConfigError
from gochat.domain import external
from gochat.domain.clock import clock
from gochat.domain.external import BadLoginError, PublicKey, Subject, Token
from gochat.errors import ChatError, not_found, unauthorized
from gochat.issuers import Issuer, is_safe
from gochat.jsontext import loads
from gochat.logic.fetching import FetchError, Kept, fetch

log = logging.getLogger(__name__)

MAX_ENDPOINT = 2048  # characters


@dataclass(frozen=True)
class Provider:
    """Of OpenID Connect, as its discovery document says."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    by_form: bool
    """The client's secret goes into the form of a request and not into its header."""


class Login:
    """One issuer."""

    def __init__(self, name: str, settings: Issuer) -> None:
        """Raises ConfigError for a file that holds no keys."""
        self.name, self.settings = name, settings
        self._provider = Kept(f"the OpenID provider {name}", self._discover)
        self._keys = Kept(f"the key set of {name}", self._read_keys)
        if settings.jwks_file:
            try:
                self._read_keys()
            except FetchError as error:
                raise ConfigError(f"auth.issuers.{name}.jwks_file: {error}") from None

    def provider(self) -> Provider:
        """Waits for it, unless it is known. Raises UNAVAILABLE."""
        return self._provider.get()

    def subject(self, token: Token, *, audience: str, nonce: str = "") -> Subject:
        """The subject of the token; waits for the keys, unless they are known. Raises BadLoginError, UNAVAILABLE."""
        external.check_header(token, self.settings)
        key = self.settings.secret.encode() if self.settings.secret else self._public_key(token)
        return external.verify(token, self.settings, key, clock.now(), audience=audience, nonce=nonce)

    def exchanged(self, code: str, verifier: str, redirect_uri: str) -> str:
        """The ID token for an authorization code. Waits for the provider. Raises BadLoginError, UNAVAILABLE."""
        provider, settings = self.provider(), self.settings
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        form |= {"code_verifier": verifier, "client_id": settings.client_id}
        headers = {}
        if settings.client_secret and provider.by_form:
            form["client_secret"] = settings.client_secret
        elif settings.client_secret:  # RFC 6749, 2.3.1
            pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            answer = fetch(provider.token_endpoint, form, headers)
        except FetchError as error:
            raise BadLoginError(f"the provider does not take its code: {error}") from None
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise BadLoginError("the provider gave no ID token")
        return token

    def _public_key(self, token: Token) -> Any:
        keys = self._keys.get()
        key = external.choose(keys, token) or external.choose(self._keys.get(but=keys), token)
        if key is None:
            raise BadLoginError("no key of its issuer fits")
        return key.key

    def _read_keys(self) -> list[PublicKey]:
        settings = self.settings
        try:
            if settings.jwks_file:
                document = loads(Path(settings.jwks_file).read_bytes())
            else:
                document = fetch(settings.jwks_url or self._jwks_uri())
            return external.key_set(document)
        except OSError as error:
            raise FetchError(f"{settings.jwks_file}: {error.strerror}") from None
        except ValueError as error:
            raise FetchError(str(error)) from None

    def _jwks_uri(self) -> str:
        try:
            return self.provider().jwks_uri
        except ChatError as error:
            raise FetchError(str(error)) from None

    def _discover(self) -> Provider:
        """OpenID Connect Discovery, 4."""
        issuer = self.settings.issuer
        document: Any = fetch(issuer.removesuffix("/") + "/.well-known/openid-configuration")
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise FetchError("its discovery document is another issuer's")
        endpoints: dict[str, Any] = {
            name: document.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        }
        if not all(isinstance(url, str) and len(url) <= MAX_ENDPOINT and is_safe(url) for url in endpoints.values()):
            raise FetchError("its discovery document has endpoints that are missing, or not https")
        methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return Provider(**endpoints, by_form="client_secret_basic" not in methods)


class Issuers:
    def __init__(self, settings: Mapping[str, Issuer], record_refusal: Callable[[str], None]) -> None:
        """record_refusal: is given the name of the issuer, "" where a token is of none of them. Raises ConfigError."""
        self._record_refusal = record_refusal
        self._logins = {name: Login(name, each) for name, each in settings.items()}
        self._by_issuer = {login.settings.issuer: login for login in self._logins.values()}

    def named(self, name: str) -> Login:
        """One at which users sign in on a page. Raises NOT_FOUND."""
        login = self._logins.get(name)
        if login is None or not login.settings.client_id:
            raise not_found("issuer", "issuer")
        return login

    def subject(self, text: str) -> tuple[Subject, Login]:
        """The subject of a token that somebody presents. Raises UNAUTHORIZED, UNAVAILABLE."""
        login: Login | None = None
        try:
            token = external.parse(text)
            login = self._by_issuer.get(token.issuer) if isinstance(token.issuer, str) else None
            if login is None:
                raise BadLoginError("its issuer is not one of [auth.issuers]")
            return login.subject(token, audience=login.settings.accepted_audience), login
        except BadLoginError as error:
            raise self.refused(error, login.name if login else "") from None

    def refused(self, error: BadLoginError, name: str) -> ChatError:
        """One answer, whatever is wrong: what is, is in the log, and that somebody tried, in the audit log."""
        log.info("a token of %s is refused: %s", name or "an unknown issuer", error)
        self._record_refusal(name)
        return unauthorized("the token is not one that this server takes", "BAD_EXTERNAL_TOKEN")
