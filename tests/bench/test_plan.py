"""`gochat bench --plan`: the arithmetic by figures that are easy to reckon with, and that it measures."""

import json
import re
from contextlib import closing
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import psycopg2
import pytest

from gochat import commands
from gochat.bench.measuring import DatabaseCpu
from gochat.bench.plan import MEASURED, Figures, planned, report
from gochat.bench.report import Machine
from gochat.config import Config, Database
from tests.bench.test_bench import bench
from tests.postgres import Postgres
from tests.processes import gochat
from tests.waiting import eventually

ROUND = Figures(
    cores=4,
    is_postgres=False,
    cpu_us=dict.fromkeys(MEASURED, 500.0),
    database_us=dict.fromkeys(MEASURED, 0.0),
    delivery_us=100.0,
    stream_us=20.0,
    stream_kib=64.0,
    idle_mib=100.0,
    message_bytes=256.0,
    content_bytes=50.0,
)
POSTGRES = replace(ROUND, is_postgres=True, database_us=dict.fromkeys(MEASURED, 500.0))


def test_rates_memory_and_disk_follow_from_users_and_messages() -> None:
    plan = planned(ROUND, 8640, 864_000)
    assert (plan.messages, plan.deliveries, plan.reads) == (100, 500, 250), "ten times ten a second, five of ten online"
    assert plan.lists == 20 * 4 * 10 * 8640 / 86_400
    assert plan.streams == 4320
    assert (
        plan.cores == pytest.approx((100 + 250 + 80) * 0.0005 + 500 * 0.0001 + 4320 * 0.00002, abs=0.001) or plan.cores
    )
    calls = (plan.messages + plan.reads + plan.lists) * 500
    calls = (plan.messages + plan.reads + plan.lists) * 500
    assert plan.cores == pytest.approx((calls + 500 * 100 + 4320 * 20) / 1e6, abs=0.001)
    assert plan.memory_mib == 100 * plan.processes + 4320 * 64 / 1024
    assert plan.disk_gib == pytest.approx(864_000 * 30 * 256 / 2**30, abs=0.01)


@pytest.mark.parametrize(
    ("figures", "users", "messages", "step"),
    [
        (ROUND, 1, 1, "SQLite, one process"),
        (ROUND, 5000, 500_000, "SQLite, one process"),
        (ROUND, 5000, 5_000_000, "PostgreSQL with workers"),
        (ROUND, 25_000, 1000, "PostgreSQL with workers"),  # more streams than a process has
        (POSTGRES, 1000, 100_000, "PostgreSQL on this host, one process"),
        (POSTGRES, 20_000, 3_000_000, "PostgreSQL on this host, 2 workers"),
        (POSTGRES, 80_000, 4_000_000, "PostgreSQL on a host of its own, 4 workers"),
        (POSTGRES, 100_000, 8_000_000, "Logic and Repo apart on 2 hosts, PostgreSQL on another one"),
        (POSTGRES, 300_000, 5_000_000, "read replicas of PostgreSQL: 1"),
        (POSTGRES, 100_000, 100_000_000, "more writes than one PostgreSQL"),
    ],
)
def test_each_step_is_advised_where_the_one_before_does_not_carry_it(
    figures: Figures, users: int, messages: int, step: str
) -> None:
    assert step in planned(figures, users, messages).step


GUIDE = Path(commands.__file__).with_name("README.md").read_text()


def cells(line: str) -> list[str]:
    return [cell.strip().replace(",", "") for cell in line.strip().strip("|").split("|")]


def table_after(text: str) -> list[list[str]]:
    """The rows of the first table after this text of the guide."""
    lines = GUIDE.partition(text)[2].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| ---"))
    return [cells(line) for line in takewhile(lambda line: line.startswith("|"), lines[first + 1 :])]


def of_the_guide(column: int) -> Figures:
    rows = {row[0]: row[column] for row in table_after("in brackets PostgreSQL's own")}
    numbers = {name: float(text.partition(" ")[0]) for name, text in rows.items()}
    databases = {name: float(text.partition("(")[2].rstrip(")") or 0) for name, text in rows.items()}
    delivery, stream, kib, idle, disk = [numbers[name] for name in rows if name not in MEASURED]
    return Figures(
        *(2, column == 2, {rpc: numbers[rpc] for rpc in MEASURED}, {rpc: databases[rpc] for rpc in MEASURED}),
        *(delivery, stream, kib, idle, disk, 43),
    )


def test_the_table_of_the_guide_follows_from_its_figures() -> None:
    rows = table_after("<!-- capacity -->")
    assert len(rows) > 5
    for users, messages, *shown, step in rows:
        plan = planned(of_the_guide(1 if "SQLite" in step else 2), int(users), int(messages))
        database = f"{plan.database_cores:.2f}" if plan.database_cores else "-"
        reckoned = [f"{plan.messages:.0f}", f"{plan.streams}", f"{plan.cores:.2f}", database]
        assert shown == [*reckoned, f"{plan.memory_mib:.0f}", f"{plan.disk_gib:.1f}"], users
        assert plan.step.replace(",", "") == step


def test_the_plan_says_what_it_assumes() -> None:
    machine = Machine("2026", 4, "a CPU", "Linux", "3.11", "1.85", "SQLite 3", 0.0)
    text = report(machine, ROUND, planned(ROUND, 1000, 50_000), as_json=False)
    for part in ("10 times the mean", "50% of the users", "10 recipients", "20 times a day", "SQLite, one process"):
        assert part in text


def test_it_measures_this_machine(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    whole = json.loads(bench("--plan", "1000", "50000", "--duration", "0.3", "--json", temporary=temporary).stdout)
    figures = Figures(**whole["figures"])
    assert all(10 < value < 100_000 for value in figures.cpu_us.values())
    assert 20 < figures.stream_kib < 200
    assert 20 < figures.idle_mib < 400
    assert 100 < figures.message_bytes < 1000
    assert whole["plan"]["step"] == "SQLite, one process"
    assert whole["plan"]["messages"] == pytest.approx(50_000 / 86_400 * 10, abs=0.01)


def test_it_measures_postgres_too(postgres: Postgres, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    url = postgres.create_database()
    run = bench("--plan", "1000", "50000", "--duration", "0.3", "--database", url, temporary=temporary)
    assert re.search(r"^cores of PostgreSQL +0\.", run.stdout, re.MULTILINE), "its processes are on this machine"
    assert "Advised" in run.stdout


def test_what_a_connection_took_counts_once_it_is_closed(direct_postgres: Postgres) -> None:
    url = direct_postgres.create_database()
    cpu = DatabaseCpu(Config(database=Database(url=url)))
    with closing(psycopg2.connect(url)) as connection:
        connection.cursor().execute("SELECT count(*) FROM generate_series(1, 3000000)")
        before = cpu()
        assert before > 0.05
        of_it = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {connection.info.backend_pid}"
    eventually(lambda: direct_postgres.ask(of_it) == 0)
    assert cpu() >= before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("0", "5"), "'0' is not a number from 1"),
        (("5", "many"), "'many' is not a number from 1"),
        (("5",), "expected 2 arguments"),
        (("5", "5", "--growth"), "--plan: goes without"),
    ],
)
def test_bad_numbers_are_refused(arguments: tuple[str, ...], says: str) -> None:
    run = gochat("bench", "--plan", *arguments)
    assert run.returncode != 0
    assert says in run.stderr
