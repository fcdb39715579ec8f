"""Every scenario that takes `app` runs four times: {SQLite, PostgreSQL} x {co-located, split}.

`database` is one without a server around it, of each dialect, for tests of what lies below the RPCs.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest

from gochat.config import Config, Database
from gochat.storage.engine import open_database
from gochat.storage.postgres import PostgresDatabase
from gochat.storage.sqlite import SqliteDatabase
from tests.given import GIVEN, given_server
from tests.harness import CONTENT, PASSWORD, Deployment
from tests.pgbouncer import running_pgbouncer
from tests.postgres import Postgres, Server, running_postgres
from tests.processes import Process

# The tests start thousands of processes. Without compiled files each takes twice as long.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

SQLITE = ("sqlite-colocated", "sqlite-split")
MODES = (*SQLITE, "postgres-colocated", "postgres-split")
DIAGONAL = pytest.mark.parametrize("mode", ["sqlite-colocated", "postgres-split"], indirect=True, scope="session")
"""A mark for a file whose scenarios are many and depend on the database or the layout, but not on both together."""


LONG_FILES = (
    "attacks/test_hostile.py",
    "commands/test_importer_real.py",
    "clients/test_languages.py",
    "commands/test_copy.py",
    "commands/test_finding.py",
    "commands/test_importer.py",
    "robustness/test_failover.py",
    "web/page/test_messages.py",
    "web/page/test_groups.py",
    "web/page/test_faults.py",
    "web/page/test_talking.py",
    "repo/test_writable.py",
    "repo/test_every_write.py",
    "repo/test_listing.py",
    "repo/test_outage.py",
    "bench/test_bench.py",
    "bench/test_plan.py",
    "bench/test_push.py",
    "events/test_limits.py",
    "rpc/test_stream_connections.py",
    "rpc/test_workers.py",
    "commands/test_interrupts.py",
    "commands/test_copy_real.py",
    "commands/test_backup.py",
    "robustness/test_ledger.py",
    "robustness/test_split.py",
    "robustness/test_rolling.py",
    "storage/test_replica.py",
    "storage/test_pooler.py",
    "web/test_conformance.py",
    "events/test_nginx.py",
)


@pytest.hookimpl(trylast=True)  # pytest sorts by parameters of fixtures before
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need no `app` come first: the servers that tests share take a tenth of the machine while they idle. Of
    both kinds those that take a minute or more: at the end no process has one while others have none."""
    places = {(Path(__file__).parent / name).resolve(strict=True): at for at, name in enumerate(LONG_FILES)}
    sharing = {item.path for item in items if "app" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: (item.path in sharing, places.get(item.path, len(places))))


SECRETS = re.compile(rf"{PASSWORD}|{CONTENT}|eyJ[\w-]+\.[\w-]+|[Bb]earer |\$argon2|PRIVATE KEY")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says why tests that run once more had failed, which pytest-rerunfailures keeps to itself."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"RERUN {report.nodeid}")
        terminalreporter.line(report.longreprtext)


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_written_down() -> Iterator[None]:
    """After all tests: no log, no audit log and no metrics hold a password, a token, a key or what people wrote."""
    yield
    files = {
        path
        for log in Process.logs
        for path in (log, log.parent / "audit.log", log.parent / "metrics")
        if path.exists()
    }
    keys = {key.split()[0] for log in Process.logs for key in _key_lines(log.parent / "data" / "signing.key")}
    for file in files:
        text = file.read_text()
        assert not (leaked := SECRETS.search(text)), f"{file}: {leaked[0]}"
        assert not [key for key in keys if key in text], f"{file}: a signing key"


def _key_lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


POOLED = os.environ.get("GOCHAT_TEST_POOLER") == "1"
"""Do the servers of this run reach their PostgreSQL through PgBouncer?"""


@pytest.fixture(scope="session")
def direct_postgres() -> Iterator[Postgres]:
    """In any run a server of the tests' own, without PgBouncer: for what is about its sessions or settings."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Server]:
    if GIVEN:
        with given_server(GIVEN) as given:
            yield given
        return
    if not POOLED:
        yield request.getfixturevalue("direct_postgres")
        return
    # Each test has a database of its own, and each of these a pool.
    with running_postgres() as server, running_pgbouncer(server, server_idle_timeout=5) as pooler:
        server.reached = pooler.prepared
        yield server


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that the tests of one file may stop and freeze."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Own(Protocol):
    """own(mode, env=...) -> a GoChat in this mode and with these settings, which the test may stop and kill.

    mode: of MODES; without a layout it is one process. folder: where another was, or something is already. url: of a
    database that there is; without it PostgreSQL has a new one. more: as of Deployment.
    """

    def __call__(
        self, mode: str = "sqlite", *, folder: Path | None = None, url: str = "", **more: Any
    ) -> Deployment: ...


@contextmanager
def _servers(request: pytest.FixtureRequest, base: Path) -> Iterator[Own]:
    numbers = count()
    with ExitStack() as started:

        def own(mode: str = "sqlite", *, folder: Path | None = None, url: str = "", **more: Any) -> Deployment:
            database, _, layout = mode.partition("-")
            if database == "postgres" and not url:
                url = request.getfixturevalue("postgres").create_migrated()
            folder = folder or base / f"gochat{next(numbers)}"
            app = Deployment(folder, url=url, split=layout == "split", **more)
            started.callback(app.kill)
            return app

        yield own


@pytest.fixture
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Own]:
    """Servers of the test's own, killed at its end."""
    with _servers(request, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def own_of_module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """Servers that the tests of one file share, killed after the last of them."""
    with _servers(request, tmp_path_factory.mktemp("servers")) as start:
        yield start


Apps = Callable[[str], Deployment]
"""apps(mode) -> the GoChat of this mode, started when it is first asked for and stopped after all tests: one for each
file takes a third of the time of all."""


@contextmanager
def _shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apps]:
    running: dict[str, Deployment] = {}
    with _servers(request, tmp_path_factory.mktemp("apps")) as start:

        def of_mode(mode: str) -> Deployment:
            if mode not in running:
                running[mode] = start(mode, env={"GOCHAT_LOG_LEVEL": "debug"})
            return running[mode]

        yield of_mode
        for deployment in running.values():
            audited = deployment.run("audit", "--limit", "1000000", "--address", deployment.repo_address)
            (deployment.folder / "audit.log").write_text(audited.stdout)
            deployment.stop()


@pytest.fixture(scope="session")
def sqlite_apps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apps]:
    with _shared(request, tmp_path_factory) as apps:
        yield apps


@pytest.fixture(scope="session")
def postgres_apps(
    postgres: Server,  # noqa: ARG001 - is stopped after them
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Apps]:
    with _shared(request, tmp_path_factory) as apps:
        yield apps


@pytest.fixture(scope="session")
def app(mode: str, request: pytest.FixtureRequest) -> Deployment:
    """A running GoChat that the tests of one mode share: each makes users and groups of its own."""
    apps: Apps = request.getfixturevalue(f"{mode.partition('-')[0]}_apps")
    return apps(mode)


@pytest.fixture(params=["sqlite", "postgres"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    url = ""
    if dialect == "postgres":
        server: Server = request.getfixturevalue("postgres")
        url = server.create_migrated() if "database" in request.fixturenames else server.create_database()
    settings = Database(url=url, pool_min=1)
    return replace(Config().with_settings("server", data=str(tmp_path)), database=settings)


@pytest.fixture
def database(config: Config) -> Iterator[SqliteDatabase | PostgresDatabase]:
    opened = open_database(config)
    yield opened
    opened.close()
