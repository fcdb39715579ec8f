"""Who is online: pure logic, on clocks that are passed in.

A user is online while any process *claims* them: it has a stream of one of their devices, or had one until a moment
ago. Who had one is online still, and not *connected*. Processes announce the users that they claim, at once when that
changes and all of them periodically. A process that died says nothing any more, so its claims expire.
"""

from collections import defaultdict
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

OFFLINE_DELAY = 30.0  # seconds from the end of the last stream of a user until they are offline
ANNOUNCE_INTERVAL = 15.0  # seconds between two times that a process announces the users it claims
CLAIM_TIMEOUT = 40.0  # seconds after which what another process claimed expires: two announcements were missed


class Seen(NamedTuple):
    """at: when the user was last seen, in Unix milliseconds."""

    user_id: str
    online: bool
    at: int


class Presence:
    """process: the name of this one. now: seconds, of a clock that never goes back. at: Unix milliseconds. What methods
    return are the users who came online or went offline by that."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._claims: dict[str, dict[str, float]] = {}  # user -> process -> until when
        self._left: defaultdict[str, set[str]] = defaultdict(set)  # user -> claiming processes without a stream
        self._streams: dict[str, int] = {}  # users with streams here -> how many
        self._leaving: dict[str, tuple[float, int]] = {}  # who had -> (claimed until, last seen)

    def is_online(self, user_id: str, now: float) -> bool:
        return any(until > now for until in self._claims.get(user_id, {}).values())

    def is_connected(self, user_id: str, now: float) -> bool:
        left = self._left.get(user_id, ())
        return any(until > now and process not in left for process, until in self._claims.get(user_id, {}).items())

    @property
    def claimed(self) -> list[str]:
        """By this process."""
        return [*self._streams, *self._leaving]

    @property
    def leaving(self) -> list[str]:
        """Those of them who have no stream here any more."""
        return [*self._leaving]

    @property
    def has_leaving(self) -> bool:
        return bool(self._leaving)

    def opened(self, user_id: str, at: int) -> tuple[list[Seen], bool]:
        """A stream of the user was opened here. Also whether others are to hear of it."""
        is_new = user_id not in self._streams
        self._streams[user_id] = self._streams.get(user_id, 0) + 1
        self._leaving.pop(user_id, None)
        return self._claim(user_id, self._process, inf, at), is_new

    def closed(self, user_id: str, now: float, at: int) -> bool:
        """Was it the last stream of the user here, so that others are to hear of it?"""
        self._streams[user_id] -= 1
        if self._streams[user_id]:
            return False
        del self._streams[user_id]
        self._leaving[user_id] = (now + OFFLINE_DELAY, at)
        self._left[user_id].add(self._process)
        return True

    def heard(
        self,
        process: str,
        online: Iterable[str],
        offline: Iterable[tuple[str, int]],
        now: float,
        at: int,
        left: Iterable[str] = (),
    ) -> list[Seen]:
        """What another process says. offline: (user_id, when they were last seen). left: who are online and have
        no stream there any more."""
        changed = list[Seen]()
        for user_id in online:
            changed += self._claim(user_id, process, now + CLAIM_TIMEOUT, at)
        for user_id in left:
            changed += self._claim(user_id, process, now + CLAIM_TIMEOUT, at)
            self._left[user_id].add(process)
        for user_id, seen_at in offline:
            changed += self._release(user_id, process, seen_at)
        return changed

    def left(self, now: float) -> tuple[list[Seen], list[tuple[str, int]]]:
        """Those whose last stream here ended OFFLINE_DELAY ago, and who went offline by that: (user_id, when they were
        last seen), to be announced."""
        over = list[tuple[str, int]]()
        for user_id, (until, at) in self._leaving.items():  # in the order in which they left
            if until > now:
                break
            over.append((user_id, at))
        changed = list[Seen]()
        for user_id, at in over:
            del self._leaving[user_id]
            changed += self._release(user_id, self._process, at)
        return changed, over

    def expire(self, now: float, at: int) -> list[Seen]:
        """Drops what other processes claimed too long ago."""
        changed = list[Seen]()
        for user_id, claims in list(self._claims.items()):
            for process, until in list(claims.items()):
                if until <= now:
                    heard_at = at - int((now - until + CLAIM_TIMEOUT) * 1000)
                    changed += self._release(user_id, process, heard_at)
        return changed

    def last_seen(self, at: int) -> list[tuple[str, int]]:
        """(user_id, when they were last seen) of all that this process claims, now that it stops."""
        seen = [(user_id, at) for user_id in self._streams]
        return seen + [(user_id, left_at) for user_id, (_, left_at) in self._leaving.items()]

    def _claim(self, user_id: str, process: str, until: float, at: int) -> list[Seen]:
        is_new = user_id not in self._claims
        self._claims.setdefault(user_id, {})[process] = until
        self._forget_left(user_id, process)
        return [Seen(user_id, True, at)] if is_new else []

    def _forget_left(self, user_id: str, process: str) -> None:
        if left := self._left.get(user_id):
            left.discard(process)
            if not left:
                del self._left[user_id]

    def _release(self, user_id: str, process: str, at: int) -> list[Seen]:
        self._forget_left(user_id, process)
        claims = self._claims.get(user_id, {})
        if claims.pop(process, None) is None or claims:
            return []
        del self._claims[user_id]
        return [Seen(user_id, False, at)]
