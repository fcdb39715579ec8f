"""The change log: what happened that a client sees, a row for each change, written in the transaction of the act.

This is the one place where changes are written, but for sends (sending.py, and on PostgreSQL send_messages() in
sql/routines.postgres.sql) and for sessions that end (endings.py), which are a statement however many they are. feed.py
reads them. A row has no content: it names the conversation or the user that changed, and what there is to say is read
when it is delivered.

Code that adds a row holds the lock of what changed, as for the change itself: so the changes of one conversation, and
of one user, are in the order of their commits.
"""

import json
from collections.abc import Sequence

from gochat.context import current
from gochat.domain import ids
from gochat.domain.changes import Kind
from gochat.storage.database import Row, Tx, placeholders

COLUMNS = ("kind", "conversation_id", "user_id", "actor_id", "first_seq", "seq", "detail", "at")


# On the node of the conversation: see sql/routines.distributed.sql.
_ADD_CHANGES = "SELECT add_changes(?, ?)"
_INSERT = f"INSERT INTO changes ({', '.join(COLUMNS)}) "
_ROW = f"({placeholders(COLUMNS)})"


def add_change(
    tx: Tx,
    kind: Kind,
    conversation_id: str = "",
    user_id: str = "",
    *,
    seq: int = 0,
    first_seq: int = 0,
    detail: str = "",
    at: int = 0,
) -> None:
    """at: as the row that changed says; 0: now."""
    row = (conversation_id, user_id, current().actor.user_id, first_seq, seq, detail, at or ids.now_ms())
    _write(tx, conversation_id, [(int(kind), *row)])


def add_changes_of(tx: Tx, kind: Kind, conversation_id: str, user_ids: Sequence[str], detail: str = "") -> None:
    """The same change of each of the users."""
    actor, now = current().actor.user_id, ids.now_ms()
    _write(
        tx, conversation_id, [(int(kind), conversation_id, user_id, actor, 0, 0, detail, now) for user_id in user_ids]
    )


def _write(tx: Tx, conversation_id: str, rows: Sequence[Row]) -> None:
    """rows: COLUMNS, of one conversation."""
    if not rows:
        return
    if tx.distributed and conversation_id:
        tx.sql(_ADD_CHANGES, conversation_id, json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows]))
        return
    tx.sql(f"{_INSERT} VALUES {', '.join([_ROW] * len(rows))}", *(value for row in rows for value in row))
