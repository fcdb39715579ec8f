"""gochat copy, from server to server: what clients knew before holds afterwards. And what it refuses."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from gochat.api.webhook.v1.webhook_pb2 import CreateWebhookRequest
from gochat.config import Config, Database
from gochat.internal.webhook.v1.webhook_pb2 import StoreDeliveriesRequest
from gochat.internal.webhook.v1.webhook_pb2_grpc import WebhookStoreServiceStub
from gochat.storage.engine import open_database
from gochat.storage.postgres import PostgresDatabase
from tests.commands.copying import TABLES, copied, opened, refused, rows_of
from tests.conftest import Own
from tests.conversations import conversation_of, history, seq_of
from tests.harness import PASSWORD, Deployment, Person, as_service, fresh
from tests.harness import refused as refused_call
from tests.postgres import Postgres
from tests.processes import frozen
from tests.push.service import Subscription
from tests.test_readme import blocks
from tests.waiting import eventually, once_available

TRICKY = [
    "tab\tnewline\nreturn\r\nend",
    "back\\slash \\n \\N \\. \\t",
    "\\.",
    "line\n\\.\nline",
    'quote " \' `, comma; {"json": [1]}',
    "你好，世界 🎉 \u202eRTL\u2028 é e\u0301 \x01\x7f",
    " ",
    "x" * 16 * 1024,
]
KEYS = ["a", "A", "b", "B", "_", "-", "é", "É", "z", "Z", "10", "9", "key with space", "\\", "字"]
NewUrl = Callable[[str], str]


@pytest.fixture
def new_url(tmp_path: Path, request: pytest.FixtureRequest) -> NewUrl:
    """new_url("sqlite" | "postgres" | "icu"): an empty database. icu: one that orders text as people do."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/{fresh('data')}.db"
        url = str(request.getfixturevalue("direct_postgres" if kind == "icu" else "postgres").create_database())
        if kind == "icu":
            name = url.rpartition("/")[2]
            with_icu = f"{name}_icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'"
            connection = psycopg2.connect(url)
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {with_icu}")
            connection.close()
            url += "_icu"
        return url

    return make


