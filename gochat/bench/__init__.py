"""gochat bench: measures the performance of this machine, with servers and databases made for the purpose."""

import json
import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gochat.bench import growth, measuring, plan, push, report
from gochat.bench.clients import clients, sign_in
from gochat.bench.databases import SQLITE, config_of, people_of, prepare, temporary_databases
from gochat.bench.load import LoadSizes, Measurement, Row
from gochat.bench.requests import RPCS
from gochat.bench.servers import Deployment, echo, gochat
from gochat.config import Config, ConfigError
from gochat.context import Caller
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import SERVICE_KIND, Tokens
from gochat.keys import signing_keys

NAMES = tuple(dict.fromkeys([*RPCS, *(timed.rpc for timed in growth.TIMED)]))
"""The RPCs that can be measured."""

SCALES = ("small", "large")
"""The two databases of --growth."""
_OPTIONS = ("target", "workers", "concurrency", "duration")


def run(arguments: Namespace) -> int:
    if not Path("/proc/self/stat").exists():
        raise ConfigError("bench runs on Linux: it reads the processor time of the server in /proc")
    if arguments.database != SQLITE and not arguments.database.startswith(("postgresql://", "postgres://")):
        raise ConfigError(f"--database: must be {SQLITE} or postgresql://user:password@host/name")
    if arguments.seed_only and arguments.database == SQLITE and not arguments.data:
        raise ConfigError("--seed-only: goes with --data, which says where")
    if arguments.plan and (arguments.growth or arguments.push or arguments.rpc or arguments.workers > 1):
        raise ConfigError("--plan: goes without --growth, --push, --rpc and --workers")
    with ExitStack() as resources:
        resources.enter_context(_cleaning_up_on_signals())
        scratch = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="gochat-bench-")))
        data = Path(arguments.data).absolute() if arguments.data else scratch
        if arguments.plan:
            _plan(arguments, data, scratch)
        elif arguments.growth:
            _growth(arguments, data, scratch)
        elif arguments.push:
            _push(arguments, data, scratch)
        else:
            _load(arguments, data, scratch)
    return 0


def _load(arguments: Namespace, data: Path, scratch: Path) -> None:
    chosen = arguments.rpc or list(RPCS)
    if "GetUser" in chosen:
        raise ConfigError("--rpc: GetUser goes with --growth")
    sizes = LoadSizes(arguments.users, arguments.conversations, arguments.messages, arguments.members)
    rooms = sizes.rooms()
    settings = config_of(arguments.database, data).with_settings("server", workers=arguments.workers)
    database = prepare(settings, _seed_parameters("load", asdict(sizes)), sizes.users, lambda: rooms)
    if arguments.seed_only:
        return
    described = report.machine(database)
    with ExitStack() as running:
        server = running.enter_context(gochat(settings, arguments.target, scratch))
        idle = server.memory()
        callers = running.enter_context(clients(arguments.concurrency, own_connections=arguments.workers > 1))
        echo_server = running.enter_context(echo(scratch))
        people = [sign_in(server.logic.address, number) for number in range(sizes.callers)]
        measurement = Measurement(server, echo_server, callers, people, arguments.concurrency, arguments.duration)
        rows: list[Row] = []
        for name in chosen:
            _show(f"measuring {name}")
            rows.append(measurement.measure(name))
        _show("")
        memory = [
            {"process": process.name, "idle_mib": round(before, 1), "end_mib": round(after, 1)}
            for process, before, after in zip(server.processes, idle, server.memory(), strict=True)
        ]
    options = {name: getattr(arguments, name) for name in _OPTIONS} | asdict(sizes)
    print(report.load(described, options, measurement.echo(), rows, memory, as_json=arguments.json))


def _plan(arguments: Namespace, data: Path, scratch: Path) -> None:
    sizes = measuring.SIZES
    settings = config_of(arguments.database, data)
    database = prepare(settings, _seed_parameters("plan", asdict(sizes)), sizes.users, sizes.rooms)
    if arguments.seed_only:
        return
    described, people = report.machine(database), people_of(settings)
    with gochat(settings, arguments.target, scratch) as server:
        token = _service_token(settings)  # of the key that the server has made
        measured = measuring.Measuring(server, settings, people, token, arguments.duration)
        figures = measured.run(scratch, described.cores, _show)
        _show("")
    planned = plan.planned(figures, *arguments.plan)
    print(plan.report(described, figures, planned, as_json=arguments.json))


def _growth(arguments: Namespace, data: Path, scratch: Path) -> None:
    chosen = [timed for timed in growth.TIMED if not arguments.rpc or timed.rpc in arguments.rpc]
    if not chosen:
        raise ConfigError(f"--rpc: {arguments.rpc[0]} does not go with --growth")
    sizes = dict(zip(SCALES, (growth.SMALL, growth.large(arguments.scale)), strict=True))
    with ExitStack() as running:
        keep = bool(arguments.data) or arguments.seed_only
        urls = running.enter_context(temporary_databases(arguments.database, SCALES, keep=keep))
        prepared = {}
        for (name, size), url in zip(sizes.items(), urls, strict=True):
            prepared[name] = config_of(url, data / name)
            database = prepare(prepared[name], _seed_parameters(name, asdict(size)), size.users, size.rooms)
        if arguments.seed_only:
            return
        described = report.machine(database)
        worlds: dict[str, growth.World] = {}
        for name in SCALES:
            logs = scratch / f"{name}-logs"
            logs.mkdir()
            server = running.enter_context(gochat(prepared[name], arguments.target, logs))
            worlds[name] = running.enter_context(closing(_world(server, sizes[name], prepared[name])))
        measured = []
        for timed in chosen:
            _show(f"measuring {timed.name} by {timed.dimension}")
            measured.append(growth.measure(timed, **worlds, seconds=arguments.duration))
        _show("")
    print(report.growth(described, arguments.target, sizes, measured, as_json=arguments.json))


def _push(arguments: Namespace, data: Path, scratch: Path) -> None:
    sizes = push.sizes(arguments.scale)
    settings = config_of(arguments.database, data).with_settings("server", workers=arguments.workers)
    database = prepare(settings, _seed_parameters("push", asdict(sizes)), sizes.users, sizes.seed)
    if arguments.seed_only:
        return
    described, people = report.machine(database), people_of(settings)
    with gochat(settings, arguments.target, scratch) as server:
        token = _service_token(settings)  # of the key that the server has made
        _show("measuring streams")
        results = push.Measurement(server, people, sizes, token, arguments.duration).run()
        _show("")
    workers = f", as {arguments.workers} workers" if arguments.workers > 1 else ""
    layout = report.LAYOUTS[arguments.target] + workers
    print(push.report(described, layout, sizes, results, as_json=arguments.json))


def _service_token(settings: Config) -> str:
    tokens = Tokens(signing_keys(settings, make=False), Revocations(0))
    return tokens.sign(SERVICE_KIND, Caller(role="service"), 24 * 3600)


def _world(server: Deployment, sizes: growth.GrowthSizes, settings: Config) -> growth.World:
    return growth.World(server, sizes, _service_token(settings))


def _seed_parameters(kind: str, sizes: dict[str, Any]) -> str:
    return json.dumps({"kind": kind, **sizes})


def _show(text: str) -> None:
    """Shows a line on a terminal, in place of the last one."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


@contextmanager
def _cleaning_up_on_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise SystemExit, so that the servers are stopped before this program ends. Signals
    that were ignored before (nohup) still are."""
    handled = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]

    def end(number: int, _: Any) -> None:
        for other in handled:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
