"""What `gochat check` finds: nothing in a database that the server alone has written, and each harm done to it."""

from collections.abc import Iterator

import peewee
import pytest

from gochat.repo.check import MAX_FINDINGS, findings
from gochat.storage.database import Tx
from gochat.storage.distributed import is_distributed
from gochat.storage.migrate import migrations
from tests.conftest import Own
from tests.harness import Deployment
from tests.life import Life, lived
from tests.repo import pushes

LATEST = len(migrations("sqlite"))
NOBODY, NOWHERE, LATER = "unobody", "gnowhere", "a" + "z" * 26
OF_GROUP = "conversation_id = '{group}'"
OF_QUIET, OF_PAIR, OF_TALK, OF_BUSY = (OF_GROUP.replace("group", name) for name in ("quiet", "pair", "talk", "busy"))
LOG_END = "the newest message in the log of changes is not that of last_seq"
GAP = "messages are not numbered from 1 to last_seq without a gap"
OWNER = "a living group whose owner_id is not its one owner"
EVENT = (
    "INSERT INTO audit_log (event_id, at, actor_id, actor_role, action, target_id, detail, outcome, peer, request_id)"
    " VALUES ('{}', 9999999999999, '', '{}', 'x', '', '', '{}', '', '')"
)
SENDS = "INSERT INTO sends (conversation_id, from_user_id, client_msg_id, seq, digest) VALUES"
SUM = "messages {busy} 1: reactions is not the sum of its rows in table reactions"
WITHDRAWN = "seq is not of a message, or of one that is withdrawn"
OF_MESSAGES = [
    (f"UPDATE messages SET reactions = '' WHERE {OF_BUSY} AND seq = 1", SUM),
    (f"DELETE FROM reactions WHERE {OF_BUSY} AND user_id = '{{bob}}'", SUM),
    (
        f"UPDATE messages SET reply_seq = 2 WHERE {OF_BUSY} AND seq = 2",
        "messages {busy} 2: reply_seq is not of an earlier message",
    ),
    (
        f"UPDATE messages SET pinned_at = 0 WHERE {OF_BUSY} AND seq = 1",
        "messages {busy} 1: is pinned by somebody at no time, or forwarded from there",
    ),
    (
        f"UPDATE messages SET edited_at = 0 WHERE {OF_BUSY} AND seq = 1",
        "messages {busy} 1: was edited, by its versions, and has no edited_at",
    ),
    (
        f"UPDATE messages SET reply_seq = 0, edited_at = 1 WHERE {OF_GROUP} AND seq = 1",
        "messages {group} 1: is withdrawn, and something of it is still there",
    ),
    (
        f"UPDATE members SET deleted_seq = 0 WHERE {OF_BUSY} AND user_id = '{{bob}}'",
        "members {busy} {bob}: deleted_seq is not that of the newest of their own_deletions",
    ),
    (
        "INSERT INTO own_deletions (conversation_id, user_id, seq) VALUES ('{busy}', '{ann}', 99);"
        f"UPDATE members SET deleted_seq = 99 WHERE {OF_BUSY} AND user_id = '{{ann}}'",
        "own_deletions {busy} {ann} 99: seq is not of a message",
    ),
    (
        "INSERT INTO mentions (conversation_id, user_id, seq) VALUES ('{busy}', '{ann}', 3)",
        "mentions {busy}  3: mentions all, and some of them once more",
    ),
    (
        "INSERT INTO mentions (conversation_id, user_id, seq) VALUES ('{group}', '{ann}', 1)",
        f"mentions {{group}} {{ann}} 1: {WITHDRAWN}",
    ),
    (
        "INSERT INTO reactions (conversation_id, seq, user_id, reaction, number, created_at)"
        " VALUES ('{group}', 99, '{ann}', 'x', 1, 0)",
        f"reactions {{group}} 99 {{ann}} x: {WITHDRAWN}",
    ),
    (
        "INSERT INTO message_versions (conversation_id, seq, version, content, created_at, replaced_at, replaced_by)"
        " VALUES ('{group}', 99, 1, 'x', 0, 0, '')",
        f"message_versions {{group}} 99 1: {WITHDRAWN}",
    ),
]
HARMS = [
    *OF_MESSAGES,
    *pushes.HARMS,
    ("UPDATE users SET status = 9 WHERE user_id = '{zoe}'", "users {zoe}: status is not 1, 2 or 3"),
    ("UPDATE users SET role = 'king' WHERE user_id = '{zoe}'", "users {zoe}: role is not user or admin"),
    ("UPDATE users SET password_hash = 'x' WHERE user_id = '{zoe}'", "users {zoe}: password_hash is not of argon2id"),
    ("UPDATE users SET nickname = 'x' WHERE user_id = '{zoe}'", "users {zoe}: the keys of its names are not theirs"),
    (
        f"UPDATE sessions SET user_id = '{NOBODY}' WHERE user_id = '{{ann}}'",
        "sessions {session}: user_id is not in users",
    ),
    ("UPDATE users SET status = 2 WHERE user_id = '{ann}'", "sessions {session}: its user is not active"),
    (
        "INSERT INTO ended_sessions (session_id, ended_at) VALUES ('{session}', 1)",
        "sessions {session}: has ended and is there nevertheless",
    ),
    (
        f"UPDATE conversations SET type = 'room' WHERE {OF_QUIET}",
        "conversations {quiet}: type is not single or group",
    ),
    (
        f"UPDATE conversations SET member_count = 3 WHERE {OF_QUIET}",
        "conversations {quiet}: member_count is not the number of its members",
    ),
    (
        f"UPDATE conversations SET max_members = 1 WHERE {OF_QUIET}",
        "conversations {quiet}: has more members than max_members",
    ),
    (
        f"DELETE FROM members WHERE {OF_PAIR} AND user_id = '{{bob}}';"
        f"UPDATE conversations SET member_count = 1 WHERE {OF_PAIR}",
        "conversations {pair}: a one-to-one conversation without two members",
    ),
    (
        f"UPDATE conversations SET dissolved_at = 5 WHERE {OF_PAIR}",
        "conversations {pair}: a one-to-one conversation with an owner or an end",
    ),
    (
        f"UPDATE members SET user_id = '{{zoe}}' WHERE {OF_PAIR} AND user_id = '{{bob}}'",
        "conversations {pair}: conversation_id is not the one of its two members",
    ),
    (f"UPDATE conversations SET owner_id = '{{bob}}' WHERE {OF_QUIET}", f"conversations {{quiet}}: {OWNER}"),
    (f"UPDATE members SET role = 'owner' WHERE {OF_QUIET}", f"conversations {{quiet}}: {OWNER}"),
    (f"UPDATE members SET role = 'admin' WHERE {OF_QUIET}", f"conversations {{quiet}}: {OWNER}"),
    (
        f"UPDATE conversations SET dissolved_at = 5 WHERE {OF_QUIET}",
        "conversations {quiet}: a group is dissolved when its last member leaves, and not before",
    ),
    (f"DELETE FROM messages WHERE {OF_GROUP} AND seq = 2", f"conversations {{group}}: {GAP}"),
    (f"UPDATE messages SET seq = 0 WHERE {OF_GROUP} AND seq = 12", f"conversations {{group}}: {GAP}"),
    (
        f"UPDATE conversations SET last_seq = 99 WHERE {OF_GROUP}; UPDATE members SET last_seq = 99 WHERE {OF_GROUP};"
        f"UPDATE changes SET seq = 99 WHERE {OF_GROUP} AND kind = 1 AND seq = 12",
        f"conversations {{group}}: {GAP}",
    ),
    (
        f"INSERT INTO members (conversation_id, user_id, role, read_seq, joined_at)"
        f" VALUES ('{NOWHERE}', '{{ann}}', 'member', 0, 0)",
        f"members {NOWHERE} {{ann}}: conversation_id is not in conversations",
    ),
    (
        f"UPDATE members SET user_id = '{NOBODY}' WHERE {OF_QUIET} AND user_id = '{{bob}}'",
        f"members {{quiet}} {NOBODY}: user_id is not in users",
    ),
    (
        f"UPDATE members SET role = 'boss' WHERE {OF_QUIET} AND user_id = '{{bob}}'",
        "members {quiet} {bob}: role is not owner, admin or member",
    ),
    (
        f"UPDATE members SET role = 'admin' WHERE {OF_PAIR} AND user_id = '{{bob}}'",
        "members {pair} {bob}: a role in a one-to-one conversation",
    ),
    (
        f"UPDATE members SET read_seq = 1 WHERE {OF_QUIET} AND user_id = '{{bob}}'",
        "members {quiet} {bob}: read_seq is below 0 or beyond last_seq",
    ),
    (
        f"UPDATE members SET read_seq = -1 WHERE {OF_QUIET} AND user_id = '{{bob}}'",
        "members {quiet} {bob}: read_seq is below 0 or beyond last_seq",
    ),
    (
        f"UPDATE members SET hidden_seq = 1 WHERE {OF_QUIET} AND user_id = '{{bob}}'",
        "members {quiet} {bob}: hidden_seq is below -1 or beyond read_seq",
    ),
    *(
        (
            f"UPDATE members SET {column} = 1 WHERE {OF_QUIET} AND user_id = '{{bob}}'",
            "members {quiet} {bob}: last_seq or active_at is not what it is to carry (sql/README.md)",
        )
        for column in ("last_seq", "active_at")
    ),
    (
        f"INSERT INTO removed_members (conversation_id, user_id, removed_at) VALUES ('{NOWHERE}', '{{ann}}', 0)",
        f"removed_members {NOWHERE} {{ann}}: conversation_id is not in conversations",
    ),
    (
        f"INSERT INTO removed_members (conversation_id, user_id, removed_at) VALUES ('{{quiet}}', '{NOBODY}', 0)",
        f"removed_members {{quiet}} {NOBODY}: user_id is not in users",
    ),
    (
        "INSERT INTO removed_members (conversation_id, user_id, removed_at) VALUES ('{quiet}', '{bob}', 0)",
        "removed_members {quiet} {bob}: is a member nevertheless",
    ),
    (
        "INSERT INTO messages (conversation_id, seq, from_user_id, to_user_id, content, message_type, status, metadata,"
        f" created_at, updated_at) VALUES ('{NOWHERE}', 1, '{{ann}}', '', 'x', 'text', 1, '', 0, 0)",
        f"messages {NOWHERE} 1: conversation_id is not in conversations",
    ),
    (
        f"UPDATE conversations SET recalled_seq = 2 WHERE {OF_GROUP}",
        "conversations {group}: recalled_seq is not that of the newest message that was recalled or deleted",
    ),
    (
        f"UPDATE messages SET from_user_id = '{NOBODY}' WHERE {OF_GROUP} AND seq = 2",
        "messages {group} 2: from_user_id is not in users",
    ),
    (f"UPDATE messages SET status = 7 WHERE {OF_GROUP} AND seq = 2", "messages {group} 2: status is not 1 to 5"),
    (
        f"UPDATE messages SET message_type = 'thought' WHERE {OF_GROUP} AND seq = 2",
        "messages {group} 2: message_type is unknown",
    ),
    (
        f"UPDATE messages SET content = '' WHERE {OF_GROUP} AND seq = 2",
        "messages {group} 2: content is empty and not withdrawn, or withdrawn and not empty",
    ),
    (
        f"UPDATE messages SET status = 5 WHERE {OF_GROUP} AND seq = 2",
        "messages {group} 2: content is empty and not withdrawn, or withdrawn and not empty",
    ),
    (
        f"UPDATE messages SET metadata = 'x' WHERE {OF_GROUP} AND seq = 2",
        "messages {group} 2: metadata is no JSON object",
    ),
    (
        f"UPDATE messages SET to_user_id = '{{ann}}' WHERE {OF_GROUP} AND seq = 2",
        "messages {group} 2: to_user_id is named in a group, or not in a one-to-one conversation",
    ),
    (
        f"UPDATE messages SET to_user_id = '' WHERE {OF_TALK} AND seq = 3",
        "messages {talk} 3: to_user_id is named in a group, or not in a one-to-one conversation",
    ),
    (
        f"UPDATE messages SET to_user_id = '{{zoe}}' WHERE {OF_TALK} AND seq = 3",
        "messages {talk} 3: sender and recipient are not the two of the conversation",
    ),
    (
        f"UPDATE members SET read_seq = 1 WHERE {OF_GROUP} AND user_id = '{{bob}}'",
        "messages {group} 2: is beyond the read position of its sender",
    ),
    (
        f"UPDATE sends SET seq = 2 WHERE {OF_TALK}",
        "sends {talk} {ann} once: seq is not of a message of this sender",
    ),
    (
        f"{SENDS} ('{{talk}}', '{{ann}}', 'on\n\x1b[1mtwo', 99, '')",
        "sends {talk} {ann} 'on\\n\\x1b[1mtwo': seq is not of a message of this sender",
    ),
    (
        f"{SENDS} ('{{talk}}', '{{ann}}', 'twice', 1, '')",
        "sends {talk} {ann} once: another client_msg_id of this sender is of the same message",
    ),
    (EVENT.format("x", "", "ok"), "audit_log x: event_id is none of ours"),
    (EVENT.format(LATER, "", "maybe"), f"audit_log {LATER}: outcome is not ok or refused"),
    (EVENT.format(LATER, "king", "ok"), f"audit_log {LATER}: actor_role is unknown"),
    (
        EVENT.format(LATER, "", "ok").replace("9999999999999", "1"),
        f"audit_log {LATER}: at is before that of an earlier event_id",
    ),
    ("DELETE FROM secrets WHERE name = 'pair'", "secrets pair: is missing"),
    ("DELETE FROM secrets WHERE name = 'epoch'", "secrets epoch: is missing: the log of changes has no epoch"),
    (f"UPDATE changes SET kind = 2 WHERE {OF_GROUP} AND seq = 12", f"conversations {{group}}: {LOG_END}"),
    (f"UPDATE changes SET seq = 99 WHERE {OF_GROUP} AND kind = 1 AND seq = 12", f"conversations {{group}}: {LOG_END}"),
    (
        f"UPDATE changes SET kind = 2 WHERE {OF_GROUP} AND kind = 1; UPDATE changes SET at = 0",
        f"conversations {{group}}: {LOG_END}",
    ),
    *(
        (
            f"UPDATE members SET delivered_seq = {seq} WHERE {OF_TALK} AND user_id = '{{cem}}'",
            "members {talk} {cem}: delivered_seq is below 0 or beyond last_seq",
        )
        for seq in (-1, 4)
    ),
    *(
        (
            f"UPDATE members SET {column} = {wrong} WHERE {OF_QUIET} AND user_id = '{{bob}}'",
            f"members {{quiet}} {{bob}}: {what}",
        )
        for column, wrong, what in (
            ("quiet_until", -1, "a setting is none"),
            ("pinned_at", -1, "a setting is none"),
            ("archived", 2, "a setting is none"),
            ("marked_unread", -1, "a setting is none"),
            ("joined_seq", -2, "joined_seq is below -1 or beyond last_seq"),
            ("joined_seq", 99, "joined_seq is below -1 or beyond last_seq"),
        )
    ),
    (
        "INSERT INTO conversations (conversation_id, type, name, description, avatar, owner_id, max_members,"
        " member_count, last_seq, created_at, updated_at, dissolved_at)"
        " WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 101)"
        " SELECT 'gpinned' || n, 'group', 'pinned', '', '', '{zoe}', 5, 1, 0, 1, 1, 0 FROM number;"
        "INSERT INTO members (conversation_id, user_id, role, read_seq, joined_at, last_seq, active_at, pinned_at)"
        " SELECT conversation_id, owner_id, 'owner', 0, 1, 0, 1, 1 FROM conversations WHERE name = 'pinned'",
        "users {zoe}: has pinned more than 100 conversations",
    ),
    ("DROP INDEX members_hiding", "members_hiding: this index is missing"),
    ("DROP TABLE secrets", "secrets: this table is missing"),
    ("DROP TABLE schema_migrations", "schema_migrations: is missing: this is no database of GoChat"),
    (
        f"DELETE FROM schema_migrations WHERE version = {LATEST}",
        f"schema_migrations {LATEST}: was not applied: run gochat migrate",
    ),
    (
        "UPDATE schema_migrations SET checksum = '' WHERE version = 1",
        "schema_migrations 1: was applied with other text than this program has",
    ),
    (
        f"INSERT INTO schema_migrations VALUES ({LATEST + 1}, 'contract_9999_x', '', 0)",
        f"schema_migrations {LATEST + 1}: is of a newer program; this one knows {LATEST}",
    ),
]
HARMS_OF_DIALECT = {
    "sqlite": [
        ("UPDATE changes SET kind = 99 WHERE position = 2", "changes 2: kind is unknown"),
        (
            f"UPDATE changes SET conversation_id = '{NOWHERE}' WHERE position = 2",
            "changes 2: conversation_id is not in conversations",
        ),
        ("DELETE FROM changes WHERE position = 2", "changes 3: the position before is missing"),
        ("DROP TRIGGER audit_log_kept", "audit_log_kept: this trigger is missing"),
        (
            "UPDATE users SET username_key = 'x' WHERE user_id = '{zoe}';"
            "INSERT INTO user_search (user_search) VALUES ('rebuild')",
            "users {zoe}: the keys of its names are not theirs",
        ),
        (
            "INSERT INTO user_search (user_search, rowid, text) SELECT 'delete', number, text FROM user_names"
            " WHERE number = (SELECT rowid FROM users WHERE user_id = '{zoe}')",
            "user_search: this index is not that of the names of users",
        ),
    ],
    "postgres": [
        (
            "UPDATE changes SET (position, kind) = (5, 99) WHERE id = 2",
            "changes 5 2: kind is unknown",
        ),
        (
            f"UPDATE changes SET (position, conversation_id) = (5, '{NOWHERE}') WHERE id = 2",
            "changes 5 2: conversation_id is not in conversations",
        ),
        (
            "ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only",
            "audit_log_append_only: this trigger is missing",
        ),
        (
            "UPDATE users SET username_key = 'x' WHERE user_id = '{zoe}'",
            "users {zoe}: the keys of its names are not theirs",
        ),
        (
            "UPDATE schema_migrations SET checksum = '' WHERE name = 'routines'",
            "schema_migrations 0: was applied with other text than this program has",
        ),
        ("DROP FUNCTION send_messages", "send_messages: this function is missing"),
    ],
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def home(dialect: str, own_of_module: Own) -> Iterator[tuple[Deployment, Life, peewee.Database]]:
    """A server that has lived, and a connection of ours to its database, beside it."""
    app = own_of_module(dialect)
    life = lived(app)
    found = app.run("check", check=False)  # while it runs
    app.stop()
    assert (found.stdout[:6], found.returncode) == ("clean:", 0), found.stdout
    database = peewee.PostgresqlDatabase(app.url) if app.url else peewee.SqliteDatabase(app.data / "gochat.db")
    yield app, life, database
    database.close()


def harmed(home: tuple[Deployment, Life, peewee.Database], harm: str) -> tuple[list[str], dict[str, str]]:
    """What is found, and the names of this home's life, of a harm that is taken back afterwards."""
    _, life, database = home
    names = {name: getattr(value, "id", value) for name, value in vars(life).items()}
    with database.atomic() as transaction:
        tx = Tx(database, distributed=is_distributed(Tx(database)))
        ((names["session"],),) = tx.fetch_all("SELECT session_id FROM sessions WHERE user_id = ?", life.ann.id)
        if tx.postgres:
            tx.sql("SET LOCAL citus.propagate_set_commands = local")  # of a cluster, to its nodes
            tx.sql("SET LOCAL session_replication_role = replica")  # or it would not let us
        for statement in harm.format(**names).split(";"):
            tx.sql(statement)
        found = list(findings(tx))
        transaction.rollback()
    return found, names


@pytest.mark.parametrize(("harm", "says"), HARMS)
def test_each_harm_is_found_and_nothing_else(
    home: tuple[Deployment, Life, peewee.Database], harm: str, says: str
) -> None:
    found, names = harmed(home, harm)
    assert found == [says.format(**names)]


def test_harms_of_one_dialect_are_found(home: tuple[Deployment, Life, peewee.Database], dialect: str) -> None:
    for harm, says in HARMS_OF_DIALECT[dialect]:
        found, names = harmed(home, harm)
        assert found == [says.format(**names)]


def test_findings_of_a_kind_are_listed_up_to_a_limit(home: tuple[Deployment, Life, peewee.Database]) -> None:
    rows = ", ".join(f"('{NOWHERE}', 'u{number}', 0)" for number in range(MAX_FINDINGS + 1))
    found, _ = harmed(home, f"INSERT INTO removed_members (conversation_id, user_id, removed_at) VALUES {rows}")
    *listed, last = [line for line in found if "conversation" in line]
    assert len(listed) == MAX_FINDINGS
    assert last == "removed_members: more rows of which conversation_id is not in conversations"
