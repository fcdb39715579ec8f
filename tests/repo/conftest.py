"""Databases without a server around them, for tests of what lies below the RPCs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gochat.config import Config, Database
from gochat.repo.engine import open_database
from gochat.repo.postgres import PostgresDatabase
from gochat.repo.sqlite import SqliteDatabase


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
