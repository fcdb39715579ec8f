"""The invariants of a database: what the handlers of this package keep true, and every reader of it relies on.

All are judged on one state of the database, in memory that does not grow with it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import peewee

from gochat.domain import ids, limits
from gochat.domain.text import casefold_key, skeleton
from gochat.repo.check_groups import group_rules, wrong_search_keys
from gochat.repo.check_inboxes import inbox_rules
from gochat.repo.check_log import log_rules
from gochat.repo.check_messages import MESSAGE_RULES, wrong_sums
from gochat.repo.check_push import PUSH_RULES
from gochat.repo.check_settings import SETTINGS_RULES
from gochat.repo.check_webhooks import WEBHOOK_RULES
from gochat.storage.database import Row, Tx
from gochat.storage.failures import driver_error
from gochat.storage.migrate import ROUTINES, Migration, is_migrated, migrations, needed, objects, routines
from gochat.storage.models import ALL

MAX_FINDINGS = 100  # of one rule
COUNTED = ("users", "conversations", "members", "messages")
DAMAGED = "file: "
"""Begins a finding of a file or an index that the database itself cannot read."""
_PAGE = 10_000  # rows in memory
_CLOCK = 60_000  # milliseconds that the two times of an entry of the audit log may differ
_KEYS = {model._meta.table_name: [key.column_name for key in model._meta.get_primary_keys()] for model in ALL}
_KEYS["inboxes"] = ["user_id"]


class Rule(NamedTuple):
    """offenders: a SELECT of the primary keys of the rows of which the sentence is true."""

    table: str
    sentence: str
    offenders: str


def _where(table: str, sentence: str, condition: str) -> Rule:
    """condition: on a row t of the table."""
    key = ", ".join(f"t.{column}" for column in _KEYS[table])
    return Rule(table, sentence, f"SELECT {key} FROM {table} t WHERE {condition}")


def _words(*values: str) -> str:
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


def _members(what: str, condition: str = "") -> str:
    return f"(SELECT {what} FROM members m WHERE m.conversation_id = t.conversation_id{condition})"


def _messages(what: str, condition: str = "") -> str:
    return f"(SELECT {what} FROM messages l WHERE l.conversation_id = t.conversation_id{condition})"


def _conversation(condition: str) -> str:
    return f"EXISTS (SELECT 1 FROM conversations c WHERE c.conversation_id = t.conversation_id AND {condition})"


def _refers(table: str, column: str, to: str) -> Rule:
    (key,) = _KEYS[to]
    missing = f"NOT EXISTS (SELECT 1 FROM {to} o WHERE o.{key} = t.{column})"
    return _where(table, f"{column} is not in {to}", missing)


_IS_OWN_DELETION = (
    "EXISTS (SELECT 1 FROM own_deletions o WHERE o.conversation_id = t.conversation_id AND o.user_id = t.user_id"
    " AND o.seq = l.seq)"
)
_IN_SINGLE = _conversation("c.type = 'single'")
_USER_IS_DELETED = "EXISTS (SELECT 1 FROM users u WHERE u.user_id = t.user_id AND u.status = 3)"

RULES = (
    _where("users", "status is not 1, 2 or 3", "t.status NOT IN (1, 2, 3)"),
    _where("users", "role is not user or admin", "t.role NOT IN ('user', 'admin')"),
    _where(
        "users",
        "password_hash is not of argon2id",
        "t.password_hash <> '' AND substr(t.password_hash, 1, 10) <> '$argon2id$'",
    ),
    _refers("sessions", "user_id", "users"),
    _where(
        "sessions",
        "its user is not active",
        "EXISTS (SELECT 1 FROM users u WHERE u.user_id = t.user_id AND u.status <> 1)",
    ),
    _where(
        "sessions",
        "has ended and is there nevertheless",
        "EXISTS (SELECT 1 FROM ended_sessions e WHERE e.session_id = t.session_id)",
    ),
    _where("conversations", "type is not single or group", "t.type NOT IN ('single', 'group')"),
    _where(
        "conversations", "member_count is not the number of its members", f"t.member_count <> {_members('count(*)')}"
    ),
    _where("conversations", "has more members than max_members", "t.member_count > t.max_members"),
    _where(
        "conversations", "a one-to-one conversation without two members", "t.type = 'single' AND t.member_count <> 2"
    ),
    _where(
        "conversations",
        "a one-to-one conversation with an owner or an end",
        "t.type = 'single' AND (t.owner_id <> '' OR t.dissolved_at <> 0)",
    ),
    _where(
        "conversations",
        "a living group whose owner_id is not its one owner",
        "t.type = 'group' AND t.dissolved_at = 0 AND t.owner_id <> coalesce("
        + _members("CASE count(*) WHEN 1 THEN min(m.user_id) END", " AND m.role = 'owner'")
        + ", '')",
    ),
    _where(
        "conversations",
        "a group is dissolved when its last member leaves, and not before",
        "t.type = 'group' AND (t.dissolved_at = 0) <> (t.member_count > 0)",
    ),
    _where(
        "conversations",
        "messages are not numbered from 1 to last_seq without a gap",
        f"t.last_seq <> {_messages('count(*)')} OR t.last_seq <> {_messages('coalesce(max(l.seq), 0)')}"
        f" OR {_messages('min(l.seq)')} <> 1",
    ),
    _refers("members", "conversation_id", "conversations"),
    _refers("members", "user_id", "users"),
    _where("members", "role is not owner, admin or member", "t.role NOT IN ('owner', 'admin', 'member', 'deleted')"),
    _where("members", "role is deleted in a group", f"t.role = 'deleted' AND NOT {_IN_SINGLE}"),
    _where(
        "members",
        "role is deleted and the user is not, or the other way",
        f"(t.role = 'deleted') <> {_USER_IS_DELETED}",
    ),
    _where(
        "members",
        "a role in a one-to-one conversation",
        f"t.role IN ('owner', 'admin') AND {_IN_SINGLE}",
    ),
    _where(
        "members",
        "read_seq is below 0 or beyond last_seq",
        f"t.read_seq < 0 OR {_conversation('t.read_seq > c.last_seq')}",
    ),
    _where(
        "members",
        "what came after hidden_seq is deleted, and it is not hidden again",
        f"t.hidden_seq > 0 AND {_conversation('c.last_seq > t.hidden_seq')} AND NOT EXISTS"
        f" {_messages('1', f' AND l.seq > t.hidden_seq AND l.status < 5 AND NOT {_IS_OWN_DELETION}')}",
    ),
    _refers("former_members", "conversation_id", "conversations"),
    _refers("former_members", "user_id", "users"),
    _where("former_members", "is a member nevertheless", f"EXISTS {_members('1', ' AND m.user_id = t.user_id')}"),
    _refers("devices", "user_id", "users"),
    _where("members", "hidden_seq is below -1 or beyond read_seq", "t.hidden_seq < -1 OR t.hidden_seq > t.read_seq"),
    _refers("inboxes", "user_id", "users"),
    _where(
        "conversations",
        "recalled_seq is not that of the newest message that was recalled or deleted",
        f"t.recalled_seq <> COALESCE({_messages('MAX(l.seq)', ' AND l.status >= 4')}, 0)",
    ),
    _refers("removed_members", "conversation_id", "conversations"),
    _refers("removed_members", "user_id", "users"),
    _where("removed_members", "is a member nevertheless", f"EXISTS {_members('1', ' AND m.user_id = t.user_id')}"),
    _refers("messages", "conversation_id", "conversations"),
    _refers("messages", "from_user_id", "users"),
    _where("messages", "status is not 1 to 5", "t.status NOT BETWEEN 1 AND 5"),
    _where("messages", "message_type is unknown", f"t.message_type NOT IN {_words(*limits.MESSAGE_TYPES)}"),
    _where(
        "messages",
        "content is empty and not withdrawn, or withdrawn and not empty",
        "(t.content = '') <> (t.status >= 4) AND t.status BETWEEN 1 AND 5 OR t.metadata <> '' AND t.status >= 4",
    ),
    _where("messages", "metadata is no JSON object", "t.metadata <> '' AND substr(t.metadata, 1, 1) <> '{'"),
    _where(
        "messages",
        "to_user_id is named in a group, or not in a one-to-one conversation",
        _conversation("(c.type = 'single') <> (t.to_user_id <> '')"),
    ),
    _where(
        "messages",
        "sender and recipient are not the two of the conversation",
        "t.to_user_id <> '' AND (t.to_user_id = t.from_user_id OR 2 <> "
        + _members("count(*)", " AND m.user_id IN (t.from_user_id, t.to_user_id)")
        + f") AND {_IN_SINGLE}",
    ),
    _where(
        "messages",
        "is beyond the read position of its sender",
        f"t.seq > {_members('m.read_seq', ' AND m.user_id = t.from_user_id')}",
    ),
    _where(
        "sends",
        "seq is not of a message of this sender",
        "NOT EXISTS (SELECT 1 FROM messages l WHERE l.conversation_id = t.conversation_id AND l.seq = t.seq"
        " AND l.from_user_id = t.from_user_id)",
    ),
    Rule(
        "sends",
        "another client_msg_id of this sender is of the same message",
        "SELECT conversation_id, from_user_id, min(client_msg_id) FROM sends"
        " GROUP BY conversation_id, from_user_id, seq HAVING count(*) > 1",
    ),
    _where("audit_log", "event_id is none of ours", "substr(t.event_id, 1, 1) <> 'a' OR length(t.event_id) <> 27"),
    _where("audit_log", "outcome is not ok or refused", "t.outcome NOT IN ('ok', 'refused')"),
    _where("audit_log", "actor_role is unknown", "t.actor_role NOT IN ('', 'user', 'admin', 'service')"),
    Rule(
        "audit_log",
        "at is before that of an earlier event_id",
        "SELECT event_id FROM (SELECT event_id, at, lag(at) OVER (ORDER BY event_id) AS earlier FROM audit_log) AS o"
        f" WHERE at < earlier - {_CLOCK}",
    ),
)

# The names of all that a schema consists of, by whether it is PostgreSQL. A trigger that is switched off is not there.
_OBJECTS = {
    False: "SELECT name FROM sqlite_schema",
    True: "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    " UNION SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
    " UNION SELECT tgname FROM pg_trigger WHERE tgenabled IN ('O', 'A')",
}


def findings(tx: Tx, step: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """What is wrong, a line each: table, key, rule. Ends early where the rest would make no sense: an SQLite file that
    is damaged, a schema that is not this program's.

    tx: sees one state of the database; on SQLite it can make temporary tables. step: is given what is looked at next.
    """
    try:
        yield from _findings(tx, step)
    except (peewee.DatabaseError, sqlite3.DatabaseError) as error:
        yield _damage(error)


def version(tx: Tx) -> int:
    """Of the schema; 0 where this is no database of GoChat."""
    if not is_migrated(tx):
        return 0
    return int(tx.fetch_all("SELECT coalesce(max(version), 0) FROM schema_migrations")[0][0])


def _findings(tx: Tx, step: Callable[[str], None]) -> Iterator[str]:
    step("checking the file and the schema")
    for judge in (_of_file, _of_schema):
        found = list(judge(tx))
        yield from found
        if found:
            return
    own = *MESSAGE_RULES, *SETTINGS_RULES, *WEBHOOK_RULES, *PUSH_RULES, *group_rules()
    log, inboxes = log_rules(postgres=tx.postgres, distributed=tx.distributed), inbox_rules(distributed=tx.distributed)
    rules = *own, *inboxes, *log
    for rule in (*RULES, *(Rule(*rule) for rule in rules)):
        step(f"checking {rule.table}")
        yield from _listed(rule.table, rule.sentence, tx.fetch_all(f"{rule.offenders} LIMIT {MAX_FINDINGS + 1}"))
    step("checking sums of reactions")
    yield from _listed("messages", "reactions is not the sum of its rows in table reactions", wrong_sums(tx))
    step("checking conversation ids")
    yield from _of_pairs(tx)
    step("checking names")
    yield from _of_names(tx)
    yield from _listed("conversations", "search_key is not that of its name", wrong_search_keys(tx))


def _damage(error: peewee.DatabaseError | sqlite3.DatabaseError) -> str:
    """The finding for a read that failed on damage. Raises the error if it is another one."""
    cause = driver_error(error)
    primary = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    corrupted = getattr(cause, "pgcode", None) in ("XX001", "XX002")  # data_corrupted, index_corrupted
    if not corrupted and primary not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        raise error
    return f"{DAMAGED}{error}".splitlines()[0]


def counts(tx: Tx) -> dict[str, int]:
    """Rows by table."""
    return {table: tx.fetch_all(f"SELECT count(*) FROM {table}")[0][0] for table in COUNTED}


def _listed(table: str, sentence: str, offenders: Iterable[Row]) -> Iterator[str]:
    """offenders: their primary keys."""
    for number, key in enumerate(offenders):
        if number == MAX_FINDINGS:
            yield f"{table}: more rows of which {sentence}"
            return
        yield f"{table} {' '.join(map(_shown, key))}: {sentence}"


def _shown(part: object) -> str:
    """Clients choose their client_msg_ids: none makes two lines of one, or commands a terminal."""
    text = str(part)
    return text if text.isprintable() else ascii(text)


def _of_file(tx: Tx) -> Iterator[str]:
    for (line,) in [] if tx.postgres else tx.fetch_all(f"PRAGMA integrity_check({MAX_FINDINGS})"):
        if line != "ok":
            yield f"{DAMAGED}{line}"


def _objects(tx: Tx) -> set[str]:
    return {name for (name,) in tx.fetch_all(_OBJECTS[tx.postgres])}


def _of_schema(tx: Tx) -> Iterator[str]:
    there = _objects(tx)
    if not is_migrated(tx):
        yield "schema_migrations: is missing: this is no database of GoChat"
        return
    dialect = "postgres" if tx.postgres else "sqlite"
    known = [*migrations(dialect), *routines(dialect, distributed=tx.distributed)]
    rows = tx.fetch_all("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    yield from _of_versions(rows, known)
    for kind, name in objects(known):
        if name not in there:
            yield f"{name}: this {kind} is missing"


def _of_versions(rows: Iterable[Row], known: list[Migration]) -> Iterator[str]:
    """rows: (version, name, checksum). Functions are those of the newest program."""
    newest = max(migration.version for migration in known)
    applied = {version: checksum for version, _, checksum in rows}
    newer = {version: name for version, name, _ in rows if version > newest}
    for migration in known:
        checksum = applied.get(migration.version)
        if checksum is None:
            yield f"schema_migrations {migration.version}: was not applied: run gochat migrate"
        elif checksum != migration.checksum and not (newer and migration.version == ROUTINES):
            yield f"schema_migrations {migration.version}: was applied with other text than this program has"
    for version, name in newer.items():
        if needed(name) > newest:
            yield f"schema_migrations {version}: is of a newer program; this one knows {newest}"


def _of_pairs(tx: Tx) -> Iterator[str]:
    key = tx.fetch_one("SELECT value FROM secrets WHERE name = 'pair'")
    if key is None:
        yield "secrets pair: is missing"
        return
    pairs = _pages(
        tx,
        "conversations",
        f"t.conversation_id, {_members('min(m.user_id)')}, {_members('max(m.user_id)')}",
        "t.type = 'single' AND t.member_count = 2",
    )
    secret = str(key[0]).encode()
    others = ((where,) for where, one, other in pairs if one and ids.single(one, other, secret) != where)
    yield from _listed("conversations", "conversation_id is not the one of its two members", others)


def _of_names(tx: Tx) -> Iterator[str]:
    """The names that users are found by; on SQLite also the index over them."""
    users = _pages(tx, "users", "t.user_id, t.username, t.username_key, t.username_shape, t.nickname, t.nickname_key")
    others = (
        (user_id,)
        for user_id, username, key, looks, nickname, nickname_key in users
        # Accounts older than skeletons have their key as theirs; names from before schema 11 may have the keys of then.
        if casefold_key(key) != casefold_key(username)
        or (looks != key and skeleton(looks) != skeleton(username))
        or casefold_key(nickname_key) != casefold_key(nickname)
    )
    yield from _listed("users", "the keys of its names are not theirs", others)
    if not tx.postgres and _indexed_names(tx) != _names(tx):
        yield "user_search: this index is not that of the names of users"


# FTS5's own integrity check writes, and compares with the users in some versions only. So both sides are summed up,
# since their order is not the same.
def _indexed_names(tx: Tx) -> int:
    tx.sql("CREATE VIRTUAL TABLE temp.user_terms USING fts5vocab(main, user_search, instance)")
    try:
        return sum(map(hash, tx.sql("SELECT doc, term FROM temp.user_terms")))
    finally:
        tx.sql("DROP TABLE temp.user_terms")


def _names(tx: Tx) -> int:
    return sum(
        hash((number, term))
        for number, text in tx.sql("SELECT number, text FROM user_names")
        for term in {text[at : at + 3] for at in range(len(text) - 2)}
    )


def _pages(tx: Tx, table: str, columns: str, condition: str = "1 = 1") -> Iterator[Row]:
    """All rows t of the table. columns: the primary key, a single one, and more."""
    (key,) = _KEYS[table]
    last = ""
    while rows := tx.fetch_all(
        f"SELECT {columns} FROM {table} t WHERE t.{key} > ? AND {condition} ORDER BY t.{key} LIMIT {_PAGE}", last
    ):
        yield from rows
        last = rows[-1][0]
