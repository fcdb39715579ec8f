"""--plan: what so many users and messages take, from the figures of this machine. Arithmetic alone; bench/measuring.py
has where the figures come from, gochat/commands/README.md the formula in words."""

import json
from dataclasses import asdict, dataclass
from math import ceil

from gochat.bench.report import Machine, aligned

DAY = 24 * 3600.0  # seconds
MONTH = 30  # days
PEAK = 10.0  # times the mean of a day, in the busiest minutes: 8 to 20 in ten minutes of one public channel
ONLINE = 0.5  # of the users have a stream at the peak
RECIPIENTS = 10.0  # of a message; as many of them as of all users are online
READS = 0.5  # MarkMessageRead for each delivery: several messages are read at a time
OPENINGS = 20.0  # times a day that a user opens the app: a stream, the list, the unread counts, one conversation
MAX_LOAD = 0.6  # of a core or a host at the peak; beyond it calls wait for each other
MAX_STREAMS = 10_000  # of a process: what [limits] connections lets in

SEND, READ, SUBSCRIBE = "SendMessage", "MarkMessageRead", "Subscribe"
LISTS = ("GetConversations", "GetUnreadMessages", "GetMessageHistory", SUBSCRIBE)
MEASURED = (SEND, READ, *LISTS)


@dataclass(frozen=True)
class Figures:
    """Of this machine, by RPC of MEASURED. cpu_us: of GoChat; database_us: of PostgreSQL, 0 where it is elsewhere.
    delivery_us: what one more recipient of a message costs. stream_us: a second of an idle stream. stream_kib: of
    memory, with its connection; idle_mib: of a process without streams. message_bytes: on disk, of a message of
    content_bytes; without the log of changes, which is trimmed."""

    cores: int
    is_postgres: bool
    cpu_us: dict[str, float]
    database_us: dict[str, float]
    delivery_us: float
    stream_us: float
    stream_kib: float
    idle_mib: float
    message_bytes: float
    content_bytes: float


@dataclass(frozen=True)
class Plan:
    """Rates: a second at the peak. cores, database_cores, database_reads: used at the peak, of GoChat, of PostgreSQL,
    and that part of PostgreSQL's that replicas can take. processes: of GoChat. disk_gib: a month."""

    users: int
    messages_per_day: int
    messages: float
    deliveries: float
    reads: float
    lists: float
    streams: int
    cores: float
    database_cores: float
    database_reads: float
    processes: int
    memory_mib: float
    disk_gib: float
    step: str


def planned(figures: Figures, users: int, messages_per_day: int) -> Plan:
    messages = messages_per_day / DAY * PEAK
    deliveries = messages * RECIPIENTS * ONLINE
    reads = deliveries * READS
    openings = users * OPENINGS / DAY * PEAK
    streams = ceil(users * ONLINE)
    calls = {SEND: messages, READ: reads} | dict.fromkeys(LISTS, openings)
    cores = _cores(calls, figures.cpu_us) + (deliveries * figures.delivery_us + streams * figures.stream_us) / 1e6
    database_reads = _cores(dict.fromkeys(LISTS, openings), figures.database_us)
    database_cores = _cores(calls, figures.database_us)
    processes = max(1, ceil(cores / MAX_LOAD), ceil(streams / MAX_STREAMS))
    return Plan(
        users,
        messages_per_day,
        round(messages, 2),
        round(deliveries, 2),
        round(reads, 2),
        round(openings * len(LISTS), 2),
        streams,
        round(cores, 3),
        round(database_cores, 3),
        round(database_reads, 3),
        processes,
        round(processes * figures.idle_mib + streams * figures.stream_kib / 1024, 1),
        round(messages_per_day * MONTH * figures.message_bytes / 2**30, 2),
        _step(figures, processes, cores, database_cores, database_reads),
    )


def _cores(calls: dict[str, float], microseconds: dict[str, float]) -> float:
    return sum(rate * microseconds[rpc] for rpc, rate in calls.items()) / 1e6


def _step(figures: Figures, processes: int, cores: float, database: float, database_reads: float) -> str:
    """The first step that carries it, in the order in which they are taken; hosts are as this machine."""
    host = figures.cores * MAX_LOAD
    workers = f"{processes} workers" if processes > 1 else "one process"
    hosts = ceil(cores / host)
    replicas = ceil(database_reads / host)
    steps = (
        (processes == 1 and not figures.is_postgres, "SQLite, one process"),
        (not figures.is_postgres, "PostgreSQL with workers: plan again with --database, for its figures"),
        (
            processes == 1 and cores + database <= host,
            "PostgreSQL on this host, one process; or SQLite (plan without --database)",
        ),
        (cores + database <= host, f"PostgreSQL on this host, {workers}"),
        (cores <= host and database <= host, f"PostgreSQL on a host of its own, {workers} on another one"),
        (database <= host, f"Logic and Repo apart on {max(2, hosts)} hosts, PostgreSQL on another one"),
        (
            database - database_reads <= host,
            f"Logic and Repo apart on {max(2, hosts)} hosts, read replicas of PostgreSQL: {replicas}",
        ),
        (True, "more writes than one PostgreSQL on a host like this one takes: a larger host for it"),
    )
    return next(step for fits, step in steps if fits)


def report(described: Machine, figures: Figures, plan: Plan, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"machine": asdict(described), "figures": asdict(figures), "plan": asdict(plan)}, indent=1)
    measured = [
        ("measured here", "CPU us", "PostgreSQL us"),
        *((rpc, f"{figures.cpu_us[rpc]:,.0f}", _database(figures, rpc)) for rpc in MEASURED),
        ("a delivery more", f"{figures.delivery_us:,.1f}", ""),
        ("an idle stream, a second", f"{figures.stream_us:,.1f}", ""),
    ]
    needed = [
        ("at the peak", ""),
        ("messages/s", f"{plan.messages:,.1f}"),
        ("deliveries/s", f"{plan.deliveries:,.1f}"),
        ("reads marked/s", f"{plan.reads:,.1f}"),
        ("lists and pages/s", f"{plan.lists:,.1f}"),
        ("streams", f"{plan.streams:,}"),
        ("cores of GoChat", f"{plan.cores:.2f}"),
        ("cores of PostgreSQL", f"{plan.database_cores:.2f}" if any(figures.database_us.values()) else "-"),
        ("memory of GoChat, MiB", f"{plan.memory_mib:,.0f}"),
        ("disk a month, GiB", f"{plan.disk_gib:,.2f}"),
    ]
    return "\n\n".join(
        [
            str(described),
            aligned(measured),
            f"A stream takes {figures.stream_kib:,.0f} KiB, a process {figures.idle_mib:,.0f} MiB, a message of"
            f" {figures.content_bytes:,.0f} bytes {figures.message_bytes:,.0f} on disk.",
            f"{plan.users:,} users and {plan.messages_per_day:,} messages a day, if the busiest minutes have"
            f" {PEAK:g} times the mean of a day,\n{ONLINE:.0%} of the users are online then, a message has"
            f" {RECIPIENTS:g} recipients, and a user opens the app {OPENINGS:g} times a day:",
            aligned(needed),
            f"Advised, at {MAX_LOAD:.0%} of the cores and {MAX_STREAMS:,} streams a process at most: {plan.step}.",
        ]
    )


def _database(figures: Figures, rpc: str) -> str:
    return f"{figures.database_us[rpc]:,.0f}" if figures.database_us[rpc] else "-"
