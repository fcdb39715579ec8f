"""What is counted for the metrics: the truth, and without reading messages."""

from gochat.domain import ids
from gochat.monitoring.families import BATCHES, NAMES
from gochat.repo.sessions import replace_session
from gochat.repo.statistics import DAY, MONTH, count
from gochat.storage import writer
from gochat.storage.database import Database, Tx


def add_users(database: Database, number: int) -> None:
    def work(tx: Tx) -> None:
        for name in (f"u{place}" for place in range(number)):
            tx.sql(
                "INSERT INTO users (user_id, username, username_key, username_shape, email, nickname, nickname_key,"
                " avatar, bio, role, status, password_hash, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, '', '', '', '', '', 'user', 1, '', 0, 0)",
                *(name, name, name, name),
            )

    database.write(work)


def test_names_are_those_of_the_metrics(database: Database) -> None:
    assert count(database).keys() <= set(NAMES)
    assert database.statistics().keys() <= set(NAMES)
    assert (*map(str, writer.BATCHES), "more") == BATCHES


def test_an_empty_database_counts_zero(database: Database) -> None:
    counted = count(database)
    assert (counted.pop("changes"), counted.pop("changes_since") > 0) == (1, True), "the row that the log begins with"
    assert set(counted.values()) == {0}


def test_active_users_are_counted_by_window(database: Database) -> None:
    add_users(database, 5)
    now = ids.now_ms()

    def work(tx: Tx) -> None:
        for user_id, ago in (("u0", 0), ("u1", DAY - 60_000), ("u2", DAY + 60_000), ("u3", MONTH + 60_000)):
            tx.sql("INSERT INTO activity (user_id, active_at) VALUES (?, ?)", user_id, now - ago)

    database.write(work)
    counted = count(database)
    assert (counted["active_day"], counted["active_month"], counted["users_active"]) == (2, 3, 5)
    database.write(lambda tx: replace_session(tx, "u3", "phone", "r", now + DAY))
    database.write(lambda tx: replace_session(tx, "u4", "phone", "s", now + DAY))
    database.write(lambda tx: tx.sql("DELETE FROM sessions"))
    counted = count(database)
    assert (counted["active_day"], counted["active_month"]) == (4, 5), "of sessions that ended, too"


def test_counting_reads_no_messages(database: Database) -> None:
    def work(tx: Tx) -> None:
        for number, kind in enumerate(("single", "group", "group")):
            tx.sql(
                "INSERT INTO conversations (conversation_id, type, member_count, updated_at, dissolved_at, name,"
                " description, avatar, owner_id, max_members, last_seq, created_at)"
                " VALUES (?, ?, ?, ?, ?, '', '', '', '', 500, 1000, 0)",
                *(f"c{number}", kind, number + 2, ids.now_ms() - number * (DAY + 1), number // 2),
            )

    database.write(work)
    database.write(lambda tx: tx.sql("DROP TABLE messages"))
    counted = count(database)
    assert {name: number for name, number in counted.items() if number and "changes" not in name} == {
        "messages_sent": 3000,
        "singles_created": 1,
        "groups_created": 2,
        "groups": 1,
        "singles_active": 1,
        "group_members": 3,
    }
