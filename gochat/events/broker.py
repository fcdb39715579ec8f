"""The link by a broker, which is a Redis server. A module of its own, imported where a broker is set: importing redis
takes a fifth of the time in which a command starts."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gochat.background import periodic
from gochat.config import ConfigError
from gochat.errors import unavailable
from gochat.events.links import RETRY_INTERVAL, TIMEOUT, WAIT, Heard, Outbox

PING_INTERVAL = 10.0  # seconds of silence after which the connection is tested
CHANNEL = "gochat.signals"


def client_of(url: str) -> redis.Redis:
    """It makes no retries of its own: what is lost is lost, and who calls is to hear of each failure. url: as redis-py
    reads it. Raises ConfigError."""
    try:
        return redis.Redis.from_url(
            url,
            socket_connect_timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            health_check_interval=PING_INTERVAL,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:  # whose text may have the password
        raise ConfigError("events.broker: is no URL of a Redis server") from None


class BrokerLink:
    """By a channel of a Redis server, which has the number of the database in its name: Redis itself does not keep the
    channels of its databases apart."""

    def __init__(self, url: str) -> None:
        """url: as redis-py reads it. Raises ConfigError."""
        self._client = client_of(url)
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
            subscription, self._subscription = self._subscription, None
            if subscription is not None:
                subscription.close()
            raise broken(error) from None
        if message is not None:
            heard(message["data"])

    def _send(self) -> None:
        try:
            for data in self._outbox.take():
                self._client.publish(self._channel, data)
        except (redis.RedisError, OSError) as error:
            raise broken(error) from None


def broken(error: Exception) -> Exception:
    return unavailable(f"the broker of [events] broker does not work: {error}")
