"""What is known of the call in hand: who is calling, its request id, its deadline."""

import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum

LONGEST_DEADLINE = 30.0  # seconds; the specification, "并发处理"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom the token names. user_id and session_id are empty for a token of no person (the service, the operator)."""

    user_id: str = ""
    role: str = ""
    session_id: str = ""

    @property
    def privileged(self) -> bool:
        """Admins and services act for anyone."""
        return self.role in {"admin", "service"}


class Lane(Enum):
    """What a call may take of a database, so that no kind of work delays another.

    INLINE: it runs where every other call waits, and gives up with TooLongError rather than hold them up. CONTROL: it
    is the server's own work, such as asking which sessions have ended, and has connections that no user's call takes.
    """

    POOLED = "pooled"
    INLINE = "inline"
    CONTROL = "control"


class TooLongError(Exception):
    """A call takes longer than one that is run inline may."""


NOBODY = Caller()
SERVICE = Caller(role="service")


@dataclass(slots=True)  # not frozen, which would take four times as long to make: every call makes a few
class Call:
    """Never changed. deadline: on the clock of time.monotonic(), in seconds.

    actor: who stands behind the call. Across the seam the caller is the service and the actor remains who it was: that
    is for the audit log, never for a verdict. peer: the network address of the actor; "" for this process itself.
    """

    caller: Caller
    request_id: str
    deadline: float
    actor: Caller = NOBODY
    peer: str = ""
    lane: Lane = Lane.POOLED

    def remaining(self) -> float:
        """Seconds left; 0 or less once the deadline has passed."""
        return self.deadline - time.monotonic()


Run = Callable[[Call], None]
End = Callable[[Exception | None], None]
Enqueue = Callable[[Call, Run, End], None]
"""(call, run, end): has run(call) called, here or on another thread, then end(None); or end(error) if it failed."""

_current: ContextVar[Call | None] = ContextVar("call", default=None)


def current() -> Call:
    """The call in hand; outside of any (start-up, shutdown) one by the service itself."""
    return _current.get() or Call(SERVICE, "-", time.monotonic() + LONGEST_DEADLINE, SERVICE)


def due() -> float:
    """When the call in hand must have ended, on the clock of time.monotonic(); infinity outside of any: who migrates
    or copies takes the time it takes."""
    call = _current.get()
    return call.deadline if call else math.inf


class entered:  # noqa: N801 - used as a function; a class since every call enters several times
    """A context manager: within it, this is the call in hand."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._token = _current.set(self._call)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
