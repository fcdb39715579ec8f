"""What GoChat relies on is set by GoChat: whatever the role, the database, the cluster and the URL say, its connections
are the same. What it cannot work with stops the start, with the reason and the remedy."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

from gochat import background
from gochat.config import Config, ConfigError
from gochat.context import SERVICE, Call, entered
from gochat.storage import migrate
from gochat.storage.connecting import CALL_LIMITS, SETTINGS, WATCHFUL, must_suit, startup_options
from gochat.storage.engine import open_database, snapshot
from gochat.storage.postgres import PostgresDatabase
from tests.harness import fresh
from tests.postgres import Postgres, running_postgres
from tests.processes import environment

STRANGE = {
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "50ms",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "search_path": "nowhere",
    "standard_conforming_strings": "off",
    "synchronous_commit": "off",
    "client_min_messages": "debug5",
    "transform_null_equals": "on",
    "check_function_bodies": "off",
    "row_security": "off",
    "jit": "on",
}
"""Of each setting a value with which GoChat would not work, or not as it should."""


def execute(url: str, *statements: str) -> None:
    # exit_on_error and the like are not to hit the test itself.
    connection = psycopg2.connect(url, options=startup_options(SETTINGS | {"default_transaction_read_only": "off"}))
    connection.autocommit = True
    with closing(connection), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def with_role(url: str, role: str) -> str:
    return url.replace("//postgres@", f"//{role}@")


@pytest.fixture(scope="module")
def postgres(direct_postgres: Postgres) -> Postgres:
    """Its connections get settings."""
    return direct_postgres


@pytest.fixture
def role(postgres: Postgres) -> str:
    """One that may log in, and nothing more."""
    name = fresh("role")
    execute(postgres.create_database(), f"CREATE ROLE {name} LOGIN")
    return name


def config_for(url: str) -> Config:
    return Config().with_settings("database", url=url, pool_min=1, pool_max=2)


def shown(database: PostgresDatabase, name: str) -> str:
    with entered(Call(SERVICE, "r", time.monotonic() + 30)):
        return str(database.read(lambda tx: tx.fetch_all(f"SHOW {name}"), one_statement=True)[0][0])


def must_be_ours(url: str) -> None:
    with closing(open_database(config_for(url))) as database:
        assert isinstance(database, PostgresDatabase)
        for name, value in (SETTINGS | WATCHFUL | CALL_LIMITS).items():
            assert shown(database, name) == value.replace("60s", "1min"), name
        assert shown(database, "synchronous_commit") == "on"
        assert shown(database, "default_transaction_read_only") == "off"
        assert shown(database, "search_path") in {"public", '"public"'}
        write = "INSERT INTO secrets (name, value) VALUES ('text', 'İ 你好 😀')"
        database.write(lambda tx: tx.sql(write), one_statement=True)
        isolation = database.write(lambda tx: tx.fetch_all("SHOW transaction_isolation"))
        assert isolation == [("read committed",)]
        read = "SELECT value FROM secrets WHERE name = 'text'"
        assert database.read(lambda tx: tx.fetch_all(read)) == [("İ 你好 😀",)]


@pytest.mark.parametrize("of", ["role", "database", "both"])
def test_nothing_is_inherited_from_role_or_database(postgres: Postgres, role: str, of: str) -> None:
    url = postgres.create_database()
    name = url.rpartition("/")[2]
    execute(url, f"ALTER DATABASE {name} OWNER TO {role}")
    target = {"role": f"ROLE {role}", "database": f"DATABASE {name}", "both": f"ROLE {role} IN DATABASE {name}"}[of]
    for setting, value in STRANGE.items():
        execute(url, f"ALTER {target} SET {setting} = '{value}'")
    must_be_ours(with_role(url, role))


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A server of which this file changes the settings."""
    with running_postgres() as server:
        yield server


