"""The current call: its caller, request id and deadline, and what it may use of a database."""

import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum

MAX_DEADLINE = 30.0  # seconds that a call may take; the specification, "并发处理"


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of the token. user_id and session_id are empty where that is not a user (a service, an operator)."""

    user_id: str = ""
    role: str = ""
    session_id: str = ""

    @property
    def privileged(self) -> bool:
        """Admins and services may act for anyone."""
        return self.role in {"admin", "service"}


class Lane(Enum):
    """Which connections a call may use, so that no kind of work delays another.

    POOLED: those of the pool. INLINE: one of its own, since the call runs on the serving thread while every other call
    waits; it gives up with TooLongError rather than hold them up. CONTROL: those reserved for the server's own work,
    such as polling for sessions that have ended.
    """

    POOLED = "pooled"
    INLINE = "inline"
    CONTROL = "control"


class TooLongError(Exception):
    """A call takes longer than a call that runs inline may."""


NOBODY = Caller()
SERVICE = Caller(role="service")


@dataclass(slots=True)  # not frozen, since that takes four times as long to make, and every call makes a few
class Call:
    """Treated as immutable, so threads may share it. deadline: on the clock of time.monotonic(), in seconds.

    actor: on whose behalf the call is made. Across the seam the caller becomes the service, and the actor stays the
    same; it is for the audit log, never for a verdict. peer: the actor's network address; "" for this process itself.
    address_delay: seconds for which sign-ins from there are heard from devices alone that have signed in before.
    acted_by: "service" where a backend makes the call as the actor; for the audit log too.
    """

    caller: Caller
    request_id: str
    deadline: float
    actor: Caller = NOBODY
    peer: str = ""
    lane: Lane = Lane.POOLED
    address_delay: float = 0.0
    acted_by: str = ""

    @property
    def is_by_privileged(self) -> bool:
        """Whose connection is it? A service that acts for users has one for many of them."""
        return self.caller.privileged or self.acted_by != ""

    def remaining(self) -> float:
        """Seconds until the deadline, perhaps infinity; 0 or less once it has passed."""
        return self.deadline - time.monotonic()


Run = Callable[[Call], None]
OnDone = Callable[[Exception | None], None]
Enqueue = Callable[[Call, Run, OnDone], None]
"""(call, run, on_done): has run(call) called on the writer's thread, then on_done(None), or on_done(error) if it
failed."""

_current: ContextVar[Call | None] = ContextVar("call", default=None)


def current() -> Call:
    """The current call; outside of any call (at start-up and shutdown, in commands) one that the service itself makes,
    which has no deadline: migrations and copies may take as long as they need."""
    return _current.get() or Call(SERVICE, "-", math.inf, SERVICE)


def current_deadline() -> float:
    """The deadline of the current call, on the clock of time.monotonic(); infinity outside of any call."""
    call = _current.get()
    return call.deadline if call else math.inf


class entered:  # noqa: N801 - used as a function; a class, which is faster, since every call enters several times
    """A context manager that makes this the current call."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._token = _current.set(self._call)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
