"""Settles rate limits between processes by the broker (gochat/domain/shared_rates.py), in the background: no call waits
for it. Imported where a broker is set, as broker.py is.

A thread sends every SETTLE_INTERVAL what this process has counted since, all of it in one round trip, and hears what
all have counted. The keys in Redis are digests, since some are of what nobody is to read there; they expire when they
say no more than a key that is not there. What a round had to say is lost if it fails: limits are those of this process
until the next one succeeds.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from itertools import islice

import redis

from gochat.background import periodic
from gochat.domain.shared_rates import Settled, SharedBuckets
from gochat.events.broker import broken, client_of
from gochat.events.links import RETRY_INTERVAL

SETTLE_INTERVAL = 0.1  # seconds
BATCH = 500  # keys of one script, which nothing else in Redis runs beside
PREFIX = "gochat.limits"

_BUCKETS = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local heard = {}
for number, key in ipairs(KEYS) do
  local full_at = math.max(tonumber(redis.call('GET', key) or 0), now) + tonumber(ARGV[number])
  if full_at > now then
    redis.call('SET', key, string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
  else
    redis.call('DEL', key)
  end
  heard[number] = string.format('%.0f', math.max(full_at - now, 0))
end
return table.concat(heard, ' ')"""
"""The times in microseconds, by Redis's clock, at which buckets are full again; see Buckets."""

_FAILURES = """
local heard = {}
for number, key in ipairs(KEYS) do
  local succeeded, failures, kept = ARGV[number * 3 - 2], tonumber(ARGV[number * 3 - 1]), ARGV[number * 3] * 1000
  if succeeded == '1' then
    redis.call('DEL', key)
  end
  if failures > 0 then
    redis.call('INCRBY', key, failures)
    redis.call('PEXPIRE', key, kept)
  end
  local age = kept - math.max(redis.call('PTTL', key), 0)
  heard[number] = string.format('%.0f %.0f', redis.call('GET', key) or 0, age)
end
return table.concat(heard, ' ')"""
"""Numbers of failures; when the last one was is known by when the key expires."""


@contextmanager
def settling(url: str, limits: list[Settled]) -> Iterator[None]:
    """While the block lasts. Raises ConfigError."""
    with (
        closing(client_of(url)) as client,
        periodic("settling rate limits", lambda: settle(client, limits), SETTLE_INTERVAL, retry=RETRY_INTERVAL),
    ):
        yield


def settle(client: redis.Redis, limits: list[Settled]) -> None:
    """One round. Raises ChatError."""
    rounds = list[tuple[Settled, list[str]]]()
    with client.pipeline(transaction=False) as pipeline:
        for limit in limits:
            script = _BUCKETS if isinstance(limit, SharedBuckets) else _FAILURES
            counted = limit.counted()
            rest = iter(counted)
            while keys := list(islice(rest, BATCH)):
                values = [value for key in keys for value in counted[key]]
                pipeline.eval(script, len(keys), *(_key(limit.name, key) for key in keys), *values)
                rounds.append((limit, keys))
        if not rounds:
            return
        try:
            answers = pipeline.execute()
        except (redis.RedisError, OSError) as error:
            raise broken(error) from None
    for (limit, keys), answer in zip(rounds, answers, strict=True):
        numbers = [
            int(number) for number in answer.split()
        ]  # as one text: redis-py takes most of a round to read a list
        width = len(numbers) // len(keys)
        for index, key in enumerate(keys):
            limit.heard(key, numbers[index * width : (index + 1) * width])


def _key(name: str, key: str) -> str:
    return f"{PREFIX}.{name}.{blake2b(key.encode(), digest_size=16).hexdigest()}"
