"""A PostgreSQL server of the tests' own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psycopg2

from gochat.storage.migrate import migrate
from gochat.storage.postgres import PostgresDatabase
from tests.harness import fresh
from tests.processes import children, frozen, missing
from tests.waiting import eventually


def as_postgres(within: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
    """For a program that refuses to run as root: the user, as of subprocess.Popen, and what its command begins with.
    within: what that begins with to run on a host of its own, by root."""
    if within:
        return {}, (*within, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}, ()


SETTINGS = """
fsync = off  # what a killed server has written, the kernel keeps
autovacuum_naptime = 10min  # a server of hundreds of databases is always in one of them
"""


@contextmanager
def running_postgres(host: str = "127.0.0.1") -> Iterator["Postgres"]:
    """Where there are no server programs, this is a skip that says so, and under CI a failure."""
    try:
        server = Postgres(host)
    except FileNotFoundError as absent:
        missing(str(absent))
    yield server
    server.remove()


class Server:
    """A PostgreSQL server on which tests make databases."""

    reached: Callable[[str], str] = staticmethod(str)
    """The URL by which tests reach a new database, of its own one."""

    def url_of_database(self, name: str) -> str:
        raise NotImplementedError

    def ask(self, question: str, name: str = "postgres") -> Any:
        """The first column of the first row; None where there is none. name: of the database."""
        return asked(self.url_of_database(name), question)

    def create_database(self, encoding: str = "") -> str:
        """Returns the URL of a new, empty database. encoding: "" for the server's."""
        return self.reached(self._created(f"ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'" if encoding else ""))

    def create_migrated(self) -> str:
        """Returns the URL of a new database with the schema, as migrations leave it: half the start of a server."""
        return self.reached(self._created(f"TEMPLATE {self._migrated}"))

    @cached_property
    def _migrated(self) -> str:
        url = self._created()
        with closing(PostgresDatabase(url, 1, 1)) as database:
            migrate(database, "postgres")
        return url.rpartition("/")[2]

    def _created(self, options: str = "") -> str:
        name = fresh("db")
        self.ask(f"CREATE DATABASE {name} {options}")
        return self.url_of_database(name)


