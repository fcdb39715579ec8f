"""--push: how soon streams get what happens, what that and idle streams cost, and how streams come back."""

import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from gochat.bench.clients import newest_cursor
from gochat.bench.databases import People
from gochat.bench.report import Machine, aligned
from gochat.bench.seed import Room
from gochat.bench.servers import Deployment
from gochat.bench.streams import ANSWER_TIMEOUT, MAX_CALLS, OPENING, Listeners, Opened, Remote, Sender, Sent, remote
from gochat.config import ConfigError
from gochat.rpc.load import percentile

SHARES = (10, 50, 90)  # percent of the rate of sends
ROOM = 10  # members of the groups in which the delay is measured
MAX_IN_FLIGHT = 1000
CLOSED_LOOP = 16  # sends in flight
SETTLE = 1.0  # seconds


@dataclass(frozen=True)
class PushSizes:
    """streams: idle, few and many. resuming: streams that come back at once. recipients: of a message. rooms: groups of
    ROOM members. deliveries: of which the cost is measured."""

    streams: tuple[int, int]
    resuming: int
    recipients: tuple[int, ...]
    rooms: int
    deliveries: int

    @property
    def groups(self) -> list[int]:
        """The members of each; a group of one would have no recipient."""
        return [max(2, number) for number in self.recipients] + [ROOM] * self.rooms

    @property
    def users(self) -> int:
        return max(self.streams[1], self.resuming, sum(self.groups))

    def seed(self) -> list[Room]:
        """Those in which messages have so many recipients, then the others; nobody is in two."""
        starts = accumulate(self.groups, initial=0)
        return [Room("group", range(start, start + size), 1) for start, size in zip(starts, self.groups, strict=False)]


def sizes(scale: float) -> PushSizes:
    """scale: 0.001 to 1."""

    def scaled(number: int, least: int) -> int:
        return max(least, round(number * scale))

    return PushSizes(
        (scaled(1000, 10), scaled(10_000, 20)),
        scaled(5000, 10),
        (1, scaled(50, 3), scaled(500, 5)),
        scaled(20, 2),
        scaled(100_000, 200),
    )


@dataclass(frozen=True)
class Delay:
    share: int
    sends_per_second: float
    deliveries: int
    p50_ms: float
    p99_ms: float
    send_p99_ms: float


@dataclass(frozen=True)
class Cost:
    """cpu_us: of a delivery, with its part of the send, one send at a time. added_us: without what the same sends cost
    with no stream. deliveries_per_second: with CLOSED_LOOP sends in flight, which are delivered together."""

    recipients: int
    cpu_us: float
    added_us: float
    deliveries_per_second: float


@dataclass(frozen=True)
class Idle:
    """kib: of memory that a stream takes, with its part of the connection. cpu_percent: of a core, of all."""

    streams: int
    per_connection: int
    kib: float
    cpu_percent: float
    threads: int


@dataclass(frozen=True)
class Resumed:
    streams: int
    seconds: float
    p99_ms: float
    send_p99_ms: float
    refused: int


@dataclass(frozen=True)
class Results:
    sends_per_second: float
    delays: list[Delay]
    costs: list[Cost]
    idle: list[Idle]
    resumed: Resumed


