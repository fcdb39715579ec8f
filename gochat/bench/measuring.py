"""The figures that --plan goes by, measured on this machine in a minute: what calls, deliveries and idle streams cost,
and what a message takes on disk."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from statistics import mean
from typing import Any

from gochat.bench.clients import clients, sign_in
from gochat.bench.databases import People
from gochat.bench.load import LoadSizes, Measurement
from gochat.bench.plan import LISTS, MEASURED, READ, SEND, SUBSCRIBE, Figures
from gochat.bench.seed import CONTENTS
from gochat.bench.servers import TICKS, Deployment, echo
from gochat.bench.streams import ANSWER_TIMEOUT, OPENING, Listeners, Sender, Sent, remote
from gochat.config import Config, ConfigError
from gochat.storage.connecting import look_at
from gochat.storage.engine import snapshot

SIZES = LoadSizes(users=2000, conversations=400, messages=20_000, members=50)
CALLS = 16  # in flight
STREAMS = 1000  # with a connection each
BULK, BULK_CALLS = "SendMessages", 4
WARM_UP, SENDS = 20, 200  # of the latter the deliveries are measured
SETTLE = 1.0  # seconds
IDLE = 4.0  # seconds: /proc counts hundredths
MAX_SECONDS = 2.0  # of each RPC
_BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
_SIZE = (
    "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "SELECT pg_database_size(current_database())",
)


class Measuring:
    """settings: of the server that runs. token: of a service. seconds: of each RPC."""

    def __init__(self, server: Deployment, settings: Config, people: People, token: str, seconds: float) -> None:
        self._server, self._settings, self._people, self._token = server, settings, people, token
        self._seconds, self._address = min(seconds, MAX_SECONDS), server.logic.address
        self._database_cpu = DatabaseCpu(settings)

    def run(self, scratch: Path, cores: int, show: Callable[[str], None]) -> Figures:
        """Raises ConfigError."""
        idle_mib = sum(self._server.memory())
        cpu_us, database_us = dict[str, float](), dict[str, float]()
        with ExitStack() as running:
            callers = running.enter_context(clients(CALLS, own_connections=False))
            bare = running.enter_context(echo(scratch))
            signed_in = [sign_in(self._address, number) for number in range(SIZES.callers)]
            measurement = Measurement(self._server, bare, callers, signed_in, CALLS, self._seconds)
            for rpc in (SEND, READ, *(one for one in LISTS if one != SUBSCRIBE)):
                show(f"measuring {rpc}")
                began, database = self._server.cpu(), self._database_cpu()
                row = measurement.measure(rpc)
                cpu_us[rpc] = row.cpu_per_call
                share = (self._database_cpu() - database) / max(self._server.cpu() - began, 1 / TICKS)
                database_us[rpc] = row.cpu_per_call * share
            show("measuring the disk")
            size, sent = self._size(), self._sent()
            # So many messages that what was free in pages does not matter.
            Measurement(self._server, bare, callers, signed_in, BULK_CALLS, self._seconds).measure(BULK)
            message_bytes = (self._size() - size) / (self._sent() - sent)
        show("measuring streams")
        delivery_us = self._delivery()
        stream_us, stream_kib = self._streams(cpu_us, database_us)
        assert cpu_us.keys() == set(MEASURED)
        return Figures(
            cores=cores,
            is_postgres=self._settings.database.is_postgres,
            cpu_us=cpu_us,
            database_us=database_us,
            delivery_us=delivery_us,
            stream_us=stream_us,
            stream_kib=stream_kib,
            idle_mib=idle_mib,
            message_bytes=message_bytes,
            content_bytes=mean(len(content.encode()) for content in CONTENTS),
        )

    def _sent(self) -> int:
        with snapshot(self._settings) as tx:
            return int(tx.fetch_all("SELECT SUM(last_seq) FROM conversations")[0][0])

    def _size(self) -> int:
        """Bytes of the database, with what SQLite has in its log."""
        with snapshot(self._settings) as tx:
            return int(tx.fetch_all(_SIZE[tx.postgres])[0][0])

    def _delivery(self) -> float:
        """Microseconds of CPU for one more recipient of a message, one send at a time."""
        room, members = next(one for one in self._people.groups if len(one[1]) >= SIZES.members)
        targets = [(room, user_id) for user_id in members]
        with remote(Sender, self._address, self._token) as sender:
            _send(sender, targets, WARM_UP)
            alone = self._cpu_while(lambda: _send(sender, targets, SENDS))
            with remote(Listeners, self._address, self._token) as listeners:
                listeners("open", [(user_id, "") for user_id in members], len(members), OPENING)
                time.sleep(SETTLE)

                def deliver() -> None:
                    _send(sender, targets, SENDS)
                    came, until = 0, time.monotonic() + ANSWER_TIMEOUT
                    while came < SENDS * len(members):
                        if time.monotonic() > until:
                            raise ConfigError(f"{came} of {SENDS * len(members)} messages came")
                        time.sleep(0.02)
                        came += len(listeners("taken"))

                with_streams = self._cpu_while(deliver)
        return max(0.0, with_streams - alone) / (SENDS * len(members)) * 1e6

    def _streams(self, cpu_us: dict[str, float], database_us: dict[str, float]) -> tuple[float, float]:
        """(microseconds of CPU a second, KiB) of a stream with its connection; and what opening one costs."""
        without = self._cpu_while(lambda: time.sleep(IDLE))
        before, database = sum(self._server.memory()), self._database_cpu()
        with remote(Listeners, self._address, self._token) as listeners:
            streams = [(user_id, "") for user_id in self._people.user_ids[:STREAMS]]
            opening = self._cpu_while(lambda: listeners("open", streams, 1, OPENING))
            cpu_us[SUBSCRIBE] = opening / len(streams) * 1e6
            database_us[SUBSCRIBE] = (self._database_cpu() - database) / len(streams) * 1e6
            time.sleep(SETTLE)
            idle = max(0.0, self._cpu_while(lambda: time.sleep(IDLE)) - without)
            after = sum(self._server.memory())
        return idle / IDLE / len(streams) * 1e6, max(0.0, after - before) * 1024 / len(streams)

    def _cpu_while(self, work: Callable[[], Any]) -> float:
        """Seconds of the server."""
        before = self._server.cpu()
        work()
        return self._server.cpu() - before


def _send(sender: Any, targets: Sequence[tuple[str, str]], sends: int) -> None:
    sent: Sent = sender("run", targets, ANSWER_TIMEOUT, 0, 1, sends)
    if sent.errors:
        raise ConfigError(f"{sent.errors} of {sends} sends failed")


class DatabaseCpu:
    """Seconds that PostgreSQL's processes have taken for connections of this database: those that are there, and those
    that were when it was asked before. 0 where they are not on this machine, and with SQLite."""

    def __init__(self, settings: Config) -> None:
        self._database = settings.database
        self._seconds: dict[int, float] = {}
        """By process; of one that has ended what it had taken when it was last seen, so that the sum never falls."""

    def __call__(self) -> float:
        for pid in self._backends():
            self._seconds[pid] = max(self._seconds.get(pid, 0.0), _cpu_of(pid))
        return sum(self._seconds.values())

    def _backends(self) -> list[int]:
        if not self._database.is_postgres:
            return []
        with closing(look_at(self._database.url, writing=False).connect({})) as database:
            return [pid for (pid,) in database.execute_sql(_BACKENDS).fetchall()]


def _cpu_of(pid: int) -> float:
    """Seconds, of a process of PostgreSQL on this machine; 0 of any other."""
    with suppress(FileNotFoundError, ProcessLookupError):
        name, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        if "postgres" in name:
            return sum(map(int, fields.split()[11:13])) / TICKS
    return 0.0