def asked(url: str, question: str) -> Any:
    """The first column of the first row; None where there is none."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(question)
        return next(iter(cursor.fetchall()), [None])[0] if cursor.description else None


class Postgres(Server):
    """A PostgreSQL server of the tests' own, in a folder of its own. host: its address, trusted with its /24. primary:
    the server that this one follows, as a hot standby. port: 0 for a free one. within: what a command begins with to
    run on a host of its own, by root."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        primary: "Postgres | None" = None,
        port: int = 0,
        *,
        within: tuple[str, ...] = (),
    ) -> None:
        programs = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
        programs += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        if not programs:
            raise FileNotFoundError("no initdb on the PATH nor below /usr/lib/postgresql")
        self._bin = programs[0]
        # The server refuses to run as root, so its folder belongs to whoever runs it.
        self._user, self._within = as_postgres(within)
        self._folder = Path(tempfile.mkdtemp(prefix="gochat-postgres-"))
        if self._user or within:
            shutil.chown(self._folder, "postgres", "postgres")
        self.host = host
        if primary:
            source = ("-h", primary.host, "-p", str(primary.port), "-U", "postgres")
            self._run("pg_basebackup", "-D", str(self.data), *source, "-R", "-c", "fast", "--no-sync")
        else:
            self._run("initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
            with (self.data / "pg_hba.conf").open("a") as trusted:
                trusted.write(f"host all all {host}/24 trust\nhost replication all {host}/24 trust\n")
            with (self.data / "postgresql.conf").open("a") as settings:
                settings.write(SETTINGS)
        self.port = port or self._free_port()
        self.start()

    @property
    def data(self) -> Path:
        return self._folder / "data"

    @property
    def pid(self) -> int:
        """Of the process that starts all others."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def _free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            return int(probe.getsockname()[1])

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._within, str(self._bin / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            **self._user,  # type: ignore[call-overload]
        )

    def client(self, program: str, *arguments: str) -> None:
        """Runs pg_dump or pg_restore, as an operator would. Where there is none, as running_postgres."""
        found = shutil.which(program) or shutil.which(program, path=self._bin)
        if not found:
            missing(f"no {program} on the PATH nor in {self._bin}")
        subprocess.run([str(found), *arguments], check=True)

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses={self.host} -c max_connections=400"
        self._run("pg_ctl", "-D", str(self.data), "-o", options, "-l", str(self._folder / "log"), "-w", "start")

    def starts(self) -> bool:
        """Tries to start it, where what is left of a killed one may be in the way."""
        try:
            self.start()
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self, mode: str = "fast") -> None:
        """mode: fast, or immediate, which is like a crash."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def kill(self) -> None:
        """All of it at once, as where its host is gone."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)  # it must not see its children die
        for each in (*children(pid), pid):
            os.kill(each, signal.SIGKILL)
        (self.data / "postmaster.pid").unlink()

    def demote(self) -> None:
        """Makes it a standby, of no primary: it reads, and writes nothing."""
        self.stop()
        (self.data / "standby.signal").touch()
        self.start()

    def recover(self) -> None:
        """Makes a standby a server of its own, by recovery to where its log ends, as from a backup."""
        self.stop()
        (self.data / "standby.signal").rename(self.data / "recovery.signal")
        with (self.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("restore_command = 'false'\n")
        self.start()
        eventually(lambda: self.ask("SELECT pg_is_in_recovery()") is False)

    def promote(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-w", "promote")

    def frozen(self) -> AbstractContextManager[None]:
        return frozen(self.pid)

    def url_of_database(self, name: str) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/{name}"

    def remove(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)  # it may be gone


class Pair:
    """A primary and its hot standby, with a database `name`. url: names both."""

    def __init__(self, primary: Postgres) -> None:
        self.primary, self.standby = primary, Postgres(primary.host, primary=primary)
        self.name = primary.create_database().rpartition("/")[2]
        self.url = self.url_of(primary, self.standby)
        eventually(self.replayed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.standby, self.primary):
            server.remove()

    def url_of(self, *servers: Postgres) -> str:
        hosts = ",".join(f"{server.host}:{server.port}" for server in servers)
        return f"postgresql://postgres@{hosts}/{self.name}"

    def replayed(self) -> bool:
        """Has the standby all that the primary has committed?"""
        written = self.primary.ask("SELECT pg_current_wal_lsn()::text")
        try:
            return bool(self.standby.ask(f"SELECT pg_last_wal_replay_lsn() >= '{written}'", self.name))
        except psycopg2.OperationalError:  # the database has not come to the standby
            return False

    def fail_over(self, losing: Callable[[], None] | None = None) -> None:
        """The primary dies, and the standby is promoted. losing: what it does has not come to the standby."""
        eventually(self.replayed)
        if losing:
            self.standby.ask("ALTER SYSTEM SET primary_conninfo = ''")
            self.standby.ask("SELECT pg_reload_conf()")
            eventually(lambda: not self.standby.ask("SELECT count(*) FROM pg_stat_wal_receiver"))
            losing()
        self.primary.stop("immediate")
        self.standby.promote()

    def synchronous(self) -> None:
        """Has the primary acknowledge what the standby has too."""
        self.primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.ask("SELECT pg_reload_conf()")
        eventually(lambda: self.primary.ask("SELECT sync_state FROM pg_stat_replication") == "sync")

    def pair_again(self) -> None:
        """The standby that was promoted gets one of its own, on the address of the dead primary."""
        self.primary.remove()
        host, port = self.primary.host, self.primary.port
        self.primary, self.standby = self.standby, Postgres(host, primary=self.standby, port=port)