class World:
    """People who did everything that leaves something in the database."""

    def __init__(self, app: Deployment) -> None:
        self.app = app
        self.ann, self.ben, self.cem = app.people(3, PASSWORD)
        self.wang = app.person(password=PASSWORD, nickname="王小明")
        self.gone = app.person("gone", password=PASSWORD)
        ann, ben, cem = self.ann, self.ben, self.cem
        self.sent = {key: ann.send(ben.id, f"with {key}", metadata={"client_msg_id": key}).message_id for key in KEYS}
        self.group = ann.CreateGroup(name="Tea \\.", member_ids=[ben.id, cem.id, self.wang.id]).group_id
        for content in TRICKY:
            ben.send(self.group, content, metadata={"client_msg_id": content[:40], "a": "\\\t\n"})
        self.last = cem.send(self.group, "last").message_id
        history = ann.GetMessageHistory(conversation_id=self.group).messages
        ann.MarkMessageRead(conversation_id=self.group, message_id=history[3].message_id)
        repo = as_service(app).repo
        repo.DeleteMessage(message_id=history[2].message_id, user_id=ben.id)
        talk = ben.send(self.group, "talk", metadata={"mentions": self.wang.id, "reply_to": self.last}).message_id
        ben.EditMessage(message_id=talk, content="talk of it")
        self.wang.AddReaction(message_id=talk, reaction="👨‍👩‍👧")
        ann.PinMessage(message_id=talk)
        self.wang.DeleteMessage(message_id=self.last)
        self.last = talk
        cem.DeleteConversation(conversation_id=self.group)
        ann.RemoveGroupMember(group_id=self.group, user_id=cem.id)
        ann.UpdateGroupSettings(group_id=self.group, joining=2, searchable=True)
        cem.RequestToJoin(group_id=self.group, note="please")
        ann.BanMember(group_id=self.group, user_id=self.gone.id, reason="spam")
        ann.CreateInvitation(group_id=self.group)
        ann.SetMemberTitle(group_id=self.group, user_id=ben.id, title="Poet")
        cem.send(ann.id, "to be hidden")
        ann.DeleteConversation(
            conversation_id=next(
                one.conversation_id for one in ann.GetConversations().conversations if one.type == "single"
            )
        )
        app.signed_in(self.gone.id, self.gone.username, device_id="phone")
        self.gone.Logout()
        app.run("user", "disable", self.gone.username, "--address", app.repo_address)
        self._with_a_webhook(app)

    def _with_a_webhook(self, app: Deployment) -> None:
        """And something that it is sent much later."""
        store = WebhookStoreServiceStub(app.repo_channel)
        wanted = {"conversation_ids": ["none"]}
        created = store.CreateWebhook(
            CreateWebhookRequest(url="https://hook.invalid/", filter=wanted), metadata=app.service
        )
        later = {"delivery_id": "evt_1", "event": "message_sent", "lane": self.group, "next_attempt_at": 2**60}
        kept = StoreDeliveriesRequest(webhook_id=created.webhook.webhook_id, deliveries=[later])
        store.StoreDeliveries(kept, metadata=app.service)

    @property
    def people(self) -> list[Person]:
        return [self.ann, self.ben, self.cem, self.wang]

    def moved(self, app: Deployment) -> None:
        self.app = app
        for person in (*self.people, self.gone):
            person.app = app

    def answers(self) -> dict[str, Any]:
        """What clients see."""
        seen: dict[str, Any] = {}
        for person in self.people:
            name = person.username
            seen[f"{name} conversations"] = conversations = person.GetConversations()
            seen[f"{name} unread"] = person.GetUnreadMessages()
            seen[f"{name} profile"] = person.GetUserProfile(user_id=person.id)
            for one in conversations.conversations:
                seen[f"{name} details {one.conversation_id}"] = person.ListMessages(conversation_id=one.conversation_id)
                messages = history(person, one.conversation_id)
                seen[f"{name} history {one.conversation_id}"] = messages
                assert len(messages) > 0 or person is self.ann
        seen["group"] = self.ann.GetGroupInfo(group_id=self.group)
        seen["members"] = self.ann.GetGroupMembers(group_id=self.group)
        for query in ("王", "小明", "user", self.ben.username, self.gone.username, "x"):
            seen[f"search {query}"] = self.ann.SearchUsers(query=query)
        return seen


def notified(world: World, url: str) -> None:
    """Has one of them be so, by a push service that cannot be reached, so that there is something to send again."""
    subscription = Subscription("https://127.0.0.1:9/x")
    world.ben.RegisterPushToken(**subscription.fields)
    world.ann.send(world.ben.id, "to be pushed")

    def waits() -> list[Any]:
        with opened(url) as cursor:
            cursor.execute("SELECT attempts FROM push_deliveries WHERE attempts > 0")
            return list(cursor.fetchall())

    eventually(waits)


def made(url: str) -> None:
    """As `gochat migrate` makes it."""
    open_database(Config(database=Database(url=url, pool_min=1))).close()


