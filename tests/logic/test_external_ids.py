"""External ids: wherever a service names a user, external:<id> does."""

from typing import Any

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.domain import forms
from gochat.errors import ChatError
from gochat.services import SERVICES, Audience, rpcs
from gochat.serving import external
from tests.harness import Deployment, Person, as_service, fresh, refused


class Known:
    """Two people with external ids."""

    def __init__(self, app: Deployment) -> None:
        self.alice, self.bob = app.people(2)
        self.service = as_service(app)
        for person in (self.alice, self.bob):
            self.service.user.SetExternalId(user_id=person.id, external_id=f"id of {person.id}")

    @staticmethod
    def name(person: Person) -> str:
        return f"external:id of {person.id}"


def test_in_fields_of_requests(app: Deployment) -> None:
    known = Known(app)
    alice, bob, service, name = known.alice, known.bob, known.service, known.name
    sent = service.logic.SendMessage(from_user_id=name(alice), to_user_id=name(bob), content="hello")
    conversation_id = sent.message_id.rpartition("-")[0]
    (message,) = bob.GetMessageHistory(conversation_id=conversation_id).messages
    assert message.from_user_id == alice.id
    assert service.logic.GetUserProfile(user_id=name(bob)).profile.user_id == bob.id
    assert app.person(admin=True).GetUserProfile(user_id=name(bob)).profile.user_id == bob.id
    assert service.conversation.OpenDirect(user_id=name(bob), peer_user_id=name(alice)).conversation
    group_id = service.logic.CreateGroup(owner_id=name(alice), name="Ours", member_ids=[name(bob)]).group_id
    assert bob.GetGroupInfo(group_id=group_id).group.owner_id == alice.id
    assert [each.user_id for each in service.repo.GetUsers(user_ids=[bob.id, name(alice)]).users] == [bob.id, alice.id]
    assert service.repo.GetUser(user_id=name(alice)).user.user_id == alice.id
    assert {event.target_id for event in app.events(user_id=name(alice))} >= {alice.id}
    mentioning = {"mentions": f"{bob.id},{name(alice)}"}
    sent = service.logic.SendMessage(from_user_id=bob.id, conversation_id=group_id, content="x", metadata=mentioning)
    (newest,) = alice.ListMessages(conversation_id=group_id, limit=1).messages
    assert list(newest.mentioned_user_ids) == [bob.id, alice.id]
    edited = service.message.EditMessage(message_id=sent.message_id, content="y", mentions=f"{name(alice)},{bob.id}")
    assert set(edited.message.mentioned_user_ids) == {bob.id, alice.id}
    with refused("NOT_FOUND", "mentions[0]"):
        service.message.EditMessage(message_id=sent.message_id, content="y", mentions="external:nobody")


def test_an_id_that_nobody_has(app: Deployment) -> None:
    known = Known(app)
    with refused("NOT_FOUND", "to_user_id", "USER_NOT_FOUND"):
        known.service.logic.SendMessage(from_user_id=known.alice.id, to_user_id="external:nobody", content="x")
    with refused("NOT_FOUND", "member_ids[1]"):
        known.service.logic.CreateGroup(
            owner_id=known.alice.id, name="x", member_ids=[known.name(known.bob), "external:nobody"]
        )
    for value in ("external:", "external:a\nb", f"external:{'x' * 129}"):
        with refused("INVALID_ARGUMENT", "user_id"):
            known.service.repo.GetUser(user_id=value)
    with refused("INVALID_ARGUMENT", "user_ids"):
        known.service.repo.GetUsers(user_ids=["external:nobody"] * 1001)
    # It is compared as it is, byte by byte.
    for value in (known.name(known.bob).upper(), known.name(known.bob) + " "):
        with refused("NOT_FOUND", "user_id"):
            known.service.repo.GetUser(user_id=value)


def test_each_message_of_a_batch_has_its_own(app: Deployment) -> None:
    known = Known(app)
    messages = [
        logic_pb2.SendMessageRequest(from_user_id=known.name(known.alice), to_user_id=to, content="x")
        for to in (known.name(known.bob), "external:nobody", f"external:{'x' * 129}", known.bob.id)
    ]
    results = known.service.message.SendMessages(messages=messages).results
    assert [bool(each.message_id) for each in results] == [True, False, False, True]
    assert results[1].error.details["reason"] == "NO_USER_ID"
    assert "messages[1].to_user_id" in results[1].error.details


def test_users_have_no_external_ids(app: Deployment) -> None:
    known = Known(app)
    alice, bob = known.alice, known.bob
    for who in (alice, app.acting(alice)):
        with refused("INVALID_ARGUMENT", "to_user_id", "NO_USER_ID") as there:
            who.SendMessage(to_user_id=known.name(bob), content="x")
        with refused("INVALID_ARGUMENT", "to_user_id", "NO_USER_ID") as missing:
            who.SendMessage(to_user_id="external:nobody", content="x")
        assert there.message == missing.message  # it tells nobody which ids there are
        with refused("INVALID_ARGUMENT", "user_id"):
            who.GetUserProfile(user_id=known.name(bob))
        with refused("INVALID_ARGUMENT", "metadata[mentions][0]"):
            who.SendMessage(to_user_id=bob.id, content="x", metadata={"mentions": known.name(bob)})


def test_no_answer_has_one(app: Deployment) -> None:
    known = Known(app)
    profile = known.service.logic.GetUserProfile(user_id=known.name(known.bob))
    assert "id of" not in str(profile)
    assert "id of" not in str(known.service.repo.GetUser(user_id=known.bob.id))


def test_an_id_that_moves_is_followed_at_once(app: Deployment) -> None:
    known, moving = Known(app), fresh("moving-")
    for person in (known.alice, known.bob):
        known.service.user.SetExternalId(user_id=person.id, external_id=moving)
        assert known.service.repo.GetUser(user_id=f"external:{moving}").user.user_id == person.id
        known.service.user.SetExternalId(user_id=person.id, external_id="")


def requests() -> dict[str, Any]:
    return {
        rpc.input_type.full_name: rpc.input_type
        for rpc in rpcs(each for each in SERVICES if each.audience is not Audience.INTERNAL).values()
    }


@pytest.mark.parametrize("request_type", list(requests()))
def test_the_look_up_and_the_forms_know_the_same_fields(request_type: str) -> None:
    """One that the form alone knows would take no external ids; one that the look-up alone knows would be taken for a
    user id by the handler."""
    looked_up = {field.name for field in external._fields(requests()[request_type])} - {"messages", "users"}
    assert looked_up == {name for name, rule, _ in forms.form_of(requests()[request_type]) if takes_users(name, rule)}


def takes_users(name: str, rule: Any) -> bool:
    for value in ("external:x", ["external:x"], {"mentions": "external:x"}):
        try:
            rule(name, value)
        except ChatError as error:
            if error.reason == "NO_USER_ID":
                return True
        except (AttributeError, TypeError, ValueError):  # the rule of a field of another type
            continue
    return False
