"""A PostgreSQL server of whoever runs the tests: GOCHAT_TEST_DATABASE_URL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.postgres import Server, asked

GIVEN = os.environ.get("GOCHAT_TEST_DATABASE_URL", "")
"""The URL of a database on it, whose role may make others; "" for servers of the tests' own."""


@contextmanager
def given_server(url: str) -> Iterator["Given"]:
    server = Given(url)
    yield server
    server.remove()


class Given(Server):
    """It is neither stopped nor frozen, and loses the databases that the tests have made there, no others."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[str] = []

    def url_of_database(self, name: str) -> str:
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()

    def ask(self, question: str, name: str = "") -> object:
        return asked(self.url_of_database(name) if name else self._url, question)

    def create_database(self, encoding: str = "") -> str:
        url = super().create_database(encoding)
        self._made.append(urlsplit(url).path[1:])
        return url

    def remove(self) -> None:
        for name in self._made:
            self.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
