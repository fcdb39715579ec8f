"""What a store keeps of what events say, and that a file of an earlier version still opens."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gochat.api.common.v1.common_pb2 import ConversationInfo, GroupMember, Message
from gochat.api.event.v1 import event_pb2 as pb
from gochat.api.message.v1.message_pb2 import Forwarded, MessageDetail, MessagePreview, Pin, Reaction
from gochat.client import ids
from gochat.client.database import VERSION
from gochat.client.details import RECALLED
from gochat.client.store import Store

ROOM, ANN, BEN = "g1", "u-ann", "u-ben"
FIRST_VERSION = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE conversations (conversation_id TEXT PRIMARY KEY, delivered_seq INTEGER NOT NULL DEFAULT 0, state BLOB);
CREATE TABLE messages (
    number INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    message BLOB NOT NULL,
    UNIQUE (conversation_id, seq)
);
CREATE TABLE outgoing (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    client_msg_id TEXT NOT NULL UNIQUE,
    request BLOB NOT NULL,
    failed TEXT NOT NULL DEFAULT ''
);
PRAGMA user_version = 1;
"""


@pytest.fixture
def store() -> Store:
    """Of Ben, in whose room Ann has said one, two, three; he has read one."""
    store = Store(None)
    for seq, content in enumerate(("one", "two", "three"), 1):
        apply(store, message_sent=pb.MessageSent(message=message(seq, content)))
    read = pb.PositionMoved(user_id=BEN, message_id=ids.join(ROOM, 1), unread_count=2)
    apply(store, read=read)
    return store


def message(seq: int, content: str, sender: str = ANN, status: int = 1, **metadata: str) -> Message:
    return Message(
        message_id=ids.join(ROOM, seq),
        conversation_id=ROOM,
        from_user_id=sender,
        content=content,
        status=status,
        created_at=seq,
        metadata=metadata,
    )


def apply(store: Store, **what: Any) -> None:
    store.apply(pb.Event(conversation_id=ROOM, **what), BEN)


def update(store: Store, changed: Message, edited_at: int = 0) -> None:
    apply(store, message_updated=pb.MessageUpdated(message=changed, edited_at=edited_at))


def detail(store: Store, seq: int) -> MessageDetail:
    found = store.message(ids.join(ROOM, seq))
    assert found
    return found


def unread(store: Store) -> int:
    state = store.state(ROOM)
    assert state
    return state.info.unread_count


def react(store: Store, user_id: str, count: int, *, added: bool = True, reaction: str = "👍") -> None:
    changed = pb.ReactionChanged(
        message_id=ids.join(ROOM, 2), user_id=user_id, reaction=reaction, added=added, count=count
    )
    apply(store, reaction_changed=changed)


def test_an_edit_keeps_what_belongs_to_the_message(store: Store) -> None:
    react(store, ANN, 1)
    update(store, message(2, "2", mentions=f"{BEN},{ANN}"), edited_at=77)
    found = detail(store, 2)
    assert (found.message.content, found.edited_at, found.reactions[0].count) == ("2", 77, 1)
    assert list(found.mentioned_user_ids) == [BEN, ANN]
    assert unread(store) == 2
    update(store, message(2, "2", mentions="all", status=3))
    found = detail(store, 2)
    assert (found.edited_at, found.mentions_all, list(found.mentioned_user_ids)) == (77, True, [])


def test_of_a_recalled_message_nothing_is_left(store: Store) -> None:
    react(store, ANN, 1)
    apply(store, message_sent=pb.MessageSent(message=message(4, "I agree", reply_to=ids.join(ROOM, 2))))
    assert detail(store, 4).reply.content == "two"
    gone = message(2, "", status=RECALLED)
    for _ in range(2):  # an event may come twice
        update(store, gone)
        assert detail(store, 2) == MessageDetail(message=gone)
        assert unread(store) == 2, "one, of which it was one, and the answer"
    assert (detail(store, 4).reply.content, detail(store, 4).reply.status) == ("", RECALLED)
    store.put_messages([message(2, "two")])
    store.put_details([MessageDetail(message=message(2, "two"))])
    assert detail(store, 2).message.content == "", "an answer that was under way does not bring it back"


def test_an_answer_shows_what_it_answers_as_it_is_now(store: Store) -> None:
    apply(store, message_sent=pb.MessageSent(message=message(4, "yes", reply_to=ids.join(ROOM, 3))))
    update(store, message(3, "3" * 300), edited_at=5)
    assert detail(store, 4).reply == MessagePreview(
        message_id=ids.join(ROOM, 3), from_user_id=ANN, content="3" * 200, status=1
    )
    apply(store, message_deleted=pb.MessageDeleted(message_id=ids.join(ROOM, 3)))
    assert not detail(store, 4).HasField("reply")
    apply(store, message_sent=pb.MessageSent(message=message(5, "x", reply_to="no id", forwarded_from="g-x")))
    assert not detail(store, 5).HasField("reply")


