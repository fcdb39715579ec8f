"""Every scenario that takes `app` runs four times: {SQLite, PostgreSQL} x {co-located, split}.

`database` is one without a server around it, of each dialect, for tests of what lies below the RPCs.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gochat.config import Config, Database
from gochat.storage.engine import open_database
from gochat.storage.postgres import PostgresDatabase
from gochat.storage.sqlite import SqliteDatabase
from tests.harness import CONTENT, PASSWORD, Deployment, Process
from tests.postgres import Postgres, running_postgres

MODES = ("sqlite-colocated", "sqlite-split", "postgres-colocated", "postgres-split")
Start = Callable[..., Deployment]


SECRETS = re.compile(rf"{PASSWORD}|{CONTENT}|eyJ[\w-]+\.[\w-]+|[Bb]earer |\$argon2|PRIVATE KEY")


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def app(mode: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running GoChat that the tests of one mode share: each makes users and groups of its own."""
    database, layout = mode.split("-")
    url = request.getfixturevalue("postgres").create_database() if database == "postgres" else ""
    env = {"GOCHAT_LOG_LEVEL": "debug"}
    deployment = Deployment(tmp_path_factory.mktemp(mode), url=url, split=layout == "split", env=env)
    yield deployment
    audited = deployment.run("audit", "--limit", "1000000", "--address", deployment.repo_address)
    (deployment.folder / "audit.log").write_text(audited.stdout)
    deployment.stop()


@pytest.fixture
def start(mode: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """start(env={...}) -> a GoChat of the test's own, in the mode at hand, which the test may stop and kill."""
    database, layout = mode.split("-")
    started: list[Deployment] = []

    def make(env: dict[str, str] | None = None) -> Deployment:
        url = request.getfixturevalue("postgres").create_database() if database == "postgres" else ""
        folder = tmp_path / f"gochat{len(started)}"
        started.append(Deployment(folder, url=url, split=layout == "split", env=env))
        return started[-1]

    yield make
    for deployment in started:
        deployment.kill()


@pytest.fixture(params=["sqlite", "postgres"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    url = request.getfixturevalue("postgres").create_database() if dialect == "postgres" else ""
    settings = Database(url=url, pool_min=1)
    return replace(Config().with_settings("server", data=str(tmp_path)), database=settings)


@pytest.fixture
def database(config: Config) -> Iterator[SqliteDatabase | PostgresDatabase]:
    opened = open_database(config)
    yield opened
    opened.close()
