"""That the crash ledger sees it when devices are pushed too little, too much, or something else."""

import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import pytest

from gochat.api.event.v1 import event_pb2
from gochat.api.logic.v1 import logic_pb2
from tests.harness import bearer
from tests.robustness.__main__ import Robustness, robustness
from tests.robustness.clients import Client
from tests.robustness.ledger import RECALLED
from tests.robustness.people import Person
from tests.robustness.streams import Device, kind_of, message_of

SEED = 1
ONE, TWO, THREE, LISTENER = range(4)  # numbers of devices: three people who act, and one who only listens

GROUP, PAIR, USER = "group", "pair", "user"

Record = list[event_pb2.Event]
Harm = Callable[[Record], object]


@dataclass
class Past:
    """What has happened; all devices know of it. places: the group, the one-to-one conversation, and "" for users."""

    run: Robustness
    places: dict[str, str]

    def wrong(self) -> list[str]:
        return list(self.run.pushes.wrong())


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with robustness("sqlite", "kill", SEED, tmp_path_factory.mktemp("pushes"), clients=3) as run:
        group_id, pair_id = some_history(run)
        run.pushes.begin()
        yield Past(run, {GROUP: group_id, PAIR: pair_id, USER: ""})


def some_history(run: Robustness) -> tuple[str, str]:
    """A group and a one-to-one conversation in which something of each kind has happened."""
    one, two, three = (Client(run.ledger, person, run.cluster.service, "1") for person in run.people)
    ledger, everywhere, everybody = run.ledger, run.ledger.conversations, run.ledger.users
    request = logic_pb2.CreateGroupRequest(name="Past", member_ids=[two.person.user_id, three.person.user_id])
    group_id = one.person.stubs.logic.CreateGroup(request, metadata=bearer(one.person.token)).group_id
    ledger.conversations = {}
    ledger.add_group(group_id, one.person.user_id, (two.person.user_id, three.person.user_id))
    for act in (one.send, two.send_keyed, one.recall, three.join_or_leave, one.send, three.join_or_leave, one.rename):
        act()
    for act in (one.send, two.hide, one.send, one.send, two.read, two.read, three.read):
        act()
    group = ledger.conversations
    ledger.conversations, ledger.users = {}, [one.person.user_id]
    for act in (two.send_first, two.send_first, one.acknowledge, one.read):
        act()
    for _ in range(5):
        two.sign_in()
    (pair_id,) = ledger.conversations
    ledger.conversations, ledger.users = everywhere | group | ledger.conversations, everybody
    return group_id, pair_id


def lose(kind: str) -> Harm:
    """The last event of this kind."""
    return lambda record: record.pop(last(record, kind))


def repeat(kind: str) -> Harm:
    return lambda record: record.append(deepcopy(record[last(record, kind)]))


def last(record: Record, kind: str) -> int:
    return max(number for number, event in enumerate(record) if kind_of(event) == kind)


def swap_messages(record: Record) -> None:
    number = last(record, "message_sent")
    earlier = last(record[:number], "message_sent")
    record[number], record[earlier] = record[earlier], record[number]


def move_to_the_end(kind: str) -> Harm:
    return lambda record: record.append(record.pop(last(record, kind)))


def change_content(record: Record) -> None:
    record[last(record, "message_sent")].message_sent.message.content = "something else"


def bring_back(record: Record) -> None:
    """What was recalled."""
    message = record[last(record, "message_updated")].message_updated.message
    message.content, message.status = "something", 1


def count_wrongly(record: Record) -> None:
    record[last(record, "read")].read.unread_count += 1


HARMS: dict[str, tuple[int, str, Harm, str]] = {
    "a lost message": (TWO, GROUP, lose("message_sent"), "is not what others were pushed: lacking [('message_sent'"),
    "a lost message of the first": (ONE, GROUP, lose("message_sent"), "lacking ["),
    "a message twice": (TWO, GROUP, repeat("message_sent"), "is not what others were pushed"),
    "a message twice to the first": (ONE, GROUP, repeat("message_sent"), "sent were"),
    "messages out of order": (THREE, GROUP, swap_messages, "is not what others were pushed"),
    "other content": (TWO, GROUP, change_content, "which is Send"),
    "recalled content": (TWO, GROUP, bring_back, "which is Send"),
    "a lost recall": (ONE, GROUP, lose("message_updated"), "recalled were"),
    "a lost joining": (ONE, GROUP, lose("member_joined"), "pushed [('member_left'"),
    "a late joining": (ONE, GROUP, move_to_the_end("member_joined"), "and not after one of"),
    "a late leaving": (THREE, GROUP, move_to_the_end("member_left"), "or the order"),
    "a lost introduction": (TWO, GROUP, lambda record: record.pop(0), "before the conversation"),
    "a lost name": (ONE, GROUP, lose("group_updated"), "the group was renamed"),
    "a lost position": (TWO, GROUP, lose("read"), "read of"),
    "a position that moves back": (TWO, GROUP, repeat("read"), "moved backwards"),
    "a position before its message": (
        ONE,
        PAIR,
        lambda record: record.insert(0, record.pop(last(record, "read"))),
        "bef",
    ),
    "a lost delivery": (TWO, PAIR, lose("delivered"), "delivered of"),
    "a lost position of the other": (TWO, PAIR, lose("read"), "read of"),
    "a lost hiding": (TWO, GROUP, lose("conversation_hidden"), "was hidden 1 to 1 times"),
    "a wrong unread count": (THREE, GROUP, count_wrongly, "are unread, not"),
    "an event of nobody's": (TWO, USER, lambda record: record.append(event_pb2.Event()), "was pushed {'None'}"),
    "a lost end of a session": (TWO, USER, lose("session_ended"), "ended, did"),
}


