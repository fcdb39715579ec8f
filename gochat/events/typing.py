"""Who is typing where: pure logic, on a clock that is passed in. Each process knows it from what all of them say."""

TIMEOUT = 6.0  # seconds after which one who says no more does not type any more
REPEAT_INTERVAL = 3.0  # seconds within which saying it again is no news
MAX_TYPISTS = 10_000  # more are not shown

Typist = tuple[str, str]
"""(conversation_id, user_id)"""


class Typing:
    def __init__(self) -> None:
        self._until: dict[Typist, float] = {}  # in the order in which they expire, since all last as long
        self._told_at: dict[Typist, float] = {}  # has the same keys

    def set(self, typist: Typist, typing: bool, now: float) -> bool:
        """Is it news?"""
        if not typing:
            self._told_at.pop(typist, None)
            return self._until.pop(typist, None) is not None
        if len(self._until) >= MAX_TYPISTS and typist not in self._until:
            return False
        self._until.pop(typist, None)
        self._until[typist] = now + TIMEOUT
        if now - self._told_at.get(typist, -REPEAT_INTERVAL) < REPEAT_INTERVAL and typist in self._told_at:
            return False
        self._told_at[typist] = now
        return True

    def expire(self, now: float) -> list[Typist]:
        """Those who do not type any more."""
        over = []
        for typist, until in self._until.items():
            if until > now:
                break
            over.append(typist)
        for typist in over:
            del self._until[typist], self._told_at[typist]
        return over

    def __bool__(self) -> bool:
        return bool(self._until)
