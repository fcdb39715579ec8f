"""JSON from the login of the operator: small, soon, from where it should be, and kept for a while."""

import http.client
import logging
import math
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from time import monotonic
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode, urlsplit

from gochat.errors import unavailable
from gochat.issuers import is_safe
from gochat.jsontext import loads
from gochat.outbound import cut_after, tls

log = logging.getLogger(__name__)
T = TypeVar("T")

TIMEOUT = 5.0  # seconds for all of a request
MAX_SIZE = 256 * 1024  # bytes
KEPT = 300.0  # seconds until it is fetched again
MAX_AGE = 24 * 3600.0  # seconds that it is used for while it cannot be fetched
MIN_INTERVAL = 30.0  # seconds between two fetches for something that it does not hold
MAX_PAUSE = 60.0  # seconds until the next try after a failure, of which the first is after one


class FetchError(Exception):
    """Its text is for the log."""


def fetch(url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> Any:
    """The JSON at the URL. form: posts it. No redirect is followed. Raises FetchError."""
    if not is_safe(url):
        raise FetchError("its URL must be https, or http on this machine")
    parts = urlsplit(url)
    assert parts.hostname
    connection = (
        http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=tls())
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
    )
    body = urlencode(form) if form is not None else None
    more = {"content-type": "application/x-www-form-urlencoded"} if form is not None else {}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with closing(connection):
            connection.connect()
            with cut_after(connection.sock, TIMEOUT):
                connection.request(
                    "GET" if form is None else "POST",
                    target,
                    body,
                    {"accept": "application/json", "accept-encoding": "identity", **more, **(headers or {})},
                )
                response = connection.getresponse()
                data = response.read(MAX_SIZE + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {error}") from None
    if len(data) > MAX_SIZE:
        raise FetchError(f"it has more than {MAX_SIZE} bytes")
    if response.status != 200:
        raise FetchError(f"status {response.status}")
    try:
        return loads(data)
    except ValueError:
        raise FetchError("it is no JSON") from None


class Kept(Generic[T]):
    """What `read` returns, read again when it is old. What there was stays in use while reading fails.

    Any thread may call `get`, which waits for `read` where there is nothing yet. One thread reads at a time; meanwhile
    the others have what there was. `_lock` is held while reading; what it guards is replaced as a whole.
    """

    def __init__(self, name: str, read: Callable[[], T]) -> None:
        """name: for the log. read() raises FetchError."""
        self._name, self._read = name, read
        self._lock = threading.Lock()
        self._state: tuple[T, float] | None = None  # value, when it was read
        self._failures = 0
        self._retry_at = self._forced_at = -math.inf

    def get(self, but: T | None = None) -> T:
        """but: one that does not have what is looked for: another, if there is one. Raises UNAVAILABLE."""
        state = self._state
        if state and self._will_do(state, but):
            return state[0]
        if not self._lock.acquire(blocking=state is None or but is not None):
            assert state
            return state[0]
        try:
            state = self._state
            if monotonic() >= self._retry_at and not (state and self._will_do(state, but)):
                if but is not None:
                    self._forced_at = monotonic()
                state = self._renewed(state)
        finally:
            self._lock.release()
        if state is None or monotonic() > state[1] + MAX_AGE:
            raise unavailable(f"{self._name} cannot be read now", "ISSUER_UNAVAILABLE")
        return state[0]

    def _will_do(self, state: tuple[T, float], but: T | None) -> bool:
        value, read_at = state
        if value is but:
            return monotonic() < self._forced_at + MIN_INTERVAL
        return monotonic() < read_at + KEPT

    def _renewed(self, state: tuple[T, float] | None) -> tuple[T, float] | None:
        try:
            value = self._read()
        except FetchError as error:
            log.warning("%s cannot be read: %s", self._name, error)
            self._retry_at = monotonic() + min(MAX_PAUSE, 2.0**self._failures) * random.uniform(0.5, 1)  # noqa: S311
            self._failures = min(self._failures + 1, 10)
            return state
        self._failures = 0
        self._state = value, monotonic()
        return self._state
