"""Every scenario that takes `app` runs four times: {SQLite, PostgreSQL} x {co-located, split}."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Deployment
from tests.postgres import Postgres, running_postgres

MODES = ("sqlite-colocated", "sqlite-split", "postgres-colocated", "postgres-split")
Start = Callable[..., Deployment]


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
    deployment = Deployment(tmp_path_factory.mktemp(mode), url=url, split=layout == "split")
    yield deployment
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
