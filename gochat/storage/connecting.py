"""Connections to PostgreSQL, with every setting that GoChat relies on: none of these is inherited from the role, the
database, the cluster or the environment. They are startup options, so a connection costs no statement more.

Behind a pooler it is another matter (pooler.py)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import peewee
import psycopg2
from psycopg2.extensions import parse_dsn

from gochat.config import ConfigError
from gochat.storage import pooler
from gochat.storage.database import unavailable_on_failure
from gochat.storage.models import ALL

MIN_VERSION = 140_000  # as libpq counts: client_connection_check_interval, xid8
NO_TRANSACTION_TIMEOUT = 170_000  # versions below do not know the setting transaction_timeout

SETTINGS = {
    "client_encoding": "UTF8",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "client_min_messages": "warning",
    "standard_conforming_strings": "on",
    "check_function_bodies": "on",
    "exit_on_error": "off",
    "row_security": "on",
    "transform_null_equals": "off",
    "jit": "off",  # compiling a statement takes hundreds of milliseconds, running it one
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""Of every connection. The time limits are for calls alone (CALL_LIMITS)."""

CALL_LIMITS = {"statement_timeout": "30s", "lock_timeout": "30s", "idle_in_transaction_session_timeout": "60s"}
UNLIMITED = "; ".join(f"SET LOCAL {name} = 0" for name in CALL_LIMITS)
"""Statements that take the limits off for a transaction: a migration takes the time that it takes."""

WATCHFUL = {
    "idle_session_timeout": "0",
    "client_connection_check_interval": "1s",  # ends a query, or a wait for a lock, whose connection was cut
}
"""Settings that only versions from MIN_VERSION know."""

PARAMETERS = {
    "application_name": "gochat",
    "connect_timeout": "3",  # seconds
    "keepalives": "1",
    "keepalives_idle": "10",  # seconds
    "keepalives_interval": "3",  # seconds
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",  # ms: ends the wait for a host that is cut off
}
"""Of libpq; what the URL says stands."""

_TABLES = [*(model._meta.table_name for model in ALL), "processes"]
_FACTS = """
SELECT current_user, NULLIF(current_schema(), 'pg_catalog'), current_setting('default_transaction_read_only'),
    current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), ARRAY(
        SELECT schemaname::text FROM pg_tables
        WHERE tablename = 'schema_migrations' AND has_schema_privilege(schemaname::text, 'USAGE')
            AND (schemaname = ANY (current_schemas(false)) OR schemaname = %(default)s)
        ORDER BY array_position(current_schemas(false), schemaname) NULLS LAST
    )"""
_RIGHTS = """
SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s), COALESCE(
    (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %(schema)s), FALSE
), ARRAY(
    SELECT relname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = %(schema)s AND relkind IN ('r', 'p') AND relname = ANY (%(tables)s)
        AND NOT (has_table_privilege(pg_class.oid, 'SELECT') AND has_table_privilege(pg_class.oid, 'INSERT') AND (
            relname = 'audit_log'
            OR (has_table_privilege(pg_class.oid, 'UPDATE') AND has_table_privilege(pg_class.oid, 'DELETE'))
        ))
    ORDER BY relname
)"""


@dataclass(frozen=True)
class Server:
    """How to connect to a database that was looked at. settings: those that depend on the server. options: the URL's
    own, before ours. pooled: through a pooler, which passes no settings on. is_synchronous: does it acknowledge only
    what a standby has too?"""

    parameters: Mapping[str, str] = field(repr=False)
    settings: Mapping[str, str]
    options: str
    pooled: bool
    is_synchronous: bool = False

    @property
    def name(self) -> str:
        """HOST:PORT, of several hosts each."""
        return f"{self.parameters.get('host', 'local socket')}:{self.parameters.get('port', 5432)}"

    @property
    def each(self) -> "list[Server]":
        """Each of several hosts, if it takes writes; none where there is one host."""
        hosts, ports = (self.parameters.get(key, "").split(",") for key in ("host", "port"))
        if len(hosts) == 1 or "hostaddr" in self.parameters:
            return []
        ports *= len(hosts) if len(ports) == 1 else 1
        return [
            replace(
                self, parameters={**self.parameters, "host": host, "port": port, "target_session_attrs": "read-write"}
            )
            for host, port in zip(hosts, ports, strict=False)
        ]

    def at(self, key: str, url: str) -> "Server":
        """How to connect to a standby of this database, through no pooler of transactions; of several hosts in the URL
        to one that is a standby. Raises ConfigError, which names the key."""
        parameters = _parsed(url, key, "standby")
        own = parameters.pop("options", "")
        return replace(self, parameters=parameters, options=own, pooled=False)

    def connect(self, limits: Mapping[str, str]) -> peewee.Database:
        """limits: CALL_LIMITS or none. Raises peewee's OperationalError."""
        if self.pooled:
            return _connect(self.parameters)
        options = startup_options({**SETTINGS, **WATCHFUL, **self.settings, **limits})
        return _connect({**self.parameters, "options": f"{self.options} {options}".strip()})


def startup_options(settings: Mapping[str, str]) -> str:
    """-c name=value for each; libpq splits them at spaces that no backslash precedes."""
    return " ".join("-c " + re.sub(r"([\\ ])", r"\\\1", f"{name}={value}") for name, value in settings.items())