class Measurement:
    """token: of a service. seconds: of each step under load."""

    def __init__(self, server: Deployment, people: People, sizes: PushSizes, token: str, seconds: float) -> None:
        self._server, self._people, self._sizes, self._seconds = server, people, sizes, seconds
        self._address, self._token = server.logic.address, token

    def run(self) -> Results:
        """Raises ConfigError."""
        few, many = self._sizes.streams
        idle = [self._idle(few, 1), self._idle(many, MAX_CALLS)]
        with ExitStack() as running:
            sender = running.enter_context(remote(Sender, self._address, self._token))
            rate, delays = self._delays(sender)
            costs = [self._cost(sender, index) for index in range(len(self._sizes.recipients))]
            resumed = self._resumed(sender, rate / 2)
        return Results(round(rate, 1), delays, costs, idle, resumed)

    def _listeners(self) -> Any:
        return remote(Listeners, self._address, self._token)

    def _delays(self, sender: Remote) -> tuple[float, list[Delay]]:
        rooms = self._people.groups[len(self._sizes.recipients) :]
        targets = [(room, members[number]) for number in range(ROOM) for room, members in rooms]
        with self._listeners() as listeners:
            everybody = [(user_id, "") for _, members in rooms for user_id in members]
            listeners("open", everybody, 1, OPENING)
            full: Sent = sender("run", targets, self._seconds, 0, CLOSED_LOOP, 0)
            rate = len(full.latencies) / full.seconds
            _drain(listeners)
            delays = [self._delay(sender, listeners, targets, rate, share) for share in SHARES]
        return rate, delays

    def _delay(self, sender: Remote, listeners: Remote, targets: Any, rate: float, share: int) -> Delay:
        sent: Sent = sender("run", targets, self._seconds, rate * share / 100, MAX_IN_FLIGHT, 0)
        lags = _drain(listeners, _checked(sent) * ROOM)
        return Delay(
            share,
            round(len(sent.latencies) / sent.seconds, 1),
            len(lags),
            round(percentile(lags, 50), 2),
            round(percentile(lags, 99), 2),
            round(percentile(sent.latencies, 99), 2),
        )

    def _cost(self, sender: Remote, index: int) -> Cost:
        """One send at a time, so that each is delivered by itself; then as many as the server takes."""
        recipients, (room, members) = self._sizes.recipients[index], self._people.groups[index]
        sends = max(10, min(2000, self._sizes.deliveries // recipients))
        targets = [(room, user_id) for user_id in members]
        _, alone = self._cpu_of(sender, targets, 1, sends)
        with self._listeners() as listeners:
            listeners("open", [(user_id, "") for user_id in members[:recipients]], 50, OPENING)
            time.sleep(SETTLE)
            count, cpu = self._cpu_of(sender, targets, 1, sends, listeners, recipients)
            began = time.monotonic()
            many, _ = self._cpu_of(sender, targets, CLOSED_LOOP, sends, listeners, recipients)
            seconds = time.monotonic() - began
        return Cost(
            recipients, round(cpu / count * 1e6, 1), round((cpu - alone) / count * 1e6, 1), round(many / seconds, 1)
        )

    def _cpu_of(
        self, sender: Remote, targets: Any, most: int, sends: int, listeners: Remote | None = None, recipients: int = 0
    ) -> tuple[int, float]:
        """The deliveries of so many sends, and seconds of the server until the last has come. most: in flight."""
        before = self._server.cpu()
        count = _checked(sender("run", targets, ANSWER_TIMEOUT, 0, most, sends)) * recipients
        if listeners:
            _drain(listeners, count)
        return count, self._server.cpu() - before

    def _idle(self, streams: int, per_connection: int) -> Idle:
        before = sum(self._server.memory())
        with self._listeners() as listeners:
            listeners("open", [(user_id, "") for user_id in self._people.user_ids[:streams]], per_connection, OPENING)
            time.sleep(SETTLE)
            cpu, began = self._server.cpu(), time.monotonic()
            time.sleep(self._seconds)
            used = (self._server.cpu() - cpu) / (time.monotonic() - began)
            after, threads = sum(self._server.memory()), self._server.threads()
        time.sleep(SETTLE)
        return Idle(streams, per_connection, round((after - before) * 1024 / streams, 1), round(used * 100, 2), threads)

    def _resumed(self, sender: Remote, rate: float) -> Resumed:
        """All at once, while others send as many as half of what the server can."""
        room, members = self._people.groups[-1]
        cursor = newest_cursor(self._address, self._token, members[0])
        streams = [(user_id, cursor) for user_id in self._people.user_ids[: self._sizes.resuming]]
        with self._listeners() as listeners:
            sender.begin("run", [(room, user_id) for user_id in members], self._seconds * 2, rate, MAX_IN_FLIGHT, 0)
            began = time.monotonic()
            opened: Opened = listeners("open", streams, MAX_CALLS, len(streams))
            seconds = time.monotonic() - began
            sent: Sent = sender.end()
        _checked(sent)
        return Resumed(
            len(streams),
            round(seconds, 2),
            round(percentile(opened.latencies, 99), 1),
            round(percentile(sent.latencies, 99), 2),
            opened.refused.total(),
        )


def _checked(sent: Sent) -> int:
    """How many succeeded. Raises ConfigError if one did not."""
    if sent.errors:
        raise ConfigError(f"{sent.errors} of {sent.errors + len(sent.latencies)} sends failed")
    return len(sent.latencies)


def _drain(listeners: Remote, expected: int = 0) -> list[int]:
    """What has come since the last time; waits for as many as are expected, or until no more come."""
    lags: list[int] = []
    while True:
        time.sleep(0.02 if expected else SETTLE)
        more = listeners("taken")
        lags += more
        if (expected and len(lags) >= expected) or (not expected and not more):
            return lags
        if not more and expected:
            time.sleep(SETTLE)
            last = listeners("taken")
            lags += last
            if not last:
                raise ConfigError(f"{len(lags)} of {expected} messages came")


def report(described: Machine, layout: str, sizes: PushSizes, results: Results, *, as_json: bool) -> str:
    if as_json:
        whole = {"machine": asdict(described), "options": {"layout": layout} | asdict(sizes), "push": asdict(results)}
        return json.dumps(whole, indent=1)
    resumed = results.resumed
    tables = (
        [
            ("of the rate", "sends/s", "deliveries", "P50 ms", "P99 ms", "sends' P99 ms"),
            *(
                (f"{one.share} %", *_texts(one, "sends_per_second", "deliveries", "p50_ms", "p99_ms", "send_p99_ms"))
                for one in results.delays
            ),
        ],
        [
            ("recipients", "CPU us/delivery", "without the send", "deliveries/s"),
            *(_texts(one, "recipients", "cpu_us", "added_us", "deliveries_per_second") for one in results.costs),
        ],
        [
            ("idle streams", "on a connection", "KiB each", "CPU % of a core", "threads"),
            *(_texts(one, "streams", "per_connection", "kib", "cpu_percent", "threads") for one in results.idle),
        ],
    )
    return "\n\n".join(
        [
            f"{described}\n{layout}; {results.sends_per_second:,.0f} sends/s to groups of {ROOM} with a stream each",
            *(aligned(table) for table in tables),
            f"{resumed.streams:,} streams that come back at once: {resumed.seconds:g} s until all have, at half the"
            f" rate; P99 {resumed.p99_ms:g} ms, of sends meanwhile {resumed.send_p99_ms:g} ms; refused and tried again:"
            f" {resumed.refused:,}",
        ]
    )


def _texts(one: Any, *names: str) -> tuple[str, ...]:
    return tuple(f"{getattr(one, name):,}" for name in names)
