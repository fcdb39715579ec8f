"""PgBouncer before a PostgreSQL server of the tests, with the settings of the operator's guide."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg2

from gochat.storage.connecting import CALL_LIMITS, SETTINGS, WATCHFUL
from tests.postgres import Postgres, as_postgres
from tests.processes import frozen, missing
from tests.waiting import eventually

GUIDE = Path(__file__).parent.parent / "gochat" / "commands" / "README.md"


@contextmanager
def running_pgbouncer(
    server: Postgres, *, host: str = "127.0.0.1", port: int = 0, within: tuple[str, ...] = (), **settings: Any
) -> Iterator["PgBouncer"]:
    """host, port, within: as of Postgres. Where there is no pgbouncer, this is a skip that says so, and under CI a
    failure."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if not program:
        missing("no pgbouncer on the PATH")
    pooler = PgBouncer(program, server, settings, host, port, within)
    try:
        yield pooler
    finally:
        pooler.kill()
        shutil.rmtree(pooler.folder)


class PgBouncer:
    """settings: of [pgbouncer], over those of the guide. Roles need no password."""

    def __init__(
        self,
        program: str,
        server: Postgres,
        settings: Mapping[str, Any],
        host: str = "127.0.0.1",
        port: int = 0,
        within: tuple[str, ...] = (),
    ) -> None:
        self._program, self._server = program, server
        self._user, self._within = as_postgres(within)
        self.host = host
        self.folder = Path(mkdtemp(prefix="gochat-pgbouncer-"))
        self.port = port
        if not port:
            with socket.socket() as probe:
                probe.bind((host, 0))
                self.port = int(probe.getsockname()[1])
        (self.folder / "users").write_text('"postgres" ""\n')
        written = ConfigParser(interpolation=None)
        written.read_string(guide())
        written["databases"] = {"*": f"host={server.host} port={server.port}"}
        written["pgbouncer"].update(
            {
                "listen_addr": host,
                "listen_port": str(self.port),
                "unix_socket_dir": "",
                "auth_type": "trust",
                "auth_file": str(self.folder / "users"),
                "auth_user": "postgres",  # which looks up the roles that the file has not
                "admin_users": "postgres",
            }
        )
        written["pgbouncer"].update({name: str(value) for name, value in settings.items()})
        with (self.folder / "pgbouncer.ini").open("w") as file:
            written.write(file)
        if self._user or within:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, "postgres", "postgres")
        self.start()

    def start(self) -> None:
        command = [*self._within, self._program, str(self.folder / "pgbouncer.ini")]
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._user)  # type: ignore[call-overload]
        eventually(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def frozen(self) -> AbstractContextManager[None]:
        return frozen(self._process.pid)

    def console(self, command: str) -> list[dict[str, Any]]:
        """What its administration console answers: rows by the names of their columns."""
        with closing(psycopg2.connect(f"postgresql://postgres@{self.host}:{self.port}/pgbouncer")) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(command)
            if not cursor.description:
                return []
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def through(self, url: str) -> str:
        """The URL of a database, by this pooler."""
        return url.replace(f"@{self._server.host}:{self._server.port}/", f"@{self.host}:{self.port}/")

    def prepared(self, url: str) -> str:
        """The same of a new database, which is given the settings that GoChat needs there."""
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            name = connection.info.dbname
            for setting, value in {**SETTINGS, **WATCHFUL, **CALL_LIMITS}.items():
                connection.cursor().execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        return self.through(url)

    def log(self) -> str:
        return (self.folder / "log").read_text()


def guide() -> str:
    """pgbouncer.ini of the operator's guide."""
    return GUIDE.read_text().split("<!-- pgbouncer.ini -->\n```cfg\n")[1].split("```")[0]
