"""A PostgreSQL server of whoever runs the tests, or a Citus cluster: GOCHAT_TEST_DATABASE_URL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.harness import fresh
from tests.postgres import Server, asked
from tests.processes import gochat
from tests.waiting import eventually

GIVEN = os.environ.get("GOCHAT_TEST_DATABASE_URL", "")
"""The URL of a database on it, whose role may make others; "" for servers of the tests' own."""

GIVEN_CLUSTER = bool(GIVEN) and bool(asked(GIVEN, "SELECT count(*) FROM pg_extension WHERE extname = 'citus'"))
needs_cluster = pytest.mark.skipif(not GIVEN_CLUSTER, reason="GOCHAT_TEST_DATABASE_URL names no Citus cluster")

_WORKERS = """
SELECT array_agg(nodename || ':' || nodeport) FROM pg_dist_node
WHERE groupid > 0 AND noderole = 'primary' AND isactive"""
_DISCONNECT = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '%s'"


SHARDS = 4  # few, so that databases are made in no time


@contextmanager
def given_server(url: str) -> Iterator["Given"]:
    server = GivenCluster(url) if GIVEN_CLUSTER else Given(url)
    yield server
    server.remove()


class Given(Server):
    """It is neither stopped nor frozen, and loses the databases that the tests have made there, no others."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._nodes = [url]
        self._made: list[str] = []

    def url_of_database(self, name: str) -> str:
        return _database(self._url, name)

    def ask(self, question: str, name: str = "") -> Any:
        return asked(self.url_of_database(name) if name else self._url, question)

    def _created(self, options: str = "") -> str:
        url = super()._created(options)
        self._made.append(urlsplit(url).path[1:])
        return url

    def remove(self) -> None:
        for name in self._made:
            for node in self._nodes:
                asked(node, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class GivenCluster(Given):
    """A Citus cluster, by its coordinator: each database is distributed already. They are copies of one that is, which
    takes a fraction of the time of making it: on every node, as a database has the same name everywhere."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._coordinator = urlsplit(url)
        self._workers = asked(url, _WORKERS) or []
        user = self._coordinator.netloc.rpartition("@")[0]
        self._nodes += [self._coordinator._replace(netloc=f"{user}@{worker}").geturl() for worker in self._workers]
        made = self.create_plain()
        self._template = urlsplit(made).path[1:]
        run = gochat("distribute", "--shards", SHARDS, env={"GOCHAT_DATABASE_URL": made})
        assert run.returncode == 0, run.stderr
        for node in self._nodes:  # Citus's daemon in it would be in the way of copying it
            asked(node, f"ALTER DATABASE {self._template} ALLOW_CONNECTIONS FALSE")
            eventually(lambda node=node: not asked(node, _DISCONNECT % self._template))  # type: ignore[misc]

    def create_plain(self) -> str:
        """Returns the URL of a new, empty database that is not distributed, on a cluster."""
        name = fresh("db")
        for node in self._nodes:
            asked(node, f"CREATE DATABASE {name}")
            self._made.append(name)
            asked(_database(node, name), "CREATE EXTENSION citus")
        made = self.url_of_database(name)
        port = self._coordinator.port or 5432
        asked(made, f"SELECT citus_set_coordinator_host('{self._coordinator.hostname}', {port})")
        for worker in self._workers:
            host, _, port = worker.rpartition(":")
            asked(made, f"SELECT citus_add_node('{host}', {port})")
        return made

    def create_migrated(self) -> str:
        return self.create_database()

    def create_database(self, encoding: str = "") -> str:
        if encoding:
            return super().create_database(encoding)
        name = fresh("db")
        self._made.append(name)
        for node in self._nodes:
            asked(node, f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self.url_of_database(name)


def _database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()