def test_nothing_is_inherited_from_the_cluster(own: Postgres) -> None:
    url = own.create_database()
    changed = {name: value for name, value in STRANGE.items() if name != "row_security"}
    try:
        execute(url, *(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in changed.items()))
        execute(url, "SELECT pg_reload_conf()")
        time.sleep(0.5)
        must_be_ours(url)
    finally:
        execute(url, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
        time.sleep(0.5)


def test_the_options_of_the_url_are_kept_and_ours_come_after(postgres: Postgres) -> None:
    url = postgres.create_database()
    execute(url, "CREATE SCHEMA chat")
    options = quote("-c search_path=chat -c work_mem=7MB -c statement_timeout=1ms")
    with closing(open_database(config_for(f"{url}?options={options}&application_name=shop"))) as database:
        assert isinstance(database, PostgresDatabase)
        names = ("search_path", "work_mem", "statement_timeout", "application_name")
        assert [shown(database, name) for name in names] == ["chat", "7MB", "30s", "shop"]
        where = "SELECT schemaname FROM pg_tables WHERE tablename = 'users'"
        assert database.read(lambda tx: tx.fetch_all(where)) == [("chat",)]


def test_the_tables_are_found_again_when_the_search_path_changes(postgres: Postgres) -> None:
    url = postgres.create_database()
    name = url.rpartition("/")[2]
    open_database(config_for(url)).close()
    execute(url, "CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.users (x INTEGER)")
    execute(url, f"ALTER DATABASE {name} SET search_path = elsewhere")
    with closing(open_database(config_for(url))) as database:
        assert database.read(lambda tx: tx.fetch_all("SELECT current_schema()::text")) == [("public",)]
    with snapshot(config_for(url)) as tx:
        assert tx.fetch_all("SELECT current_schema()::text") == [("public",)]


def test_the_schema_of_the_role_or_the_database_is_used_for_a_new_database(postgres: Postgres) -> None:
    url = postgres.create_database()
    execute(url, "CREATE SCHEMA chat", f"ALTER DATABASE {url.rpartition('/')[2]} SET search_path = chat")
    with closing(open_database(config_for(url))) as database:
        assert database.read(lambda tx: tx.fetch_all("SELECT current_schema()::text")) == [("chat",)]


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_another_encoding_stops_the_start(postgres: Postgres, encoding: str) -> None:
    with pytest.raises(ConfigError, match=f"encoding is {encoding}.*ENCODING 'UTF8'"):
        open_database(config_for(postgres.create_database(encoding)))


def test_an_old_version_stops_the_start() -> None:
    must_suit(140_000, "UTF8")
    with pytest.raises(ConfigError, match="is PostgreSQL 13, and GoChat needs 14 or newer"):
        must_suit(130_012, "UTF8")


def test_without_the_right_to_make_tables_the_start_says_so(postgres: Postgres, role: str) -> None:
    url = postgres.create_database()
    execute(url, f"GRANT ALL PRIVILEGES ON DATABASE {url.rpartition('/')[2]} TO {role}")
    with pytest.raises(ConfigError, match=f"may not make tables in schema public: GRANT CREATE.*TO {role}"):
        open_database(config_for(with_role(url, role)))


def test_without_rights_to_the_tables_the_start_names_them(postgres: Postgres, role: str) -> None:
    url = postgres.create_database()
    open_database(config_for(url)).close()
    execute(url, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    execute(url, f"REVOKE UPDATE ON members, users FROM {role}")
    with pytest.raises(ConfigError, match=r"may not read and write members, users in schema public: GRANT"):
        open_database(config_for(with_role(url, role)))
    execute(url, f"GRANT UPDATE ON members, users TO {role}")
    open_database(config_for(with_role(url, role))).close()  # it needs to own nothing


def test_a_migration_that_takes_the_owner_says_so(
    postgres: Postgres, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create_database()
    open_database(config_for(url)).close()
    execute(url, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    later = migrate.Migration(len(migrate.migrations("postgres")) + 1, "later", "ALTER TABLE users ADD COLUMN x INT")
    known = [*migrate.migrations("postgres"), later]
    monkeypatch.setattr(migrate, "migrations", lambda _: known)
    with pytest.raises(ConfigError, match=r"must be owner of table users \(42501\): let the owner"):
        open_database(config_for(with_role(url, role)))


def test_a_schema_that_is_not_there_stops_the_start(postgres: Postgres) -> None:
    url = f"{postgres.create_database()}?options=-csearch_path%3Dnowhere"
    with pytest.raises(ConfigError, match="there is no schema"):
        open_database(config_for(url))


def slow(monkeypatch: pytest.MonkeyPatch, dialect: str, statement: str) -> migrate.Migration:
    known = migrate.migrations(dialect)
    added = migrate.Migration(len(known) + 1, "slow", statement)
    monkeypatch.setattr(migrate, "migrations", lambda _: [*known, added])
    return added


COUNTING = (
    "CREATE TABLE counted AS WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT %d)"
    " SELECT count(*) AS n FROM t;\n"
)


def test_only_calls_have_time_limits(config: Config, monkeypatch: pytest.MonkeyPatch, dialect: str) -> None:
    """The limits of calls are put below what the migration takes."""
    monkeypatch.setitem(CALL_LIMITS, "statement_timeout", "100ms")
    monkeypatch.setattr("gochat.context.MAX_DEADLINE", 0.1)
    monkeypatch.setattr(background, "PROGRESS_INTERVAL", 0.2)
    text = "SELECT pg_sleep(1.5);\n" if dialect == "postgres" else COUNTING % 5_000_000
    added = slow(monkeypatch, dialect, text)
    lines: list[str] = []
    with closing(open_database(config, lines.append)):
        assert f"applied migration {added.label}" in lines
        assert [line for line in lines if line.startswith(f"migration {added.label}: ")], lines


INTERRUPTED = """
import sys
from gochat import background
from gochat.storage import migrate
from gochat.cli import main
known = {dialect: migrate.migrations(dialect) for dialect in ("sqlite", "postgres")}
text = "CREATE TABLE half (x INTEGER);\\n" + sys.argv[1]
migrate.migrations = lambda dialect: [*known[dialect], migrate.Migration(len(known[dialect]) + 1, "slow", text)]
background.PROGRESS_INTERVAL = 0.2
sys.exit(main(["migrate", "--data", sys.argv[2]]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_migration_that_is_interrupted_has_done_nothing(
    config: Config, dialect: str, tmp_path: Path, number: signal.Signals
) -> None:
    statement = "SELECT pg_sleep(60);\n" if dialect == "postgres" else COUNTING % 200_000_000
    env = environment({"GOCHAT_DATABASE_URL": config.database.url} if dialect == "postgres" else {})
    arguments = [sys.executable, "-c", INTERRUPTED, statement, str(tmp_path)]
    with subprocess.Popen(arguments, env=env, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        killer = threading.Timer(50, program.kill)
        killer.start()
        while not re.search("slow: .* so far", line := program.stderr.readline()):
            assert line, "it ended"
        program.send_signal(number)
        code = program.wait(timeout=20)
        killer.cancel()
    assert code == (130 if number is signal.SIGINT else -number)
    with closing(open_database(config)) as database:
        assert "half" not in database.read(migrate.tables)
