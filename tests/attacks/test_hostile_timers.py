"""The server's own timers end what clients leave undone, also where nobody else calls.

All of it is begun before the first test, on a server of each mode, and each test waits until its timer must have ended.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest

from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from tests.attacks.hostile import (
    ATTACKED,
    BODY_WAIT,
    HISTORY,
    LIST_SERVICES,
    PROFILE,
    REFLECTION,
    STREAMS,
    UNSENT,
    WATCH,
    Attack,
    Target,
    advance,
    called,
    connected,
    half_open,
    numbers,
    skipped_on_plain,
    unread,
)
from tests.attacks.ordinary import Ordinary
from tests.attacks.wire import SHUT, Raw, message
from tests.conftest import Own
from tests.harness import Deployment
from tests.processes import FAST
from tests.rpc.workers import TWO, connect_to, workers
from tests.waiting import eventually, idle

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="/proc says what a process holds")

REQUEST_TIMEOUT, STANDSTILL_TIMEOUT, SILENCE_TIMEOUT = 10.0, 30.0, 60.0  # seconds that the server waits
MAX_DELAY = 8.0  # seconds that an end may come later: a timer's interval, and a machine that is busy
OVERDUE = frozenset({"DEADLINE_EXCEEDED", "RST_STREAM"})
ANY = OVERDUE | {"OK", "CANCELLED", "UNAVAILABLE"}


@dataclass(frozen=True)
class Timer:
    """What ends so many seconds after the attack has begun: so many streams, each with one of these ends, or where
    there are none the connection."""

    attack: Attack
    seconds: float
    streams: int = 0
    ends: frozenset[str] = OVERDUE


def asked_once(streams: int, target: Target) -> Iterator[bytes]:
    yield from half_open(REFLECTION, streams, False, target, message(LIST_SERVICES))


TIMERS = {
    "a request that never comes": Timer(
        Attack(partial(half_open, PROFILE, 50, False), fast_only=BODY_WAIT), REQUEST_TIMEOUT, 50
    ),
    "a message that is announced alone": Timer(
        Attack(partial(half_open, PROFILE, 50, True, sent=b"\0\0\x10\0\0"), fast_only=BODY_WAIT), REQUEST_TIMEOUT, 50
    ),
    "a message that stops halfway": Timer(
        Attack(partial(half_open, HISTORY, 50, True, sent=message(b"x" * 10_000)[:5000]), fast_only=BODY_WAIT),
        REQUEST_TIMEOUT,
        50,
    ),
    "a watch without a request": Timer(
        Attack(partial(half_open, WATCH, 10, False), fast_only=STREAMS), REQUEST_TIMEOUT, 10
    ),
    "an answer for which there is no window": Timer(
        Attack(partial(unread, 2), opening=SHUT, fast_only=UNSENT), STANDSTILL_TIMEOUT
    ),
    "answers to a peer that reads nothing": Timer(
        Attack(partial(unread, 60), reads=False, fast_only=UNSENT), STANDSTILL_TIMEOUT
    ),
    "watches for which there is no window": Timer(
        Attack(lambda _: [called(numbers(10), WATCH)], opening=SHUT, fast_only=STREAMS), STANDSTILL_TIMEOUT
    ),
    "reflection that asks nothing": Timer(
        Attack(partial(half_open, REFLECTION, 5, False), fast_only=STREAMS), SILENCE_TIMEOUT, 5, ANY
    ),
    "reflection that asks no more": Timer(Attack(partial(asked_once, 5), fast_only=STREAMS), SILENCE_TIMEOUT, 5, ANY),
}


def ends(peer: Raw, timer: Timer, due: float) -> str:
    """How it ends, by time.monotonic(); else AssertionError. Waits until then at most."""
    if not timer.attack.reads:
        time.sleep(due - time.monotonic())  # not to read anything until then is the attack
        list(peer.frames(3))  # what the kernels hold, then comes the end
        assert peer.cut, "the connection goes on"
    while not peer.cut and not (timer.streams and len(peer.ended) == timer.streams):
        assert time.monotonic() < due, f"{len(peer.ended)} of {timer.streams} streams ended, and not the connection"
        list(peer.frames(0.2))
    if timer.streams:
        assert set(peer.ended.values()) <= timer.ends
    return "cut" if peer.cut else "ended"


@dataclass
class Begun:
    """ended: by mode and name of TIMERS."""

    apps: dict[str, Deployment]
    ended: dict[tuple[str, str], Future[str]]


@pytest.fixture(scope="module")
def begun(own_of_module: Own) -> Iterator[Begun]:
    timers = {name: timer for name, timer in TIMERS.items() if FAST or not timer.attack.fast_only}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(ATTACKED) * len(timers) or 1))
        begun = Begun({mode: own_of_module(mode) for mode in ATTACKED}, {})
        for mode, app in begun.apps.items():
            target = Target(app)
            for name, timer in timers.items():
                steps = list(timer.attack.steps(target))
                (peer,) = peers = stack.enter_context(connected(app, timer.attack))
                for step in steps:
                    advance(peers, timer.attack, step)
                begun.ended[mode, name] = pool.submit(ends, peer, timer, time.monotonic() + timer.seconds + MAX_DELAY)
        yield begun


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WAIT_FOR_THREADS = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, None, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def busiest_thread(app: Deployment, worker: int) -> int:
    """Which thread of a worker answers calls that need no database, by the CPU that they cost it."""

    def spent() -> dict[str, int]:
        tasks = Path(f"/proc/{worker}/task")
        return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()}

    with connect_to(app, worker) as channel:
        before = spent()
        profile = logic_pb2_grpc.LogicServiceStub(channel).GetUserProfile
        calls = [profile.future(logic_pb2.GetUserProfileRequest(), timeout=30) for _ in range(900)]
        assert {call.code() for call in calls} == {grpc.StatusCode.UNAUTHENTICATED}
        after = spent()
    return int(max(after, key=lambda thread: after[thread] - before.get(thread, 0)))


@contextmanager
def stopped_thread(thread: int) -> Iterator[None]:
    """The others of its process go on. What ends the process is waited for with reap()."""
    try:
        ptrace(PTRACE_SEIZE, thread)
    except PermissionError:
        pytest.skip("a debugger may not stop a thread here")
    ptrace(PTRACE_INTERRUPT, thread)
    os.waitpid(thread, WAIT_FOR_THREADS)
    try:
        yield
    finally:
        with suppress(OSError):
            ptrace(PTRACE_DETACH, thread)


def reap(thread: int) -> None:
    """A thread under ptrace that was killed is gone once its tracer knows of it."""
    with suppress(ChildProcessError):
        os.waitpid(thread, WAIT_FOR_THREADS | os.WNOHANG)


@pytest.mark.skipif(not FAST, reason="grpcio's loop cannot be asked whether it stands still")
@pytest.mark.usefixtures("begun")  # what is begun there goes on meanwhile
def test_a_worker_whose_serving_thread_hangs_is_replaced(own: Own) -> None:
    app = own("postgres", env=TWO)
    both = workers(app.processes[0])
    hung = min(both)
    thread = busiest_thread(app, hung)
    channel = connect_to(app, hung)

    def replaced() -> set[int]:
        reap(thread)
        return workers(app.processes[0]) - both

    with stopped_thread(thread):
        with channel, pytest.raises(grpc.RpcError) as raised:
            logic_pb2_grpc.LogicServiceStub(channel).GetUserProfile(logic_pb2.GetUserProfileRequest(), timeout=3)
        assert isinstance(raised.value, grpc.Call)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED, "it answers nobody"
        (fresh,) = eventually(replaced, 35)
    with connect_to(app, fresh) as channel:
        profile = logic_pb2_grpc.LogicServiceStub(channel).GetUserProfile
        request = logic_pb2.GetUserProfileRequest(user_id=app.create_user())
        assert profile(request, metadata=app.service, timeout=30).profile.user_id
    assert not Path(f"/proc/{hung}").exists()


@pytest.mark.parametrize("mode", ATTACKED)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=skipped_on_plain(timer.attack.fast_only)) for name, timer in TIMERS.items()],
)
def test_a_timer_ends_what_a_client_leaves_undone(begun: Begun, name: str, mode: str) -> None:
    assert begun.ended[mode, name].result()


@pytest.mark.parametrize("mode", ATTACKED)
def test_no_call_is_in_flight_after_the_timers(begun: Begun, mode: str) -> None:
    app = begun.apps[mode]
    Ordinary(app).round()
    for process in app.processes:
        idle(process)
