"""The sessions that ended lately: kept in memory for every call to look at, fetched from the repo every second."""

import time

from gochat.errors import unavailable

POLL_INTERVAL = 1.0  # seconds
STALE_AFTER = 4.0  # seconds after the last answer; so an ended session stops working within 5 s, or none works
OVERLAP_MS = 60_000  # fetched again each time: commits take time, and the clocks of several repo hosts differ


class Revocations:
    """keep: seconds for which an ended session is remembered: as long as its access tokens might live."""

    def __init__(self, keep: float) -> None:
        self._keep_ms = int(keep * 1000)
        self._ended: dict[str, int] = {}  # session id -> when it was first fetched, by the repo's clock
        self._fresh_until = 0.0
        self.since = 0
        """The time from which on to fetch, in Unix milliseconds."""

    def has(self, session_id: str) -> bool:
        """Raises UNAVAILABLE if the last answer is older than STALE_AFTER."""
        if time.monotonic() > self._fresh_until:
            raise unavailable("it is not known whether the session still lasts", "SESSIONS_UNKNOWN")
        return session_id in self._ended

    def update(self, session_ids: list[str], now_ms: int, asked_at: float) -> None:
        """Takes the repo's answer to a request that was sent at asked_at (time.monotonic())."""
        ended = {session_id: at for session_id, at in self._ended.items() if at > now_ms - self._keep_ms}
        for session_id in session_ids:
            ended.setdefault(session_id, now_ms)
        self._ended = ended
        self.since = now_ms - OVERLAP_MS
        self._fresh_until = asked_at + STALE_AFTER
