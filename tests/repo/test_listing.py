"""ListConversations against a model that reads everything, with pages that are read while people act."""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from typing import Any, NamedTuple

import pytest

from gochat.api.conversation.v1 import conversation_pb2 as pb
from gochat.api.event.v1 import event_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.errors import ChatError
from gochat.internal.change.v1 import change_pb2
from gochat.internal.conversation.v1 import conversation_pb2 as store_pb
from gochat.internal.message.v1 import message_pb2 as message_store_pb
from gochat.repo import details, inbox, receipts
from gochat.storage.database import Database, Tx
from gochat.storage.kept import Kept
from tests.repo.test_inbox import Chats, plan_by_index

FILTERS: list[dict[str, Any]] = [
    dict(item for part in parts for item in part.items())
    for parts in product(
        ({}, {"unread": True}),
        ({}, {"archived": True}, {"archived": False}),
        ({}, {"type": "single"}, {"type": "group"}),
        ({}, {"mentioned": True}),
        ({}, {"pinned": True}, {"pinned": False}),
    )
]


ODDS = {"NOT_A_PARTICIPANT", "ALREADY_A_MEMBER", "MEMBER_NOT_FOUND", "MESSAGE_NOT_FOUND"}
"""Why people who act at random are refused: who has left does not send, what is hidden is not deleted."""


class Known(NamedTuple):
    """What the model knows of one of the reader's conversations."""

    place: tuple[int, int, str]
    kind: str
    unread: int
    mentions: int
    settings: tuple[int, int, int, int]
    members: int

    def passes(self, wanted: dict[str, Any]) -> bool:
        _, pinned_at, archived, marked = self.settings
        return (
            (not wanted.get("unread") or self.unread > 0 or marked == 1)
            and wanted.get("archived", bool(archived)) == bool(archived)
            and wanted.get("type", self.kind) == self.kind
            and (not wanted.get("mentioned") or self.mentions > 0)
            and wanted.get("pinned", pinned_at > 0) == (pinned_at > 0)
        )


