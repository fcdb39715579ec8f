"""The sessions that ended lately: kept in memory for every call to look at, fetched from the repo every second.

They are asked for by a position in their order and forgotten by this machine's monotonic clock, so that a clock that
jumps revives none.
"""

import time
from collections.abc import Iterable

from gochat.errors import unavailable

POLL_INTERVAL = 1.0  # seconds
STALE_AFTER = 4.0  # seconds after the last answer; so an ended session stops working within 5 s, or none works


class Revocations:
    """keep: seconds for which an ended session is remembered: as long as its access tokens might live."""

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._ended: dict[str, float] = {}  # session id -> when it was last fetched, by the monotonic clock
        self._fresh_until = 0.0
        self.position = 0
        """After which to fetch; 0: everything."""

    def has(self, session_id: str) -> bool:
        """Raises UNAVAILABLE if the last answer is older than STALE_AFTER."""
        if time.monotonic() > self._fresh_until:
            raise unavailable("it is not known whether the session still lasts", "SESSIONS_UNKNOWN")
        return self.is_known(session_id)

    def is_known(self, session_id: str) -> bool:
        """Was it among those of any answer, however old?"""
        return session_id in self._ended

    def update(self, session_ids: Iterable[str], position: int, asked_at: float) -> None:
        """Takes the repo's answer to a request that was sent at asked_at, on the monotonic clock. position: from which
        the next request goes on."""
        now = time.monotonic()
        ended = {session_id: at for session_id, at in self._ended.items() if at > now - self._keep}
        ended.update(dict.fromkeys(session_ids, now))
        self._ended = ended
        self.position = position
        self._fresh_until = asked_at + STALE_AFTER
