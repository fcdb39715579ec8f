"""Which sessions have ended lately: asked of memory on every call, told by the repo every second."""

import time

from gochat.errors import unavailable

POLL = 1.0  # seconds
STALE = 4.0  # seconds without news after which nobody's session is vouched for: within 5 an ended one stops working
OVERLAP_MS = 60_000  # asked for again, since a commit takes time and the clocks of several repo hosts differ


class Revocations:
    """keep: seconds for which an ended session is remembered: as long as its access tokens might live."""

    def __init__(self, keep: float) -> None:
        self._keep_ms = int(keep * 1000)
        self._ended: dict[str, int] = {}  # session id -> when we heard of it, on the repo's clock
        self._fresh_until = 0.0
        self.since = 0
        """From when on to ask, in Unix milliseconds."""

    def has(self, session_id: str) -> bool:
        """Raises UNAVAILABLE without news for STALE seconds."""
        if time.monotonic() > self._fresh_until:
            raise unavailable("it is not known whether the session still lasts", "SESSIONS_UNKNOWN")
        return session_id in self._ended

    def heard(self, session_ids: list[str], now_ms: int, asked_at: float) -> None:
        """What the repo answered to a question of asked_at (time.monotonic())."""
        ended = {session_id: at for session_id, at in self._ended.items() if at > now_ms - self._keep_ms}
        for session_id in session_ids:
            ended.setdefault(session_id, now_ms)
        self._ended = ended
        self.since = now_ms - OVERLAP_MS
        self._fresh_until = asked_at + STALE
