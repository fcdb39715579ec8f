"""The databases that are measured on: made and filled by bench alone, or refused."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from gochat import config
from gochat.bench.seed import Room, fill
from gochat.config import Config, ConfigError
from gochat.storage.database import Database, Tx
from gochat.storage.engine import open_database
from gochat.storage.postgres import PostgresDatabase
from gochat.storage.sqlite import SqliteDatabase

SQLITE = "sqlite"
UNFINISHED = "unfinished"

# The table bench_seed says with what bench filled the database. Only a finished one has its true shape.
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
)


def config_of(url: str, data: Path) -> Config:
    """Of the server to be measured: the defaults, on this database. url: "sqlite" for the file in the data folder."""
    database = config.Database(url="" if url == SQLITE else url)
    return replace(Config().with_settings("server", data=str(data)), database=database)


def prepare(settings: Config, shape: str, users: int, rooms: Callable[[], Sequence[Room]]) -> str:
    """Fills the empty database, or takes the one that was filled with this shape; returns what database it is, with
    its version. Raises ConfigError for any other."""
    seed = _shape_of(settings)
    if seed not in ("", shape):
        raise ConfigError(
            f"{_name(settings)} is "
            + {
                None: "not empty, and not of gochat bench, which makes a database of its own",
                UNFINISHED: "of an earlier gochat bench that did not finish: remove it",
            }.get(seed, f"of gochat bench with another size: {seed}; this is {shape}")
        )
    with closing(open_database(settings)) as database:
        if not seed:
            database.write(lambda tx: _mark(tx, UNFINISHED))
            fill(database, users, rooms())
            if isinstance(database, PostgresDatabase):  # as autovacuum would in time
                database.write(lambda tx: tx.sql("VACUUM ANALYZE"), one_statement=True)
            database.write(lambda tx: _mark(tx, shape))
        return database.read(_version)


@contextmanager
def made(url: str, names: Sequence[str], *, keep: bool) -> Iterator[list[str]]:
    """The URLs of databases of these names beside the one of the PostgreSQL URL; those that were not there before are
    dropped afterwards. For "sqlite", a file in each data folder, there is nothing to do."""
    if url == SQLITE:
        yield [url] * len(names)
        return
    name = urlsplit(url).path.lstrip("/")
    databases = [f"{name}_{suffix}" for suffix in names]
    with closing(PostgresDatabase(url, 1, 1)) as server:
        created = []
        try:
            for database in databases:
                if _create(server, database):
                    created.append(database)
            yield [urlunsplit(urlsplit(url)._replace(path=f"/{database}")) for database in databases]
        finally:
            for database in created if not keep else ():
                _alone(server, f'DROP DATABASE "{database}"')


def _create(server: Database, name: str) -> bool:
    """False if there is one of this name. Raises ConfigError."""

    def may(tx: Tx) -> tuple[bool, bool]:
        ((there,),) = tx.fetch_all("SELECT COUNT(*) FROM pg_database WHERE datname = ?", name)
        ((allowed,),) = tx.fetch_all("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")
        return bool(there), bool(allowed)

    there, allowed = server.read(may)
    if not there and not allowed:
        raise ConfigError(f"--database: the user may not create the database {name}, which --growth needs")
    if not there:
        _alone(server, f'CREATE DATABASE "{name}"')
    return not there


def _alone(server: Database, statement: str) -> None:
    """Runs what PostgreSQL takes in no transaction."""
    server.write(lambda tx: tx.sql(statement), one_statement=True)


def _shape_of(settings: Config) -> str | None:
    """What bench filled the database with: "" for an empty one, None for one that bench did not make."""
    file = Path(settings.server.data) / "gochat.db"
    if not settings.database.url and not file.exists():
        return ""
    database = PostgresDatabase(settings.database.url, 1, 1) if settings.database.url else SqliteDatabase(file)
    with closing(database):
        return database.read(_seed)


def _seed(tx: Tx) -> str | None:
    tables = {name for (name,) in tx.fetch_all(_TABLES if tx.postgres else "SELECT name FROM sqlite_master")}
    if "bench_seed" not in tables:
        return None if tables else ""
    ((shape,),) = tx.fetch_all("SELECT shape FROM bench_seed")
    return str(shape)


def _mark(tx: Tx, shape: str) -> None:
    tx.sql("CREATE TABLE IF NOT EXISTS bench_seed (shape TEXT NOT NULL)")
    tx.sql("DELETE FROM bench_seed")
    tx.sql("INSERT INTO bench_seed (shape) VALUES (?)", shape)


def _version(tx: Tx) -> str:
    if tx.postgres:
        return f"PostgreSQL {tx.fetch_all('SHOW server_version')[0][0]}"
    return f"SQLite {tx.fetch_all('SELECT sqlite_version()')[0][0]}"


def _name(settings: Config) -> str:
    """Without the password that a URL may hold."""
    if settings.database.url:
        return f"the database {urlsplit(settings.database.url).path.lstrip('/')}"
    return str(Path(settings.server.data) / "gochat.db")
