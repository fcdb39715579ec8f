"""PostgreSQL behind a pooler of transactions, such as PgBouncer: each transaction may be on another of its connections.

It passes no startup options on, and what a session set would stay on a connection that others get. So the role must
have the settings that GoChat relies on, and the start looks whether it has.
"""

from collections.abc import Mapping
from typing import Any

from psycopg2.extensions import quote_ident

from gochat.config import ConfigError

# The value that there is, and ours as it would be shown; that is taken back when the statement ends.
_COMPARED = "SELECT current_setting(%s), set_config(%s, %s, true)"


def must_be_set(cursor: Any, own: str, wanted: Mapping[str, str]) -> None:
    """own: the options of the URL. Raises ConfigError with the statements that are missing."""
    if own:
        raise ConfigError(
            "database.url: goes through a pooler, which passes no options on: take them out, and let the role have them"
            " by ALTER ROLE"
        )
    lacking = []
    for name, value in wanted.items():
        cursor.execute(_COMPARED, (name, name, value))
        there, ours = cursor.fetchone()
        if there != ours:
            lacking.append(f"{name} = {value};" if name == "search_path" else f"{name} = '{value}';")
    if lacking:
        cursor.execute("SELECT current_user::text, current_database()::text")
        role, database = (quote_ident(each, cursor) for each in cursor.fetchone())
        raise ConfigError(
            "database.url: goes through a pooler, which passes no settings on: let the role have them by what follows,"
            " and then RECONNECT on the pooler's console, or restart it"
            + "".join(f"\nALTER ROLE {role} IN DATABASE {database} SET {each}" for each in lacking)
        )