def test_a_message_that_is_deleted_is_gone(store: Store) -> None:
    for _ in range(2):
        apply(store, message_deleted=pb.MessageDeleted(message_id=ids.join(ROOM, 3)))
        assert [each.message.content for each in store.messages(ROOM, 0, 9)] == ["two", "one"]
        state = store.state(ROOM)
        assert state
        assert (state.info.last_message.content, state.info.unread_count) == ("two", 1)
    for seq in (1, 2):
        apply(store, message_deleted=pb.MessageDeleted(message_id=ids.join(ROOM, seq)))
    state = store.state(ROOM)
    assert state
    assert (state.info.last_message.message_id, state.info.unread_count) == ("", 0)


def test_reactions(store: Store) -> None:
    react(store, ANN, 1)
    react(store, BEN, 2)
    react(store, BEN, 2)
    react(store, ANN, 1, reaction=":ship-it:")
    expected = [
        Reaction(reaction="👍", count=2, mine=True, user_ids=[ANN, BEN]),
        Reaction(reaction=":ship-it:", count=1, user_ids=[ANN]),
    ]
    assert list(detail(store, 2).reactions) == expected
    react(store, BEN, 1, added=False)
    react(store, ANN, 0, added=False, reaction=":ship-it:")
    react(store, ANN, 0, added=False, reaction="🙈")
    assert list(detail(store, 2).reactions) == [Reaction(reaction="👍", count=1, user_ids=[ANN])]
    for number in range(20):
        react(store, f"u{number}", number + 2)
    (found,) = detail(store, 2).reactions
    assert (found.count, len(found.user_ids)) == (21, 10)


def test_pins(store: Store) -> None:
    changed = pb.PinChanged(message_id=ids.join(ROOM, 2), pin=Pin(user_id=ANN, pinned_at=9))
    apply(store, pin_changed=changed)
    assert detail(store, 2).pin.pinned_at == 9
    apply(store, pin_changed=pb.PinChanged(message_id=ids.join(ROOM, 2)))
    assert not detail(store, 2).HasField("pin")
    apply(store, pin_changed=pb.PinChanged(message_id=ids.join(ROOM, 99), pin=Pin(user_id=ANN)))
    assert store.message(ids.join(ROOM, 99)) is None


def test_what_is_forwarded_comes_from_where_it_was_said_first(store: Store) -> None:
    apply(store, message_sent=pb.MessageSent(message=message(4, "two", BEN, forwarded_from=ids.join(ROOM, 2))))
    apply(store, message_sent=pb.MessageSent(message=message(5, "two", forwarded_from=ids.join(ROOM, 4))))
    for seq in (4, 5):
        assert detail(store, seq).forwarded == Forwarded(from_user_id=ANN, created_at=2)


def test_settings_of_a_conversation(store: Store) -> None:
    settings = pb.ConversationSettings(muted_until=5, pinned_at=6, archived=True, marked_unread=True)
    apply(store, conversation_settings_updated=pb.ConversationSettingsUpdated(settings=settings))
    assert store.settings(ROOM) == settings
    apply(store, message_sent=pb.MessageSent(message=message(4, "from Ann")))
    assert store.settings(ROOM).marked_unread
    apply(store, message_sent=pb.MessageSent(message=message(5, "from Ben", BEN)))
    settings.marked_unread = False
    assert store.settings(ROOM) == settings, "what one sends marks it as read"
    apply(store, member_left=pb.MemberLeft(user_id=ANN))
    assert store.settings(ROOM) == settings
    apply(store, member_left=pb.MemberLeft(user_id=BEN))
    assert store.settings(ROOM) == pb.ConversationSettings()


def test_what_was_hidden_keeps_its_settings_but_for_the_mark(store: Store) -> None:
    settings = pb.ConversationSettings(pinned_at=6, marked_unread=True)
    apply(store, conversation_settings_updated=pb.ConversationSettingsUpdated(settings=settings))
    apply(store, conversation_hidden=pb.ConversationHidden())
    assert store.settings(ROOM) == pb.ConversationSettings(pinned_at=6)
    assert store.messages(ROOM, 0, 9) == []
    apply(store, member_joined=pb.MemberJoined(member=GroupMember(user_id=ANN)))
    assert store.state(ROOM) is None


def test_a_file_of_the_first_version_opens(tmp_path: Path) -> None:
    path, answer = tmp_path / "chat.db", message(2, "yes", BEN, reply_to=ids.join(ROOM, 1))
    state = pb.ConversationState(info=ConversationInfo(conversation_id=ROOM, name="Readers"))
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(FIRST_VERSION)
        database.execute("INSERT INTO settings VALUES ('user_id', ?), ('cursor', 'c')", (BEN,))
        database.execute("INSERT INTO conversations VALUES (?, 2, ?)", (ROOM, state.SerializeToString()))
        for number, each in enumerate((message(1, "one"), answer), 1):
            values = (ROOM, number, each.SerializeToString())
            database.execute("INSERT INTO messages (conversation_id, seq, message) VALUES (?, ?, ?)", values)
    for _ in range(2):
        store = Store(path)
        assert [each.message.content for each in store.messages(ROOM, 0, 9)] == ["yes", "one"]
        assert (store.get("user_id"), store.get("cursor"), store.delivered_seq(ROOM)) == (BEN, "c", 2)
        assert store.states() == [state]
        react(store, ANN, 1)
        assert detail(store, 2).reactions[0].count == 1
        store.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
