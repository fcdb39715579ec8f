"""The databases that are measured: only ones that bench itself has made and filled."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from gochat import config
from gochat.bench.seed import Room, fill
from gochat.config import Config, ConfigError
from gochat.storage.connecting import look_at
from gochat.storage.database import Database, Tx, unavailable_on_failure
from gochat.storage.engine import open_database
from gochat.storage.postgres import PostgresDatabase
from gochat.storage.sqlite import SqliteDatabase

SQLITE = "sqlite"
UNFINISHED = "unfinished"

# The table bench_seed holds the parameters with which bench filled the database, or UNFINISHED.
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
)

_USERS = "SELECT user_id FROM users ORDER BY username"
_MEMBERS = """
SELECT members.conversation_id, members.user_id
FROM members JOIN users ON users.user_id = members.user_id ORDER BY users.username"""


def config_of(url: str, data: Path) -> Config:
    """The configuration of the server to measure: defaults, on this database. url: "sqlite" for the file in the
    folder."""
    database = config.Database(url="" if url == SQLITE else url)
    return replace(Config().with_settings("server", data=str(data)), database=database)


def prepare(settings: Config, parameters: str, users: int, rooms: Callable[[], Sequence[Room]]) -> str:
    """Fills the database if it is empty, and keeps it if it was filled with the same parameters. Returns its product
    and version. Raises ConfigError for any other database."""
    seed = _seed_of(settings)
    if seed not in ("", parameters):
        raise ConfigError(
            f"{_name(settings)} is "
            + {
                None: "not empty, and not of gochat bench, which makes a database of its own",
                UNFINISHED: "of an earlier gochat bench that did not finish: remove it",
            }.get(seed, f"of gochat bench with another size: {seed}; this is {parameters}")
        )
    with closing(open_database(settings)) as database:
        if not seed:
            database.write(lambda tx: _mark(tx, UNFINISHED))
            fill(database, users, rooms())
            if isinstance(database, PostgresDatabase):  # as autovacuum would do some time later
                _outside_transaction(settings.database.url, "VACUUM ANALYZE")
            database.write(lambda tx: _mark(tx, parameters))
        return database.read(_version)


@dataclass(frozen=True)
class People:
    """user_ids: in the order in which they were made. groups: (conversation, user ids of its members), in the order of
    their first members."""

    user_ids: Sequence[str]
    groups: Sequence[tuple[str, Sequence[str]]]


def people_of(settings: Config) -> People:
    """Of a database that was prepared, and that no server has open."""
    with closing(open_database(settings)) as database:
        user_ids, members = database.read(lambda tx: (tx.fetch_all(_USERS), tx.fetch_all(_MEMBERS)))
    groups: dict[str, list[str]] = {}
    for conversation_id, user_id in members:
        groups.setdefault(conversation_id, []).append(user_id)
    return People([user_id for (user_id,) in user_ids], list(groups.items()))


@contextmanager
def temporary_databases(url: str, names: Sequence[str], *, keep: bool) -> Iterator[list[str]]:
    """Creates PostgreSQL databases with these suffixes beside the database of the URL, and yields their URLs. Unless
    keep, it drops afterwards those that it has created. For "sqlite" there is nothing to create."""
    if url == SQLITE:
        yield [url] * len(names)
        return
    name = urlsplit(url).path.lstrip("/")
    databases = [f"{name}_{suffix}" for suffix in names]
    with closing(PostgresDatabase(url, 1, 1)) as server:
        created = []
        try:
            for database in databases:
                if _create(server, url, database):
                    created.append(database)
            yield [urlunsplit(urlsplit(url)._replace(path=f"/{database}")) for database in databases]
        finally:
            for database in created if not keep else ():
                _outside_transaction(url, f'DROP DATABASE "{database}"')


def _create(server: Database, url: str, name: str) -> bool:
    """Returns False if the database exists already. Raises ConfigError."""

    def look_up(tx: Tx) -> tuple[bool, bool]:
        ((exists,),) = tx.fetch_all("SELECT COUNT(*) FROM pg_database WHERE datname = ?", name)
        ((allowed,),) = tx.fetch_all("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")
        return bool(exists), bool(allowed)

    exists, allowed = server.read(look_up)
    if not exists and not allowed:
        raise ConfigError(f"--database: the user may not create the database {name}, which --growth needs")
    if not exists:
        _outside_transaction(url, f'CREATE DATABASE "{name}"')
    return not exists


def _outside_transaction(url: str, statement: str) -> None:
    """Runs a statement that PostgreSQL refuses within a transaction."""
    with unavailable_on_failure(), closing(look_at(url, writing=False).connect({})) as connected:
        connected.execute_sql(statement)


def _seed_of(settings: Config) -> str | None:
    """The parameters with which bench filled the database; "" for an empty one, None for one that bench did not
    make."""
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
    ((seed,),) = tx.fetch_all("SELECT shape FROM bench_seed")
    return str(seed)


def _mark(tx: Tx, seed: str) -> None:
    tx.sql("CREATE TABLE IF NOT EXISTS bench_seed (shape TEXT NOT NULL)")
    tx.sql("DELETE FROM bench_seed")
    tx.sql("INSERT INTO bench_seed (shape) VALUES (?)", seed)


def _version(tx: Tx) -> str:
    if tx.postgres:
        return f"PostgreSQL {tx.fetch_all('SHOW server_version')[0][0]}"
    return f"SQLite {tx.fetch_all('SELECT sqlite_version()')[0][0]}"


def _name(settings: Config) -> str:
    """For messages: without the password that a URL may hold."""
    if settings.database.url:
        return f"the database {urlsplit(settings.database.url).path.lstrip('/')}"
    return str(Path(settings.server.data) / "gochat.db")