def _connect(parameters: Mapping[str, str]) -> peewee.Database:
    """parameters: of libpq."""
    others: Any = {name: value for name, value in parameters.items() if name != "dbname"}
    others |= {"client_encoding": "UTF8"}
    database = peewee.PostgresqlDatabase(parameters.get("dbname", ""), thread_safe=False, **others)
    database.connect()
    return database


def look_at(url: str, *, writing: bool = True) -> Server:
    """Connects once, to learn what this server is. writing: GoChat will write there.

    Raises ConfigError with the reason and the remedy where GoChat cannot work with the database; ChatError where it
    cannot be reached.
    """
    parameters = _parsed(url)
    own = parameters.pop("options", "")
    with unavailable_on_failure():
        database, pooled = _first(parameters, f"{own} {startup_options(SETTINGS)}".strip())
        try:
            connection = database.connection()
            version = connection.server_version
            must_suit(version, connection.get_parameter_status("server_encoding"))
            cursor = connection.cursor()
            default = "" if "search_path" in own else "public"
            cursor.execute(_FACTS, {"default": default})
            role, current, read_only, synchronous, standbys, with_tables = cursor.fetchone()
            schema = next(iter(with_tables), current or default)
            if writing:
                cursor.execute(_RIGHTS, {"schema": schema, "tables": _TABLES})
                _must_have_rights(role, schema, bool(with_tables), *cursor.fetchone())
            settings = _settings(own, schema, read_only, synchronous, version)
            if pooled:
                first = {"search_path"} if schema == current else set()
                wanted = {**SETTINGS, **WATCHFUL, **settings, **CALL_LIMITS}
                pooler.must_be_set(cursor, own, {name: wanted[name] for name in wanted.keys() - first})
        finally:
            database.close()
    is_synchronous = standbys.strip() != "" and synchronous != "local"
    return Server(parameters, settings, own, pooled, is_synchronous)


def _first(parameters: Mapping[str, str], options: str) -> tuple[peewee.Database, bool]:
    """A connection, with these options unless it goes through a pooler; and whether it does."""
    try:
        database = _connect({**parameters, "options": options})
    except peewee.OperationalError as error:
        if "unsupported startup parameter" not in str(error):
            raise
    else:
        # A pooler that ignores them names a process of its own invention, for those who would cancel statements.
        if database.execute_sql("SELECT pg_backend_pid()").fetchone()[0] == database.connection().info.backend_pid:
            return database, False
        database.close()
    return _connect(parameters), True


def _settings(own: str, schema: str, read_only: str, synchronous: str, version: int) -> dict[str, str]:
    """Of this server. own: the options of the URL."""
    settings = {}
    if "search_path" not in own:
        settings["search_path"] = '"' + schema.replace('"', '""') + '"'
    if read_only == "on":  # inherited. One that is switched on later is news of the server, and stops the writes
        settings["default_transaction_read_only"] = "off"
    if synchronous == "off":  # an answer leaves after the commit is durable; stronger values stay
        settings["synchronous_commit"] = "on"
    if version >= NO_TRANSACTION_TIMEOUT:
        settings["transaction_timeout"] = "0"
    return settings


def must_suit(version: int, encoding: str) -> None:
    """version: as libpq counts, 140005 for 14.5. Raises ConfigError."""
    if version < MIN_VERSION:
        raise ConfigError(
            f"database.url: is PostgreSQL {version // 10_000}, and GoChat needs {MIN_VERSION // 10_000} or newer:"
            " upgrade the server"
        )
    if encoding != "UTF8":
        raise ConfigError(
            f"database.url: the database's encoding is {encoding}, which cannot hold every message: make one by CREATE"
            " DATABASE name TEMPLATE template0 ENCODING 'UTF8'"
        )


def _must_have_rights(
    role: str, schema: str, has_tables: bool, exists: bool, creates: bool, lacking: list[str]
) -> None:
    """exists, creates: of the schema. lacking: tables that the role cannot use. Raises ConfigError."""
    if not exists:
        raise ConfigError(
            f"database.url: there is no schema {schema or 'that its search_path names'}: make it by CREATE SCHEMA, or"
            " name another in the URL: ?options=-csearch_path%3Dname"
        )
    if not has_tables and not creates:
        raise ConfigError(
            f"database.url: the role {role} may not make tables in schema {schema}: GRANT CREATE, USAGE ON SCHEMA"
            f" {schema} TO {role}, or make {role} the owner of the database"
        )
    if lacking:
        raise ConfigError(
            f"database.url: the role {role} may not read and write {', '.join(lacking)} in schema {schema}: GRANT"
            f" SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
        )


def _parsed(url: str, key: str = "database.url", of_several: str = "read-write") -> dict[str, Any]:
    """With our PARAMETERS. of_several: which one of several hosts, unless the URL says that. Raises ConfigError where
    libpq would misread it. The message does not quote it: it may hold a password."""
    try:
        parsed = parse_dsn(url)
    except psycopg2.ProgrammingError:
        raise ConfigError(f"{key}: is no postgresql:// URL that libpq understands") from None
    if not re.fullmatch(r"\w+://([^@/]*@)?[^@]*", url):  # libpq would take a part of the password for the host
        raise ConfigError(f"{key}: in a user name or password write @ as %40 and / as %2F")
    which = {"target_session_attrs": of_several} if "," in parsed.get("host", "") else {}
    return {**PARAMETERS, **which, **parsed}
