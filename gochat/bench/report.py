"""The output of bench: a table, or one JSON object."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gochat.bench.growth import Growth, GrowthSizes
from gochat.bench.load import Row
from gochat.rpc.load import percentile

NOTES = (
    "CPU: user and system time of GoChat's processes, without clients and PostgreSQL. of echo: relative to a bare",
    "grpcio server, as it comes, of as many threads in the same seconds. limit: what the specification allows.",
    "JoinGroup takes turns with LeaveGroup. A call of SendMessages sends 1,000.",
)
SPENT = "* Some calls had no effect any more: too few --messages for so many of them."
GROWTH_COLUMNS = ("from small to large", "call", "P50 small ms", "P50 large ms", "factor", "P99 large ms")
LAYOUTS = {"all": "one process", "split": "two processes, logic and repo"}
COLUMNS = ("RPC", "calls/s", "P50 ms", "P95 ms", "P99 ms", "limit ms", "CPU us/call", "of echo", "errors")


@dataclass(frozen=True)
class Machine:
    date: str
    cores: int
    cpu: str
    system: str
    python: str
    grpcio: str
    database: str
    load_average: float

    def __str__(self) -> str:
        return (
            f"{self.date}, {self.cores} cores {self.cpu}, {self.system}, Python {self.python}, grpcio {self.grpcio},"
            f" {self.database}, load average {self.load_average:.1f} before"
        )


def machine(database: str) -> Machine:
    return Machine(
        date=datetime.now(UTC).isoformat(" ", "seconds"),
        cores=len(os.sched_getaffinity(0)),
        cpu=_cpu(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        grpcio=version("grpcio"),
        database=database,
        load_average=round(os.getloadavg()[0], 2),
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def figures(row: Row) -> dict[str, Any]:
    """A row of the JSON object."""
    sample = row.sample
    return {
        "rpc": row.name,
        "calls": sample.calls,
        "calls_per_second": round(len(sample.latencies) / sample.seconds, 1) if sample.seconds else 0.0,
        **{f"p{percent}_ms": round(percentile(sample.latencies, percent), 3) for percent in (50, 95, 99)},
        "limit_ms": row.limit or None,
        "cpu_us_per_call": round(row.cpu_per_call, 1),
        "echo_cpu_us_per_call": round(row.echo_cpu, 1) if row.echo_cpu else None,
        "of_echo": round(row.cpu_per_call / row.echo_cpu, 2) if row.echo_cpu else None,
        "errors": dict(sample.errors),
        "some_without_effect": row.spent,
    }


def load(
    described: Machine,
    options: dict[str, Any],
    echo: Row,
    rows: Sequence[Row],
    memory: Sequence[dict[str, Any]],
    *,
    as_json: bool,
) -> str:
    """options: by their names."""
    if as_json:
        whole = {
            "machine": asdict(described),
            "options": options,
            "echo": figures(echo),
            "rpcs": list(map(figures, rows)),
            "memory": memory,
        }
        return json.dumps(whole, indent=1)
    workers = f", as {options['workers']} workers" if options["workers"] > 1 else ""
    lines = [
        str(described),
        f"{LAYOUTS[options['target']]}{workers}; {options['users']:,} users,"
        f" {options['conversations']:,} conversations, {options['messages']:,} messages,"
        f" groups of {options['members']:,}; {options['concurrency']} calls in flight,"
        f" {options['duration']:g} s an RPC, from clients on the same cores",
        "",
        aligned([COLUMNS, *(_cells(figures(row)) for row in (echo, *rows))]),
        "",
        *NOTES,
        *([SPENT] if any(row.spent for row in rows) else []),
        *(
            f"Memory of {one['process']}: {one['idle_mib']:.0f} MiB idle, {one['end_mib']:.0f} at the end"
            for one in memory
        ),
    ]
    return "\n".join(lines)


def growth(
    described: Machine, target: str, sizes: dict[str, GrowthSizes], results: Sequence[Growth], *, as_json: bool
) -> str:
    """sizes: of the small and the large database."""
    rows = [_growth_figures(one, sizes) for one in results]
    if as_json:
        worlds = {name: asdict(size) for name, size in sizes.items()}
        whole = {"machine": asdict(described), "options": {"target": target} | worlds, "growth": rows}
        return json.dumps(whole, indent=1)
    cells = [
        (
            f"{row['dimension']} {row['small']:,} -> {row['large']:,}",
            row["call"],
            *(f"{row[name]:.2f}" for name in ("p50_small_ms", "p50_large_ms", "factor", "p99_large_ms")),
        )
        for row in rows
    ]
    setup = f"{LAYOUTS[target]}; one call at a time, on the small and the large database in turn"
    return "\n".join([str(described), setup, "", aligned([GROWTH_COLUMNS, *cells], words=2)])


def _growth_figures(one: Growth, sizes: dict[str, GrowthSizes]) -> dict[str, Any]:
    return {
        "dimension": one.timed.dimension,
        **{name: getattr(size, one.timed.dimension) for name, size in sizes.items()},
        "call": one.timed.name,
        "calls": len(one.large),
        "p50_small_ms": round(percentile(one.small, 50), 3),
        "p50_large_ms": round(percentile(one.large, 50), 3),
        "factor": round(one.factor, 2),
        "p99_large_ms": round(percentile(one.large, 99), 3),
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    errors = ", ".join(f"{count} {status}" for status, count in row["errors"].items())
    return (
        row["rpc"] + (" *" if row["some_without_effect"] else ""),
        f"{row['calls_per_second']:,.0f}",
        *(f"{row[f'p{percent}_ms']:.2f}" for percent in (50, 95, 99)),
        str(row["limit_ms"] or "-"),
        f"{row['cpu_us_per_call']:.0f}",
        f"{row['of_echo']:.2f}" if row["of_echo"] else "-",
        errors or "0",
    )


def aligned(lines: Sequence[Sequence[str]], words: int = 1) -> str:
    """Aligns the first columns, of words, to the left and the others, of numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number < words else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