def test_nothing_is_wrong_with_it(past: Past) -> None:
    assert past.wrong() == []


@pytest.mark.parametrize("harm", HARMS)
def test_the_check_finds_each_harm(past: Past, harm: str) -> None:
    number, where, do, expected = HARMS[harm]
    record = past.run.devices.all[number].record[past.places[where]]
    before = deepcopy(record)
    do(record)
    wrong = past.wrong()
    record[:] = before
    assert [problem for problem in wrong if expected in problem], wrong


def test_the_check_finds_what_somebody_was_pushed_who_is_no_member(past: Past) -> None:
    devices, group_id = past.run.devices.all, past.places[GROUP]
    devices[LISTENER].record[group_id].append(devices[ONE].record[group_id][-1])
    wrong = past.wrong()
    devices[LISTENER].record[group_id].clear()
    assert [problem for problem in wrong if "whose user was not a member" in problem], wrong


# What a device makes of what comes again.


def sent(seq: int, content: str, cursor: str = "", status: int = 1) -> event_pb2.SubscribeResponse:
    response = event_pb2.SubscribeResponse(cursor=cursor or f"after {seq}")
    message = response.batch.events.add(conversation_id="c").message_sent.message
    message.message_id, message.conversation_id, message.content, message.status = f"c-{seq}", "c", content, status
    return response


def recalled(seq: int, at: int) -> event_pb2.SubscribeResponse:
    response = event_pb2.SubscribeResponse(cursor=f"after the recall of {seq}")
    message = response.batch.events.add(conversation_id="c", at=at).message_updated.message
    message.message_id, message.conversation_id, message.status = f"c-{seq}", "c", RECALLED
    return response


@pytest.fixture
def device() -> Device:
    """It has had three messages, and resumes from the cursor after the first."""
    made = Device(Person("1", "somebody", "", None), [], threading.Event(), "device")  # type: ignore[arg-type]
    for seq in (1, 2, 3):
        made.take(sent(seq, f"content {seq}"), resumes=False)
    made.resume_from(made.marks[1])
    return made


def contents(device: Device) -> list[str]:
    return [message.content for event in device.record["c"] if (message := message_of(event))]


def test_what_comes_again_counts_once(device: Device) -> None:
    for seq in (2, 3, 4):
        device.take(sent(seq, f"content {seq}"), resumes=True)
    assert (device.problems, device.unrepeated()) == ([], [])
    assert contents(device) == ["content 1", "content 2", "content 3", "content 4"]


def test_what_was_recalled_meanwhile_comes_again_without_its_content(device: Device) -> None:
    device.take(sent(2, "", status=4), resumes=True)
    assert (device.problems, contents(device)) == ([], ["content 1", "", "content 3"])
    device.resume_from(device.marks[1])
    device.take(sent(2, "content 2"), resumes=True)
    assert "had been recalled" in device.problems[0]


@pytest.mark.parametrize(
    "pushed",
    [sent(3, "content 3"), sent(1, "content 1"), sent(2, "other")],
    ids=["a gap", "too early", "other content"],
)
def test_what_does_not_come_again_where_more_does_is_missed(
    device: Device, pushed: event_pb2.SubscribeResponse
) -> None:
    device.take(pushed, resumes=True)
    assert device.unrepeated()[0].message_sent.message.message_id == "c-2"


def test_what_was_withheld_comes_before_what_happened_after_it(device: Device) -> None:
    """Recalled were 1, withheld while the user was away, and then 2; once they are back, both come."""
    earlier, later = (recalled(seq, at) for seq, at in ((1, 5), (2, 6)))
    device.take(sent(2, "content 2"), resumes=True)
    device.take(sent(3, "content 3"), resumes=True)
    device.take(later, resumes=True)
    device.resume_from(device.marks[3])
    device.take(earlier, resumes=True)
    device.take(later, resumes=True)
    updated = [event.message_updated.message.message_id for event in device.record["c"][3:]]
    assert (device.problems, device.unrepeated(), updated) == ([], [], ["c-1", "c-2"])


def test_what_comes_again_must_be_the_same(device: Device) -> None:
    left = event_pb2.SubscribeResponse(cursor="after it")
    left.batch.events.add(conversation_id="c").member_left.user_id = "1"
    device.take(sent(2, "content 2"), resumes=True)
    device.take(sent(3, "content 3"), resumes=True)
    device.take(left, resumes=True)
    device.resume_from(device.marks[1])
    device.take(sent(4, "content 4"), resumes=True)
    assert "after it resumed" in device.problems[0]


def test_what_does_not_come_again_is_missed(device: Device) -> None:
    device.take(sent(2, "content 2"), resumes=True)
    assert [event.message_sent.message.message_id for event in device.unrepeated()] == ["c-3"]