@pytest.mark.parametrize(
    ("one", "other"),
    [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite"), ("icu", "postgres"), ("sqlite", "icu")],
)
def test_clients_see_the_same_after_a_copy(own: Own, new_url: NewUrl, tmp_path: Path, one: str, other: str) -> None:
    source, target = new_url(one), new_url(other)
    world = World(app := own(folder=tmp_path / "app", url=source, env={"GOCHAT_PUSH_DELAY": "0"}))
    notified(world, source)
    before, events = world.answers(), app.events()
    assert app.stop() == [0]

    lines = copied(source, target)
    there = rows_of(source)
    assert set(there) == TABLES
    assert all(there.values()), "every table is tried"
    assert rows_of(target) == there
    assert {line.split()[0]: line.split()[1] for line in lines[:-1]} == {
        table: f"{len(rows):,}" for table, rows in there.items()
    }
    assert lines[-1].startswith(f"copied {sum(map(len, there.values())):,} rows, the same in both; ")

    app = own(folder=tmp_path / "app", url=target)
    world.moved(app)
    assert world.answers() == before
    assert app.events() == events
    ann, ben, gone = world.ann, world.ben, world.gone
    # Old tokens, passwords, keys of sends.
    ann.RefreshToken(refresh_token=ann.refresh_token)
    app.signed_in(ben.id, ben.username, PASSWORD).GetConversations()
    with refused_call("UNAUTHENTICATED"):
        app.signed_in(gone.id, gone.username, PASSWORD)
    with refused_call("UNAUTHENTICATED"):
        gone.RefreshToken(refresh_token=gone.refresh_token)
    with refused_call("PERMISSION_DENIED"):
        world.cem.JoinGroup(group_id=world.group)
    for key, message_id in world.sent.items():
        assert ann.send(ben.id, f"with {key}", metadata={"client_msg_id": key}).message_id == message_id
    with refused_call("ALREADY_EXISTS"):
        ann.send(ben.id, "other", metadata={"client_msg_id": "a"})
    # The next message, the next group, a name that is taken and one that is found right away.
    following = ben.send(world.group, "goes on").message_id
    assert seq_of(following) == seq_of(world.last) + 1
    assert conversation_of(ann.send(ben.id, "goes on")) == conversation_of(world.sent["a"])
    ann.CreateGroup(name="New", member_ids=[ben.id])
    with refused_call("ALREADY_EXISTS"):
        app.create_user(ann.username.upper())
    app.create_user(nickname="王大明")
    assert [user.nickname for user in ann.SearchUsers(query="大明").users] == ["王大明"]
    with opened(target) as cursor, pytest.raises((sqlite3.Error, psycopg2.Error), match="append-only"):
        cursor.execute("DELETE FROM audit_log")
    assert app.stop() == [0]


def test_empty_databases_and_migrated_ones_are_copied_into(new_url: NewUrl) -> None:
    source, target, third = new_url("sqlite"), new_url("postgres"), new_url("sqlite")
    made(source)
    made(target)
    copied(source, target)
    assert rows_of(target) == rows_of(source)
    copied(target, third)
    assert rows_of(third) == rows_of(source)


def test_the_commands_of_the_readme_copy_a_database(new_url: NewUrl, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source, target = f"sqlite:///{tmp_path}/data/gochat.db", new_url("postgres")
    made(source)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    pasted = blocks("moving", "gochat/commands/README.md").replace("postgresql://user:password@host/name", target)
    subprocess.run(["bash", "-euo", "pipefail", "-c", pasted], cwd=tmp_path, check=True, timeout=60)
    assert rows_of(target) == rows_of(source)


def test_urls_are_taken_from_the_environment(new_url: NewUrl) -> None:
    source, target = new_url("sqlite"), new_url("sqlite")
    made(source)
    copied("", target, GOCHAT_COPY_FROM=source)
    assert rows_of(target) == rows_of(source)


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_database_in_use_is_not_copied(own: Own, new_url: NewUrl, kind: str) -> None:
    url, other = new_url(kind), new_url("sqlite")
    app = own(url=url)
    assert refused(url, other).startswith("--from: ")
    assert "is in use by another gochat process" in refused(url, other)
    made(other)
    assert refused(other, url).startswith("--to: ")
    assert "is in use by another gochat process" in refused(other, url)
    ann, ben = app.people(2, PASSWORD)
    ann.send(ben.id)
    assert app.stop() == [0]
    assert refused(other, url) == "--to: is not empty: it has users"
    copied(url, new_url("sqlite"))


def test_a_copy_has_a_database_alone_that_servers_share(
    own: Own, new_url: NewUrl, tmp_path: Path, postgres: Postgres
) -> None:
    url = new_url("postgres")
    apps = [
        own(folder=tmp_path / "one", url=url),
        own("postgres-split", url=url),
        own(url=url, env={"GOCHAT_SERVER_WORKERS": "2"}),
    ]
    for number in (0, 1, 2):
        assert "in use" in refused(url, new_url("sqlite"))
        apps[number].stop()
    copied(url, new_url("sqlite"))

    running = own(folder=tmp_path / "one", url=url)
    ann, ben = running.people(2, PASSWORD)
    with frozen(running.processes[0].pid):  # else it may be back first
        postgres.stop("immediate")
        postgres.start()
        alone = PostgresDatabase(url, 1, 1, exclusive=True)
        alone.claim()
    with pytest.raises(AssertionError, match="gochat: the database is in use by gochat copy"):
        own(url=url)
    with refused_call("UNAVAILABLE"):
        ann.send(ben.id)
    alone.close()
    once_available(lambda: ann.send(ben.id))  # it takes the server a moment to notice


def test_a_target_that_is_not_empty_or_foreign_is_refused(own: Own, new_url: NewUrl, kind: str) -> None:
    source, target = new_url("sqlite"), new_url(kind)
    app = own(url=source)
    app.create_user()
    app.stop()
    with opened(target) as cursor:
        cursor.execute("CREATE TABLE precious (n INTEGER)")
    assert refused(source, target) == "--to: is not empty, and not GoChat's"
    assert refused(target, source) == "--from: this is no GoChat database"
    assert list(rows_of(target)) == ["precious"]
    other = new_url(kind)
    copied(source, other)
    assert refused(source, other) == "--to: is not empty: it has users"


def test_a_source_of_another_schema_version_is_refused(new_url: NewUrl, kind: str) -> None:
    source, target = new_url(kind), new_url("sqlite")
    made(source)
    with opened(source) as cursor:
        cursor.execute("SELECT max(version) FROM schema_migrations")
        ((latest,),) = cursor.fetchall()
        cursor.execute(f"DELETE FROM schema_migrations WHERE version = {latest}")
    older = f"--from: the database has schema version {latest - 1}, this program's is {latest}"
    assert refused(source, target) == f"{older}: run `gochat migrate` first"
    with opened(source) as cursor:
        cursor.execute(
            f"INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES ({latest + 1}, 'n', 'c', 0)"
        )
    newer = f"--from: the database has schema version {latest + 1}, this program's is {latest}"
    assert refused(source, target) == f"{newer}: run a newer one"
    assert not Path(target.removeprefix("sqlite:///")).exists()


def test_a_database_is_not_copied_onto_itself(new_url: NewUrl, tmp_path: Path) -> None:
    source, alias = new_url("sqlite"), tmp_path / "alias.db"
    made(source)
    alias.symlink_to(source.removeprefix("sqlite:///"))
    for target in (source, f"sqlite:///{alias}"):
        assert refused(source, target) == "--from and --to are the same database"
    url = new_url("postgres")
    made(url)
    assert refused(url, url).startswith("--to: the database is in use by another gochat process (")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:hunter2@h/n", "must be postgresql://... or sqlite:///FILE"),
        ("sqlite:///", "must be postgresql://... or sqlite:///FILE"),
        ("/data/gochat.db", "must be postgresql://... or sqlite:///FILE"),
        ("sqlite:////nowhere/gochat.db", "/nowhere/gochat.db is no file"),
        ("postgresql://u:hunter2@h/n?hunter2=x", "is no postgresql:// URL that libpq understands"),
        ("postgresql://u:hun%ter2@h/n", "is no postgresql:// URL that libpq understands"),
        ("postgresql://u:x@hunter2@127.0.0.1/n", "in a user name or password write @ as %40 and / as %2F"),
        ("postgresql://u:hunter2/x@127.0.0.1/n", "in a user name or password write @ as %40 and / as %2F"),
        ("postgresql://u:hunter2@127.0.0.1:1/n", 'connection to server at "127.0.0.1", port 1 failed'),
        ("postgresql://u:hunter2@127.0.0.1:port/n", 'invalid integer value "port" for connection option "port"'),
    ],
)
def test_wrong_urls_are_refused_without_showing_passwords(new_url: NewUrl, url: str, says: str) -> None:
    fine = new_url("sqlite")
    made(fine)
    refusals = [refused(url, fine), refused(fine, url)] if "nowhere" not in url else [refused(url, fine)]
    for side, text in zip(("--from", "--to"), refusals, strict=False):
        assert text.startswith(f"{side}: {says}")
        assert "hunter2" not in text


def test_a_file_that_is_no_database_is_refused(new_url: NewUrl, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("A letter, " * 1000)
    assert refused(f"sqlite:///{tmp_path}/letter", new_url("sqlite")) == "--from: file is not a database"
