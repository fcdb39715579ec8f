"""What a server does beside answering calls: it hears signals, follows the database and the keys, and ends in time."""

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep

from gochat import logs
from gochat.background import periodic
from gochat.context import SERVICE, Call, Lane, entered
from gochat.domain.revocation import POLL_INTERVAL, Revocations
from gochat.domain.tokens import Tokens
from gochat.internal.account.v1 import account_pb2
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.rpc.health import Health

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
CLOSING_TIMEOUT = 4.0  # seconds beyond the grace after which a process that was to stop is ended
WORKER_CLOSING_TIMEOUT = 2.5  # the same of one of several workers, whose parent ends after them
LAST_WORDS_TIMEOUT = 0.5  # seconds to write what was logged before that
QUERY_TIMEOUT = 2.0  # seconds
HEALTH_TIMEOUT = 3.5  # seconds without an answer of the database after which health says NOT_SERVING
HEALTH_INTERVAL = 0.25  # seconds between two looks at that


def stop_signals(grace: float, *, alone: bool) -> threading.Event:
    """Set by the first SIGTERM or SIGINT; grace seconds and CLOSING_TIMEOUT later the process is ended by force.

    alone: the second signal ends the process immediately, with 128 and its number; of several workers the parent sees
    to that. A thread reads what the interpreter's C code writes when a signal comes: a handler in Python would have to
    wait for the main thread, which may be in a database driver.
    """
    stop = threading.Event()
    received, sent = os.pipe()
    os.set_blocking(sent, False)
    for each in SIGNALS:
        signal.signal(each, lambda *_: None)
    signal.set_wakeup_fd(sent, warn_on_full_buffer=False)

    def hear() -> None:
        os.read(received, 1)
        stop.set()
        end_at = monotonic() + grace + (CLOSING_TIMEOUT if alone else WORKER_CLOSING_TIMEOUT)
        while select.select([received], [], [], max(0.0, end_at - monotonic()))[0]:
            (number,) = os.read(received, 1)
            if alone:
                os._exit(128 + number)
        _end()

    threading.Thread(target=hear, name="signals", daemon=True).start()
    return stop


def end_after(seconds: float) -> None:
    """Ends this process by force, with code 1, if it has not ended by itself by then."""

    def end() -> None:
        sleep(seconds)
        _end()

    threading.Thread(target=end, name="end", daemon=True).start()


def _end() -> None:
    frames = sys._current_frames()
    running = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None and thread is not threading.current_thread():
            running.append(f"{thread.name} ({os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno})")
    log.error("ended by force; threads that still ran: %s", ", ".join(sorted(running)))
    logs.flush(LAST_WORDS_TIMEOUT)
    os._exit(1)


class Watch:
    """Asks which sessions have ended. heard_at: on the clock of time.monotonic(), when the database was last known to
    answer."""

    def __init__(self, accounts: AccountServiceStub, revocations: Revocations) -> None:
        self._accounts = accounts
        self._revocations = revocations
        self.heard_at = 0.0

    def ask(self) -> None:
        """Raises ChatError."""
        asked_at = monotonic()
        with entered(Call(SERVICE, "-", asked_at + QUERY_TIMEOUT, SERVICE, lane=Lane.CONTROL)):
            answer = self._accounts.ListEndedSessions(
                account_pb2.ListEndedSessionsRequest(since=self._revocations.since)
            )
        self._revocations.update(list(answer.session_ids), answer.now, asked_at)
        self.heard_at = asked_at


@contextmanager
def following(watch: Watch, tokens: Tokens) -> Iterator[None]:
    """Asks every second what others may have changed: sessions that ended, keys."""
    with ExitStack() as loops:
        loops.enter_context(periodic("ended sessions", watch.ask, POLL_INTERVAL, retry=POLL_INTERVAL / 5))
        loops.enter_context(periodic("signing keys", tokens.renew, POLL_INTERVAL))
        yield


@contextmanager
def reporting(health: Health, watch: Watch) -> Iterator[None]:
    """Lets health say whether the database answers."""

    def report() -> None:
        serving = monotonic() - watch.heard_at < HEALTH_TIMEOUT
        if serving != health.serving:
            log.warning("serving again" if serving else "not serving: the database does not answer")
            health.change(serving)

    with periodic("health", report, HEALTH_INTERVAL):
        yield
