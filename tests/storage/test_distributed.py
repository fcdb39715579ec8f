"""A database on a Citus cluster. Run where GOCHAT_TEST_DATABASE_URL names one (tests/README.md)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.conftest import Own
from tests.conversations import group, history
from tests.given import GivenCluster, needs_cluster
from tests.harness import Deployment, Person, fresh
from tests.life import lived
from tests.postgres import asked
from tests.processes import gochat
from tests.streams import listening
from tests.waiting import eventually, polled

pytestmark = needs_cluster

_PLACE = """
SELECT shard.shard_name || ' ' || shard.nodename || ':' || shard.nodeport
FROM citus_shards AS shard
WHERE shard.table_name = '{}'::regclass
    AND shard.shardid = get_shard_id_for_distribution_column('{}', '{}')"""


def place(app: Deployment, table: str, room: str) -> tuple[str, str]:
    """(the table of the shard that has the conversation, the URL of its node)"""
    shard, _, node = asked(app.url, _PLACE.format(table, table, room)).partition(" ")
    url = urlsplit(app.url)
    return shard, url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@{node}").geturl()


def groups_of_one_node(app: Deployment, ann: Person, ben: Person) -> tuple[str, str]:
    room = group(ann, ben)
    for _ in range(50):
        other = group(ann, ben)
        if place(app, "messages", other)[1] == place(app, "messages", room)[1]:
            return room, other
    raise AssertionError("all on other nodes")


@contextmanager
def prepared(app: Deployment, room: str, sender: str) -> Iterator[Callable[[], None]]:
    """A message is stored, and its change, by a transaction that its node has prepared and not committed: as when the
    node freezes, or the coordinator dies, between the two."""
    _, node = place(app, "messages", room)
    messages, changes, conversations = (
        place(app, table, room)[0] for table in ("messages", "outgoing_changes", "conversations")
    )
    connection, late = psycopg2.connect(node), fresh("late")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {conversations} SET last_seq = 1 WHERE conversation_id = '{room}'")
        cursor.execute(
            f"INSERT INTO {messages} (conversation_id, seq, from_user_id, to_user_id, content, message_type, status,"
            f" metadata, created_at, updated_at) VALUES ('{room}', 1, '{sender}', '', 'late', 'text', 1, '', 1, 1)"
        )
        cursor.execute(
            f"INSERT INTO {changes} (conversation_id, id, kind, user_id, actor_id, first_seq, seq, detail, at)"
            f" OVERRIDING SYSTEM VALUE"
            f" VALUES ('{room}', nextval('outgoing_changes_id_seq'), 1, '', '', 1, 1, '', 1)"
        )
        cursor.execute(f"PREPARE TRANSACTION '{late}'")
        try:
            yield lambda: cursor.execute(f"COMMIT PREPARED '{late}'")
        finally:
            cursor.execute("SELECT 1 FROM pg_prepared_xacts WHERE gid = %s", [late])
            if cursor.fetchone():
                cursor.execute(f"ROLLBACK PREPARED '{late}'")
            connection.close()


def test_what_a_node_has_prepared_comes_when_it_is_committed(own: Own) -> None:
    app = own("postgres")
    ann, ben = app.people(2)
    room, other = groups_of_one_node(app, ann, ben)
    with listening(app, ben.metadata) as listener, prepared(app, room, ann.id) as commit:
        ann.send(other, "one")
        listener.until(lambda each: "one" in each.contents)  # although its transaction is the newer one
        assert not polled(lambda: "late" in listener.contents, seconds=1)
        commit()
        listener.until(lambda each: "late" in each.contents)
        ann.send(room, "next")
        listener.until(lambda each: "next" in each.contents)
        assert listener.contents == ["one", "late", "next"]
    with listening(app, ben.metadata, cursor=listener.cursor) as after:
        ann.send(room, "last")
        after.until(lambda each: "last" in each.contents)
        assert after.contents == ["last"]


def test_a_stream_that_begins_meanwhile_gets_it_once(own: Own) -> None:
    app = own("postgres")
    ann, ben = app.people(2)
    room, _ = groups_of_one_node(app, ann, ben)
    with prepared(app, room, ann.id) as commit, listening(app, ben.metadata) as listener:
        commit()
        listener.until(lambda each: "late" in each.contents)
        ann.send(room, "next")
        listener.until(lambda each: "next" in each.contents)
        assert listener.contents == ["late", "next"]


def test_the_log_takes_each_change_once_however_many_collect(own: Own) -> None:
    app = own("postgres", env={"GOCHAT_SERVER_WORKERS": "2"})
    ann, ben = app.people(2)
    rooms = [group(ann, ben) for _ in range(4)]
    with listening(app, ben.metadata) as listener:
        for number in range(25):
            for room in rooms:
                ann.send(room, f"{room} {number}")
        listener.until(lambda each: len(each.contents) >= 100)
        for room in rooms:
            assert [each for each in listener.contents if each.startswith(room)] == [
                f"{room} {number}" for number in range(25)
            ]
        assert len(listener.contents) == 100
    counted = "SELECT count(*) FROM changes WHERE kind = 1 AND conversation_id = ANY (ARRAY{})"
    assert asked(app.url, counted.format(rooms)) == 100
    eventually(lambda: asked(app.url, "SELECT count(*) FROM outgoing_changes") == 0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        ("", "the database has no Citus"),
        ("CREATE EXTENSION citus", "the database has no workers"),
    ],
)
def test_what_cannot_be_distributed_says_why(postgres: GivenCluster, make: str, says: str) -> None:
    url = postgres.create_database("UTF8")
    if make:
        asked(url, make)
    run = gochat("distribute", env={"GOCHAT_DATABASE_URL": url})
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith(f"gochat: {says}")


def test_twice_changes_nothing(postgres: GivenCluster) -> None:
    run = gochat("distribute", env={"GOCHAT_DATABASE_URL": postgres.create_database()})
    assert (run.stdout, run.returncode) == ("the database is distributed already\n", 0)


def test_what_is_there_stays_and_is_distributed(own: Own, postgres: GivenCluster) -> None:
    app = own("postgres", url=postgres.create_plain())
    life = lived(app)
    before = [message.content for message in history(life.ann, life.group)]
    app.stop()
    run = app.run("distribute", "--shards", "4")
    assert run.stdout.splitlines()[-1] == "the database is distributed"
    app.start()
    assert [message.content for message in history(life.ann, life.group)] == before
    life.ann.send(life.group, "since then")
    assert history(life.ann, life.group)[-1].content == "since then"
    nodes = "SELECT count(DISTINCT nodeport) FROM citus_shards WHERE table_name = 'messages'::regclass"
    assert asked(app.url, nodes) > 1
    assert app.run("check").stdout.startswith("clean:")
