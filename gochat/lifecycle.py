"""What a server does beside answering calls: it stops on signals, polls the database and the keys, and reports health.

All of it runs on threads of its own (of `stop_signals`, `end_after` and background.periodic), so that it goes on while
the main thread waits in a database driver and every executor is busy.
"""

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep

from gochat import logs
from gochat.background import periodic
from gochat.context import SERVICE, Call, Lane, entered
from gochat.domain.clock import clock
from gochat.domain.revocation import POLL_INTERVAL, Revocations
from gochat.domain.tokens import Tokens
from gochat.internal.account.v1 import account_pb2
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.rpc.health import Health
from gochat.storage.database import Database

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
CLOSING_TIMEOUT = 4.0  # seconds beyond the grace period after which a stopping process is ended by force
WORKER_CLOSING_TIMEOUT = 2.5  # the same for a worker, whose parent stops after its workers
FLUSH_TIMEOUT = 0.5  # seconds to write what was logged before that
POLL_TIMEOUT = 2.0  # seconds
PROBE_INTERVAL = 1.0  # seconds between two writes that find out whether the database takes any
HEALTH_TIMEOUT = 3.5  # seconds without an answer of the database after which health is NOT_SERVING
HEALTH_INTERVAL = 0.25  # seconds between two checks of that


def stop_signals(grace: float, *, supervised: bool) -> threading.Event:
    """An event that the first SIGTERM or SIGINT sets. After that, grace seconds and CLOSING_TIMEOUT later, the process
    is ended by force. A second signal ends it immediately, with the exit code 128 + the signal's number, unless it is
    supervised: then its parent does that.

    Signal handlers in Python run on the main thread, which may be waiting in a database driver. So a thread of its own
    waits for the byte that the interpreter's C code writes to a pipe when a signal comes (signal.set_wakeup_fd).
    """
    stop = threading.Event()
    received, sent = os.pipe()
    os.set_blocking(sent, False)
    for each in SIGNALS:
        signal.signal(each, lambda *_: None)
    signal.set_wakeup_fd(sent, warn_on_full_buffer=False)

    def wait_for_signals() -> None:
        os.read(received, 1)
        stop.set()
        end_at = monotonic() + grace + (WORKER_CLOSING_TIMEOUT if supervised else CLOSING_TIMEOUT)
        while select.select([received], [], [], max(0.0, end_at - monotonic()))[0]:
            (number,) = os.read(received, 1)
            if not supervised:
                os._exit(128 + number)
        _end_by_force()

    threading.Thread(target=wait_for_signals, name="signals", daemon=True).start()
    return stop


def end_after(seconds: float) -> None:
    """Ends this process by force, with code 1, if it still runs so many seconds later."""

    def end() -> None:
        sleep(seconds)
        _end_by_force()

    threading.Thread(target=end, name="end", daemon=True).start()


def _end_by_force() -> None:
    frames = sys._current_frames()
    running = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None and thread is not threading.current_thread():
            running.append(f"{thread.name} ({os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno})")
    log.error("ended by force; threads that still ran: %s", ", ".join(sorted(running)))
    logs.flush(FLUSH_TIMEOUT)
    os._exit(1)


class SessionWatch:
    """Polls the repo half for sessions that have ended, and for whether its database takes writes. answered_at: when
    the last poll began that was answered, on the clock of time.monotonic().

    A periodic thread sets answered_at and read_only, and another one reads them; each is read and written as a whole.
    """

    def __init__(
        self,
        accounts: AccountServiceStub,
        revocations: Revocations,
        follow: Callable[[int, float], None] = lambda _, __: None,
    ) -> None:
        """follow(milliseconds, asked_at): is given what the clock of the repo half shows; see Clock.follow."""
        self._accounts = accounts
        self._revocations = revocations
        self._follow = follow
        self.answered_at = 0.0
        self.read_only = False

    def poll(self) -> None:
        """Raises ChatError."""
        asked_at = monotonic()
        with entered(Call(SERVICE, "-", asked_at + POLL_TIMEOUT, SERVICE, lane=Lane.CONTROL)):
            answer = self._accounts.ListEndedSessions(
                account_pb2.ListEndedSessionsRequest(position=self._revocations.position)
            )
        self._follow(answer.now, asked_at)
        self._revocations.update(answer.session_ids, answer.position, asked_at)
        self.read_only = answer.read_only
        self.answered_at = asked_at


@contextmanager
def probing(database: Database) -> Iterator[None]:
    """Writes to the database every second, and follows the clock of its host. Raises ChatError if the first write
    fails."""

    def probe() -> None:
        asked_at = monotonic()
        with entered(Call(SERVICE, "-", asked_at + POLL_TIMEOUT, SERVICE, lane=Lane.CONTROL)):
            clock.follow(database.probe(), asked_at)

    probe()
    with periodic("probing the database", probe, PROBE_INTERVAL, retry=PROBE_INTERVAL / 4):
        yield


@contextmanager
def following(watch: SessionWatch, tokens: Tokens) -> Iterator[None]:
    """Polls every second for what other processes may have changed: sessions that ended, signing keys."""
    with ExitStack() as loops:
        loops.enter_context(periodic("ended sessions", watch.poll, POLL_INTERVAL, retry=POLL_INTERVAL / 5))
        loops.enter_context(periodic("signing keys", tokens.renew, POLL_INTERVAL))
        yield


@contextmanager
def reporting(health: Health, watch: SessionWatch) -> Iterator[None]:
    """Sets health to SERVING while the database answers and takes writes, else to NOT_SERVING."""

    def report() -> None:
        answers = monotonic() - watch.answered_at < HEALTH_TIMEOUT
        serving = answers and not watch.read_only
        if serving != health.serving:
            reason = "takes no writes" if answers else "does not answer"
            log.warning("serving again" if serving else f"not serving: the database {reason}")
            health.change(serving)

    with periodic("health", report, HEALTH_INTERVAL):
        yield
