"""Remembering in the database when users were last seen."""

import logging
import threading
from collections.abc import Sequence
from time import monotonic

from gochat.context import SERVICE, Call, entered
from gochat.errors import ChatError
from gochat.internal.signal.v1.signal_pb2 import LastActive, RecordActivityRequest
from gochat.internal.signal.v1.signal_pb2_grpc import SignalServiceStub

TIMEOUT = 5.0  # seconds
MAX_USERS = 1000  # of one call

log = logging.getLogger(__name__)


def remember(signals: SignalServiceStub, seen: Sequence[LastActive]) -> threading.Thread:
    """On a thread of its own, which a database that hangs may keep; it holds up no exit. What fails is not tried again:
    the next sign-in, refresh or end of a stream is as good."""

    def run() -> None:
        with entered(Call(SERVICE, "-", monotonic() + TIMEOUT, SERVICE)):
            try:
                for first in range(0, len(seen), MAX_USERS):
                    signals.RecordActivity(RecordActivityRequest(users=seen[first : first + MAX_USERS]))
            except ChatError as error:
                log.warning("when users were last seen is not remembered: %s", error)

    thread = threading.Thread(target=run, name="last seen", daemon=True)
    thread.start()
    return thread
