"""A database on a Citus cluster: which tables are distributed, and how. See "Distributed PostgreSQL" in sql/README.md.

It is distributed if it has the table outgoing_changes, which `distribute` makes.
"""

from collections.abc import Callable

from gochat.storage.database import Tx

REFERENCE = ("users",)
"""Copied to every node."""
DISTRIBUTED = (
    *("conversations", "members", "removed_members", "former_members", "member_details", "bans", "invitations"),
    *("join_requests", "messages", "sends", "reactions", "mentions", "message_versions", "own_deletions"),
    "push_pending",
)
"""By conversation_id: what belongs to one conversation is on one node."""
SHARDS, MAX_SHARDS = 32, 1024


class ClusterError(Exception):
    """The database cannot be distributed as it is; the message says what to do."""


_IS_DISTRIBUTED = "SELECT to_regclass('outgoing_changes') IS NOT NULL"
_OUTGOING = """
CREATE TABLE outgoing_changes (
    conversation_id TEXT    NOT NULL,
    id              BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY,
    kind            INTEGER NOT NULL,
    user_id         TEXT    NOT NULL,
    actor_id        TEXT    NOT NULL,
    first_seq       BIGINT  NOT NULL,
    seq             BIGINT  NOT NULL,
    detail          TEXT    NOT NULL,
    at              BIGINT  NOT NULL,
    PRIMARY KEY (conversation_id, id)
)"""
# A reference between shards is one of colocated tables; no other is possible, or worth its locks on every node.
_FOREIGN_KEYS = """
SELECT conrelid::regclass::text, conname, conrelid::regclass::text = ANY (?) AND confrelid::regclass::text = ANY (?)
FROM pg_constraint
WHERE contype = 'f' AND connamespace = current_schema()::regnamespace
    AND (conrelid::regclass::text = ANY (?) OR confrelid::regclass::text = ANY (?))"""


def is_distributed(tx: Tx) -> bool:
    return tx.postgres and bool(tx.fetch_all(_IS_DISTRIBUTED)[0][0])


def as_distributed(functions: str) -> str:
    """The functions of a plain PostgreSQL: what is written where a conversation is goes from there into the log."""
    return functions.replace("INSERT INTO changes (", "INSERT INTO outgoing_changes (")


def must_be_cluster(tx: Tx) -> None:
    """Raises ClusterError."""
    version = tx.fetch_one("SELECT extversion FROM pg_extension WHERE extname = 'citus'")
    if version is None:
        raise ClusterError(
            "the database has no Citus: run CREATE EXTENSION citus in it on every node, then add the nodes"
        )
    if not tx.fetch_all("SELECT count(*) FROM pg_dist_node WHERE groupid > 0 AND isactive AND shouldhaveshards")[0][0]:
        raise ClusterError("the database has no workers: add them by SELECT citus_add_node('HOST', PORT)")
    if not tx.fetch_all("SELECT count(*) FROM pg_dist_node WHERE groupid = 0")[0][0]:
        raise ClusterError(
            "the coordinator is not known to the workers: run SELECT citus_set_coordinator_host('HOST', PORT)"
        )


def distribute(tx: Tx, shards: int, show: Callable[[str], None]) -> None:
    """Distributes the tables with what is in them. All or nothing."""
    tx.sql("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
    tx.sql(f"SET LOCAL citus.shard_count = {shards:d}")
    tx.sql("SET LOCAL client_min_messages = warning")
    moved = [*REFERENCE, *DISTRIBUTED]
    colocated = []
    for table, name, is_colocated in tx.fetch_all(_FOREIGN_KEYS, *[[*DISTRIBUTED]] * 2, *[moved] * 2):
        definition = tx.fetch_all(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = ? AND conrelid = ?::regclass",
            *(name, table),
        )[0][0]
        tx.sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        if is_colocated:
            colocated.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    tx.sql(_OUTGOING)
    for table in REFERENCE:
        show(f"copying {table} to every node")
        tx.sql("SELECT create_reference_table(?)", table)
    first, *others = DISTRIBUTED
    show(f"distributing {first}")
    tx.sql("SELECT create_distributed_table(?, 'conversation_id', colocate_with => 'none')", first)
    for table in (*others, "outgoing_changes"):
        show(f"distributing {table}")
        tx.sql("SELECT create_distributed_table(?, 'conversation_id', colocate_with => ?)", table, first)
    for statement in colocated:
        tx.sql(statement)
    for table in moved:
        tx.sql("SELECT truncate_local_data_after_distributing_table(?::regclass)", table)