class Talk(Chats):
    """Ten people who also mention each other, and a reader with settings, who deletes messages for themselves."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.mentioning: list[tuple[str, str]] = []  # messages and their senders

    @property
    def conversations(self) -> list[str]:
        rows = self.database.read(
            lambda tx: tx.fetch_all("SELECT conversation_id FROM members WHERE user_id = ?", self.reader)
        )
        return sorted(conversation_id for (conversation_id,) in rows)

    def talk(self, dice: random.Random) -> None:
        if dice.random() < 0.5:
            self.act(dice)
            return
        where = dice.choice(self.conversations)
        match dice.randrange(6):
            case 0 | 1:
                self.mention(dice, where)
            case 2:
                self.withdraw(dice)
            case _:
                self.set(where, **self._some_settings(dice))

    def mention(self, dice: random.Random, where: str) -> None:
        others = self.database.read(
            lambda tx: tx.fetch_all(
                "SELECT m.user_id, c.type FROM members m JOIN conversations c ON c.conversation_id = m.conversation_id"
                " WHERE m.conversation_id = ? AND m.user_id <> ? ORDER BY m.user_id",
                *(where, self.reader),
            )
        )
        if not others:
            return
        (sender, kind), *_ = dice.sample(others, 1)
        mentioned = dice.choice((self.reader, "all" if kind == "single" else sender, others[0][0]))
        send = {"conversation_id": where, "from_user_id": sender, "metadata": {"mentions": mentioned}}
        message_id = self.do.CreateMessage(repo_pb2.CreateMessageRequest(content="x", **send)).message_id
        self.mentioning.append((message_id, sender))
        if kind == "group" and dice.random() < 0.3:  # as a manager mentions all
            seq = int(message_id.rpartition("-")[2])

            def mention_all(tx: Tx) -> None:
                tx.sql("DELETE FROM mentions WHERE conversation_id = ? AND seq = ?", where, seq)
                tx.sql("INSERT INTO mentions VALUES (?, '', ?)", where, seq)

            self.database.write(mention_all)

    def withdraw(self, dice: random.Random) -> None:
        """Recalled by the sender, or deleted by the reader for themselves."""
        if self.mentioning:
            message_id, sender = self.mentioning.pop(dice.randrange(len(self.mentioning)))
            recall = repo_pb2.UpdateMessageStatusRequest(message_id=message_id, user_id=sender, status=4)
            delete = message_store_pb.DeleteMessageRequest(user_id=self.reader, request={"message_id": message_id})
            dice.choice((lambda: self.do.UpdateMessageStatus(recall), lambda: self.do.DeleteMessage(delete)))()

    @staticmethod
    def _some_settings(dice: random.Random) -> dict[str, Any]:
        return {
            name: dice.choice(values)
            for name, values in {
                "muted_until": (0, 5, 2**63 - 1),
                "pinned": (True, False),
                "archived": (True, False),
                "marked_unread": (True, False),
            }.items()
            if dice.random() < 0.5
        }

    def set(self, where: str, **settings: Any) -> None:
        request = {"conversation_id": where, **settings}
        answer = self.do.UpdateSettings(store_pb.UpdateSettingsRequest(user_id=self.reader, request=request)).settings
        for name, value in settings.items():
            is_as_asked = (answer.pinned_at > 0) if name == "pinned" else getattr(answer, name)
            assert is_as_asked == value

    def known(self) -> dict[str, Known]:
        """By reading everything."""
        rows = self.database.read(
            lambda tx: tx.fetch_all(
                "SELECT c.conversation_id, c.type, c.updated_at, c.member_count, m.quiet_until, m.pinned_at,"
                " m.archived, m.marked_unread, (SELECT COUNT(*) FROM messages l"
                "  WHERE l.conversation_id = c.conversation_id AND l.seq > m.read_seq AND l.status < 4 AND"
                "  NOT EXISTS (SELECT 1 FROM own_deletions o WHERE (o.conversation_id, o.seq, o.user_id) ="
                "   (l.conversation_id, l.seq, m.user_id))),"
                " (SELECT COUNT(*) FROM mentions n WHERE n.conversation_id = c.conversation_id AND n.seq > m.read_seq"
                "  AND (n.user_id = m.user_id OR n.user_id = '') AND n.seq NOT IN (SELECT o.seq FROM own_deletions o"
                "   WHERE o.conversation_id = n.conversation_id AND o.user_id = m.user_id))"
                " FROM members m JOIN conversations c ON c.conversation_id = m.conversation_id"
                " WHERE m.user_id = ? AND c.last_seq > m.hidden_seq",
                self.reader,
            )
        )
        return {
            row[0]: Known(
                (row[5], 0 if row[5] else row[2], row[0]),
                row[1],
                row[8],
                row[9],
                (row[4], row[5], row[6], row[7]),
                row[3],
            )
            for row in rows
        }

    def expected(self, **wanted: Any) -> list[str]:  # type: ignore[override]
        passing = [known for known in self.known().values() if known.passes(wanted)]
        return [known.place[2] for known in sorted(passing, reverse=True)]

    def page(self, **wanted: Any) -> pb.ListConversationsResponse:
        request = store_pb.ListConversationsRequest(user_id=self.reader, request=wanted)
        answer: pb.ListConversationsResponse = self.do.ListConversations(request)
        return answer

    def pages(self, **wanted: Any) -> Iterator[pb.ListConversationsResponse]:
        answer = self.page(**wanted)
        yield answer
        while answer.next_page_token:
            answer = self.page(**wanted, page_token=answer.next_page_token)
            yield answer

    def found(self, **wanted: Any) -> list[pb.ConversationDetail]:
        return [detail for page in self.pages(**wanted) for detail in page.conversations]


def ids_of(found: list[pb.ConversationDetail]) -> list[str]:
    return [detail.state.info.conversation_id for detail in found]


def act(talk: Talk, dice: random.Random) -> None:
    try:
        talk.talk(dice)
    except ChatError as refused:
        assert refused.reason in ODDS, refused


@pytest.mark.parametrize("seed", range(2))
def test_lists_equal_the_model_under_all_filters(database: Database, seed: int) -> None:
    talk, dice = Talk(database), random.Random(seed)
    for _ in range(5):
        for _ in range(40):
            act(talk, dice)
        known = talk.known()
        for wanted in FILTERS:
            expected = talk.expected(**wanted)
            assert ids_of(talk.found(**wanted, limit=200)) == expected, wanted
            assert ids_of(talk.found(**wanted, limit=3)) == expected, wanted
        states = states_of(talk)
        for detail in talk.found(limit=200):
            one = known[detail.state.info.conversation_id]
            assert detail.state == states[one.place[2]]
            assert (detail.state.info.unread_count, detail.unread_mentions) == (one.unread, one.mentions)
            shown = detail.settings
            assert (shown.muted_until, shown.pinned_at, shown.archived, shown.marked_unread) == one.settings
            assert detail.member_count == one.members
            assert detail.peer.user_id == detail.state.peer_user_id
            single = store_pb.GetConversationRequest(
                user_id=talk.reader, request={"conversation_id": detail.state.info.conversation_id}
            )
            assert talk.do.GetConversation(single).conversation == detail


def states_of(talk: Talk) -> dict[str, event_pb2.ConversationState]:
    answer = talk.do.ListStates(change_pb2.ListStatesRequest(user_id=talk.reader, limit=500))
    return {state.info.conversation_id: state for state in answer.conversations}


@pytest.mark.parametrize("seed", range(3))
def test_what_stays_comes_once_while_others_move(database: Database, seed: int) -> None:
    talk, dice = Talk(database), random.Random(seed)
    for _ in range(60):
        act(talk, dice)
    for wanted in ({}, {"archived": False}, {"type": "group"}, {"unread": True}, {"pinned": False}):
        for _ in range(4):
            snapshots, listed = [talk.known()], list[str]()
            for page in talk.pages(**wanted, limit=2):
                listed += ids_of(list(page.conversations))
                for _ in range(3):
                    act(talk, dice)
                    snapshots.append(talk.known())
            for conversation_id in snapshots[0]:
                seen = [snapshot.get(conversation_id) for snapshot in snapshots]
                stays = all(one and one.passes(wanted) and one.place == seen[0].place for one in seen if seen[0])
                sank = any(one and other and other.place < one.place for one, other in pairwise(seen))
                assert listed.count(conversation_id) == 1 or not stays
                assert listed.count(conversation_id) <= 1 or sank


TAMPER: list[Callable[[str], str]] = [
    lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
    lambda token: ("A" if token[0] != "A" else "B") + token[1:],
    lambda token: token[:20] + token[21:],
    lambda token: token + "A",
    lambda token: token + "=",
    lambda token: "!" + token,
    lambda token: token * 2,
    lambda _: "x",
    lambda _: "WzAsMCwiIl0",
    lambda _: "é",
]


@pytest.mark.parametrize("tamper", TAMPER)
def test_a_token_is_good_for_one_list_alone_and_made_by_nobody_else(
    database: Database, tamper: Callable[[str], str]
) -> None:
    talk = Talk(database)
    token = talk.page(limit=2).next_page_token
    assert talk.page(limit=5, page_token=token).conversations
    other = store_pb.ListConversationsRequest(user_id=talk.people[1], request={"page_token": token})
    wrong: list[Callable[[], Any]] = [
        lambda: talk.page(page_token=tamper(token)),
        lambda: talk.do.ListConversations(other),
        *(lambda wanted=wanted: talk.page(page_token=token, **wanted) for wanted in FILTERS[1:]),  # type: ignore[misc]
    ]
    for call in wrong:
        with pytest.raises(ChatError) as refused:
            call()
        assert (refused.value.reason, list(refused.value.fields)) == ("BAD_CURSOR", ["page_token"])


def test_pages_have_50_unless_asked_and_at_most_200_within_4_mib(database: Database) -> None:
    talk = Talk(database)
    for number in range(250):
        talk.groups.append(talk._group(2))
        if number % 2:
            metadata = {"x": "y" * 4000}
            talk.do.CreateMessage(
                repo_pb2.CreateMessageRequest(
                    conversation_id=talk.groups[-1], from_user_id=talk.reader, content="x" * 2**14, metadata=metadata
                )
            )
    assert len(talk.page().conversations) == 50
    for limit in (-1, 201):
        with pytest.raises(ChatError) as refused:
            talk.page(limit=limit)
        assert list(refused.value.fields) == ["limit"]
    assert ids_of(talk.found(limit=200)) == talk.expected()
    for group in talk.groups:
        talk.do.CreateMessage(
            repo_pb2.CreateMessageRequest(
                conversation_id=group, from_user_id=talk.reader, content="é" * 2**13, metadata={"x": "y" * 4000}
            )
        )
    sizes = [page.ByteSize() for page in talk.pages(limit=200)]
    assert max(sizes) < 2**22
    assert ids_of(talk.found(limit=200)) == talk.expected()


def test_the_list_of_nobody_is_refused(database: Database) -> None:
    talk = Talk(database)
    with pytest.raises(ChatError) as refused:
        talk.do.ListConversations(store_pb.ListConversationsRequest(user_id="u" * 20))
    assert refused.value.reason == "USER_NOT_FOUND"


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (details._DETAIL, ("c", "u")),
        (receipts._MEMBER_COUNT, ("c",)),
        (receipts._LISTED, (1, 1, "c", "u", 5, 1)),
        (receipts._COUNTED, (1, "c", "u", 5, 1)),
        (inbox.PAGE, ("u", "", -1, 0, 0, 9, "", 9, "", 51)),
        (inbox.PAGE, ("u", "single", 1, 1, 1, 9, "", 9, "", 51)),
    ],
)
def test_no_list_reads_all_of_a_growing_table(
    database: Database, dialect: str, statement: str | Kept, parameters: tuple[object, ...]
) -> None:
    plan_by_index(database, dialect, statement, parameters)
