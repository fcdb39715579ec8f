"""Who is signed in: the tokens of a client, renewed once for all callers that wait for them."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic

from gochat.client.errors import ChatError

MAX_MARGIN = 60.0  # seconds before its end at which a token is renewed
REPLACE_TIMEOUT = 5.0  # seconds
TOKEN_REASONS = frozenset({"NO_TOKEN", "BAD_TOKEN"})
"""The reasons of UNAUTHENTICATED that are about the access token, and not about a password."""


@dataclass(frozen=True)
class Tokens:
    """What a sign-in or a renewal returns. lasts: seconds until the access token expires. user_id: empty if it did not
    say. refresh: empty where there is no refresh token."""

    access: str
    refresh: str = ""
    lasts: float = float("inf")
    user_id: str = ""


class Session:
    """Thread-safe. sign_in, renew: return tokens, or raise ChatError; renew takes a refresh token. refresh_token: of a
    session that was kept, or "". on_tokens: is called with new ones, under
    the lock, and may refuse them: it must not call back.

    One thread renews; others that need a token meanwhile wait for it, and get the same token or the same error. A
    session that the server has ended stays ended: who revoked it does not want this device signed in again.
    """

    def __init__(
        self,
        sign_in: Callable[[], Tokens],
        renew: Callable[[str], Tokens],
        refresh_token: str,
        on_tokens: Callable[[Tokens], None],
    ) -> None:
        self._sign_in, self._renew, self._on_tokens = sign_in, renew, on_tokens
        self._lock = threading.Lock()
        self._tokens = Tokens("", refresh_token, 0)
        self._renew_at = 0.0
        self._renewing: Future[str] | None = None
        self._ended: ChatError | None = None
        self._replacing = threading.Lock()
        self.number = 0
        """Of the session: another one after each sign-in and change of the password."""

    def token(self, rejected: str = "") -> str:
        """An access token. rejected: one that the server did not take. Raises ChatError."""
        with self._lock:
            if self._ended:
                raise self._ended
            if self._tokens.access not in ("", rejected) and monotonic() < self._renew_at:
                return self._tokens.access
            renewing, is_mine = self._renewing, self._renewing is None
            if renewing is None:
                renewing = self._renewing = Future()
        if is_mine:
            try:
                renewing.set_result(self._renewed().access)
            except BaseException as error:  # noqa: BLE001 - whatever a token provider raises is for all who wait
                with self._lock:
                    self._renewing = None
                renewing.set_exception(error)
        return renewing.result()

    def replace(self, request: Callable[[], Tokens]) -> None:
        """Runs a call that ends the session and begins another."""
        with self._replacing:
            self._take(request(), self._tokens.refresh, is_new=True)

    def is_replaced(self, number: int) -> bool:
        """Has another session followed that number? Waits for one that is about to."""
        with self._replacing:
            return self.number != number

    def end(self, error: ChatError) -> None:
        """From now on every call raises this."""
        with self._lock:
            self._ended = self._ended or error

    def _renewed(self) -> Tokens:
        refresh_token, is_new = self._tokens.refresh, True
        if refresh_token:
            try:
                tokens, is_new = self._renew(refresh_token), False
            except ChatError as error:
                if error.code != "UNAUTHENTICATED":
                    raise
                if replaced := self._replaced(refresh_token):
                    return replaced
                if error.reason == "SESSION_ENDED" and self.number:  # else it is one that was kept by an earlier client
                    self.end(error)
                    raise
                tokens = self._sign_in()
        else:
            tokens = self._sign_in()
        return self._take(tokens, refresh_token, is_new=is_new)

    def _replaced(self, refresh_token: str) -> Tokens | None:
        """What took the place of the session of this token. The call that replaces it may be waiting for this
        thread."""
        if self._replacing.acquire(timeout=REPLACE_TIMEOUT):
            self._replacing.release()
        with self._lock:
            if self._tokens.refresh == refresh_token:
                return None
            self._renewing = None
            return self._tokens

    def _take(self, tokens: Tokens, instead_of: str, *, is_new: bool) -> Tokens:
        """Returns those that hold. instead_of: the refresh token before them; if it is another by now, these are of a
        session that was replaced meanwhile."""
        with self._lock:
            self._renewing = None
            if self._tokens.refresh != instead_of:
                return self._tokens
            try:
                self._on_tokens(tokens)  # before another thread may use them
            except ChatError as error:  # nothing may be done with them
                self._ended = self._ended or error
                raise
            self._tokens = tokens
            self._renew_at = monotonic() + tokens.lasts - min(MAX_MARGIN, tokens.lasts / 10)
            self.number += is_new or not self.number
        return tokens
