"""Links to other processes, by which signals go (relay.py). A link that is down is reported once, tries to connect
again every second, and loses what it is given meanwhile.

A link receives on one thread and sends on another, each of which waits on the network and on nothing else; they share
an Outbox. So whoever sends never waits.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gochat.background import periodic
from gochat.config import ConfigError
from gochat.context import SERVICE, Call, entered
from gochat.errors import unavailable
from gochat.internal.signal.v1 import signal_pb2 as pb
from gochat.internal.signal.v1.signal_pb2_grpc import SignalServiceStub

RETRY_INTERVAL = 1.0  # seconds
WAIT = 0.4  # seconds that a thread waits at most before it looks whether the link is to stop
TIMEOUT = 3.0  # seconds that the other side has to answer
PING_INTERVAL = 10.0  # seconds of silence after which a connection to the broker is tested
MAX_QUEUED = 1000  # messages that were not sent yet; older ones are lost
CHANNEL = "gochat.signals"

Heard = Callable[[bytes], None]


class Link(Protocol):
    def start(self, heard: Heard, connected: Callable[[], None]) -> None:
        """heard(message): another process has said it, or this one. connected(): from now on messages are heard."""

    def send(self, data: bytes) -> None:
        """Never waits. Any thread may call this."""

    def stop(self) -> None: ...


class Outbox:
    """Messages that are to be sent. Any thread puts, one takes."""

    def __init__(self) -> None:
        self._messages = deque[bytes](maxlen=MAX_QUEUED)
        self._woken = threading.Event()

    def put(self, data: bytes) -> None:
        self._messages.append(data)
        self._woken.set()

    def take(self) -> Iterator[bytes]:
        """Those that there are, after a wait for the first one, of at most WAIT seconds."""
        self._woken.wait(WAIT)
        self._woken.clear()
        for _ in range(len(self._messages)):
            yield self._messages.popleft()


class BrokerLink:
    """By a channel of a Redis server, which has the number of the database in its name: Redis itself does not keep the
    channels of its databases apart."""

    def __init__(self, url: str) -> None:
        """url: as redis-py reads it. Raises ConfigError."""
        try:
            # No retries of its own: what is lost is lost, and `connected` is to be called after each failure.
            self._client = redis.Redis.from_url(
                url,
                socket_connect_timeout=TIMEOUT,
                socket_timeout=TIMEOUT,
                health_check_interval=PING_INTERVAL,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:  # whose text may have the password
            raise ConfigError("events.broker: is no URL of a Redis server") from None
        number = self._client.connection_pool.connection_kwargs.get("db", 0)
        self._channel = f"{CHANNEL}.{number}"
        self._outbox = Outbox()
        self._subscription: Any = None
        self._loops = ExitStack()

    def start(self, heard: Heard, connected: Callable[[], None]) -> None:
        self._loops.enter_context(
            periodic("hearing the broker", lambda: self._receive(heard, connected), 0, retry=RETRY_INTERVAL)
        )
        self._loops.enter_context(periodic("publishing to the broker", self._send, 0, retry=RETRY_INTERVAL))

    def send(self, data: bytes) -> None:
        self._outbox.put(data)

    def stop(self) -> None:
        self._loops.close()
        self._client.close()

    def _receive(self, heard: Heard, connected: Callable[[], None]) -> None:
        try:
            if self._subscription is None:
                subscription = self._client.pubsub(ignore_subscribe_messages=True)
                subscription.subscribe(self._channel)
                self._subscription = subscription
                connected()
            message = self._subscription.get_message(timeout=WAIT)
        except (redis.RedisError, OSError) as error:
            broken, self._subscription = self._subscription, None
            if broken is not None:
                broken.close()
            raise _broken(error) from None
        if message is not None:
            heard(message["data"])

    def _send(self) -> None:
        try:
            for data in self._outbox.take():
                self._client.publish(self._channel, data)
        except (redis.RedisError, OSError) as error:
            raise _broken(error) from None


def _broken(error: Exception) -> Exception:
    return unavailable(f"the broker of [events] broker does not work: {error}")


class SeamLink:
    """From a process of the logic half to the repo half, which passes on what it is sent and what it hears."""

    def __init__(self, signals: SignalServiceStub) -> None:
        self._signals = signals
        self._outbox = Outbox()
        self._responses: Any = None
        self._loops = ExitStack()

    def start(self, heard: Heard, connected: Callable[[], None]) -> None:
        self._loops.enter_context(
            periodic("hearing the repo half", lambda: self._receive(heard, connected), 0, retry=RETRY_INTERVAL)
        )
        self._loops.enter_context(periodic("publishing to the repo half", self._send, 0, retry=RETRY_INTERVAL))

    def send(self, data: bytes) -> None:
        self._outbox.put(data)

    def stop(self) -> None:
        if (responses := self._responses) is not None:
            responses.cancel()
        self._loops.close()

    def _receive(self, heard: Heard, connected: Callable[[], None]) -> None:
        """Waits for the next response, as long as that takes. Raises ChatError, after which the stream is opened
        again."""
        if self._responses is None:
            self._responses = self._signals.Watch(pb.WatchRequest())
        try:
            response = next(self._responses, None)
        except Exception:
            self._responses = None
            raise
        if response is None:
            self._responses = None
            raise unavailable("the repo half has ended the stream of signals")
        if response.HasField("signals"):
            heard(response.signals.SerializeToString())
        else:
            connected()

    def _send(self) -> None:
        for data in self._outbox.take():
            with entered(Call(SERVICE, "-", monotonic() + TIMEOUT, SERVICE)):
                self._signals.Publish(pb.PublishRequest(signals=pb.Signals.FromString(data)))
