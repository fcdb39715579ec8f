"""Notifications for devices without a stream: who is to be notified, and Web Push to browsers.

The steps are transactions of the repo half (internal.push.v1.PushStoreService); this room, of the logic half, has them
done in time, by one process at a time, says who is connected, and talks to the push services of browsers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from gochat.background import ending, periodic
from gochat.config import Push
from gochat.errors import ChatError
from gochat.internal.push.v1.push_pb2_grpc import PushStoreServiceStub
from gochat.internal.reader.v1.reader_pb2_grpc import ReaderServiceStub
from gochat.push.delivery import WebPush
from gochat.push.notifier import INTERVAL, Notifier

CLOSE_TIMEOUT = 1.0  # seconds that a stop waits for what is being sent


@contextmanager
def notifying(
    store: PushStoreServiceStub,
    readers: ReaderServiceStub,
    connected: Callable[[Sequence[str], float], Sequence[str]],
    settings: Push,
    count: Callable[[str, int], None],
) -> Iterator[None]:
    """Notifies recipients for as long as the block lasts. connected: as of Notifier. count(what, number): of
    gochat.monitoring."""
    web = WebPush(store, settings, lambda outcome: count(f"web_pushes_{outcome}", 1))
    notifier = Notifier(store, readers, connected, web, settings, lambda number: count("recipients_notified", number))
    with periodic("notifying", notifier.work, INTERVAL):
        yield
    web.close(ending(CLOSE_TIMEOUT))
    with suppress(ChatError):
        notifier.release()
