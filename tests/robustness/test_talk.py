"""What people do with messages and in a group, while all servers are killed again and again: what was acknowledged is
there, what was not is or is not, and streams that resume come to what is there."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import grpc
import pytest

from gochat.api.event.v1 import event_pb2
from tests.conftest import Own
from tests.conversations import group
from tests.harness import Person, new_connection
from tests.streams import Listener, scaled
from tests.waiting import polled

KILLS = scaled(4, 40)
ACTS_BETWEEN = 60  # that are acknowledged between two kills
MESSAGES, REACTIONS = 4, ("👍", "🎉", ":party:")
MAY_FAIL = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}

Key = tuple[str, ...]
State = dict[Key, Any]


class Acts:
    """What may be true of each thing: the value that was acknowledged last, and those of later acts without an answer.
    Only one thread acts on a thing."""

    def __init__(self, start: State) -> None:
        self.possible = {key: {value} for key, value in start.items()}
        self.acknowledged = 0
        self.strange: list[str] = []
        self._counting = threading.Lock()

    def act(self, key: Key, value: Any, call: Callable[[], object]) -> None:
        self.possible[key].add(value)
        try:
            call()
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            if error.code().name not in MAY_FAIL:
                self.strange.append(f"{key}: {error.code()} {error.details()}")
        except ValueError:  # of a channel that was closed
            pass
        else:
            self.possible[key] = {value}
            with self._counting:
                self.acknowledged += 1


def acts_of(person: Person, owner: Person, own: str, messages: list[str], room: str) -> list[Callable[[Acts], None]]:
    """Of one thread. own: a message of theirs."""
    dice = random.Random(person.username)

    def react(acts: Acts) -> None:
        message_id, reaction, adds = dice.choice(messages), dice.choice(REACTIONS), dice.random() < 0.5
        call = person.AddReaction if adds else person.RemoveReaction
        key = ("reaction", message_id, person.id, reaction)
        acts.act(key, adds, lambda: call(message_id=message_id, reaction=reaction))

    def edit(acts: Acts) -> None:
        text = f"{dice.random()}"
        acts.act(("text", own), text, lambda: person.EditMessage(message_id=own, content=text))

    def rename(acts: Acts) -> None:
        name = f"{dice.random()}"
        call = person.SetMemberNickname
        acts.act(("nickname", person.id), name, lambda: call(group_id=room, nickname=name))

    def archive(acts: Acts) -> None:
        is_archived = dice.random() < 0.5
        call = person.UpdateSettings
        acts.act(("archived", person.id), is_archived, lambda: call(conversation_id=room, archived=is_archived))

    def pin(acts: Acts) -> None:
        message_id, pins = dice.choice(messages), dice.random() < 0.5
        call = person.PinMessage if pins else person.UnpinMessage
        acts.act(("pin", message_id), pins, lambda: call(message_id=message_id))

    return [react, react, edit, rename, archive, *([pin] if person is owner else [])]


class Device:
    """Keeps all that a person is pushed, over streams one after the other."""

    def __init__(self, person: Person) -> None:
        self.person, self.events, self._cursor = person, list[event_pb2.Event](), ""
        self._listener: Listener | None = None

    def connect(self) -> None:
        channel = new_connection(self.person.app.address)
        self._listener = Listener(channel, self.person.metadata, event_pb2.SubscribeRequest(cursor=self._cursor))
        self._listener.ready()

    def disconnect(self) -> None:
        assert self._listener
        self._cursor = self._listener.close()
        assert not self._listener.resync
        self.events += self._listener.events

    def until(self, content: str) -> None:
        assert self._listener
        self._listener.until(lambda each: content in each.contents)

    def state(self) -> State:
        """Where the events lead."""
        found: State = {}
        for event in self.events:
            kind = event.WhichOneof("event")
            if kind == "reaction_changed":
                changed = event.reaction_changed
                found["reaction", changed.message_id, changed.user_id, changed.reaction] = changed.added
            elif kind == "message_updated":
                found["text", event.message_updated.message.message_id] = event.message_updated.message.content
            elif kind == "pin_changed":
                found["pin", event.pin_changed.message_id] = event.pin_changed.HasField("pin")
            elif kind == "member_detail_updated":
                detail = event.member_detail_updated.member
                found["nickname", detail.member.user_id] = detail.group_nickname
            elif kind == "conversation_settings_updated":
                found["archived", self.person.id] = event.conversation_settings_updated.settings.archived
        return found


def state_of(people: list[Person], messages: list[str], room: str) -> State:
    """What the server says."""
    reader, found = people[0], State()
    for message_id in messages:
        detail = reader.GetMessage(message_id=message_id).message
        found["text", message_id] = detail.message.content
        found["pin", message_id] = detail.HasField("pin")
        who = {reaction.reaction: set(reaction.user_ids) for reaction in detail.reactions}
        assert all(reaction.count == len(reaction.user_ids) > 0 for reaction in detail.reactions), detail
        for person, reaction in product(people, REACTIONS):
            found["reaction", message_id, person.id, reaction] = person.id in who.get(reaction, ())
    for member in reader.ListMembers(group_id=room).members:
        found["nickname", member.member.user_id] = member.group_nickname
    for person in people:
        shown = person.GetConversation(conversation_id=room).conversation
        found["archived", person.id] = shown.settings.archived
    return found


@pytest.mark.parametrize("mode", ["sqlite-colocated", "postgres-split"])
def test_acts_that_were_acknowledged_outlive_kills_and_are_pushed(own: Own, mode: str) -> None:
    app = own(mode)
    people = app.people(4)
    owner = people[0]
    room = group(*people)
    messages = [person.send(room, f"of {person.username}").message_id for person in people][:MESSAGES]
    start = state_of(people, messages, room)
    acts, over = Acts(start), threading.Event()
    devices = [Device(person) for person in people]

    def go_on(person: Person, own_message: str) -> None:
        todo, dice = acts_of(person, owner, own_message, messages, room), random.Random(person.id)
        while not over.is_set():
            dice.choice(todo)(acts)

    with ThreadPoolExecutor(len(people)) as pool:
        for device in devices:
            device.connect()
        acting = [pool.submit(go_on, *each) for each in zip(people, messages, strict=True)]
        try:
            for _ in range(KILLS):
                wanted = acts.acknowledged + ACTS_BETWEEN
                assert polled(lambda wanted=wanted: acts.acknowledged >= wanted, seconds=60)
                app.kill()
                for device in devices:
                    device.disconnect()
                app.start()
                for device in devices:
                    device.connect()
        finally:
            over.set()
        for each in acting:
            each.result()
    owner.send(room, "that is all")
    for device in devices:
        device.until("that is all")
        device.disconnect()
    now = state_of(people, messages, room)
    assert not acts.strange
    assert {key: now[key] for key, values in acts.possible.items() if now[key] not in values} == {}
    for device in devices:
        others = {key for key in now if key[0] == "archived" and key[1] != device.person.id}
        assert {key: value for key, value in (start | device.state()).items() if key not in others} == {
            key: value for key, value in now.items() if key not in others
        }
    checked = app.run("check", check=False)
    assert checked.returncode == 0, checked.stdout
