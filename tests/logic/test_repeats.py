"""A send that is repeated with its client_msg_id gets the first answer, whatever has changed since."""

from collections.abc import Callable

import pytest

from tests.harness import Deployment, Person, as_service, refused

KEY = {"client_msg_id": "k"}


def leave(owner: Person, sender: Person, where: str) -> None:  # noqa: ARG001 - as the others
    sender.LeaveGroup(group_id=where)


def remove(owner: Person, sender: Person, where: str) -> None:
    owner.RemoveGroupMember(group_id=where, user_id=sender.id)


def dissolve(owner: Person, sender: Person, where: str) -> None:
    sender.LeaveGroup(group_id=where)
    owner.LeaveGroup(group_id=where)


@pytest.mark.parametrize("end", [leave, remove, dissolve])
def test_after_the_sender_is_out_of_the_group(app: Deployment, end: Callable[[Person, Person, str], None]) -> None:
    ann, ben = app.people(2)
    group_id = ann.CreateGroup(name="g", member_ids=[ben.id]).group_id
    first = ben.send(group_id, metadata=KEY)
    end(ann, ben, group_id)
    again = ben.send(group_id, metadata=KEY)
    assert (again.message_id, again.created_at) == (first.message_id, first.created_at)
    send = {"conversation_id": group_id, "content": "for your eyes only", "metadata": KEY}
    others = [send | {"content": "other"}, send | {"metadata": {"client_msg_id": "other"}}, send | {"metadata": {}}]
    results = ben.SendMessages(messages=[send, *others]).results
    assert [result.message_id for result in results] == [first.message_id, "", "", ""]
    refusal = "NOT_FOUND" if end is dissolve else "PERMISSION_DENIED"
    for other in others:
        with refused(refusal):
            ben.SendMessage(**other)
    with refused(refusal):
        ann.send(group_id, metadata=KEY) if end is dissolve else app.person().send(group_id, metadata=KEY)


def test_after_the_recipient_is_deleted(app: Deployment) -> None:
    ann, ben = app.people(2)
    first = ann.send(ben.id, metadata=KEY).message_id
    as_service(app).repo.UpdateUser(user_id=ben.id, status=3)
    assert ann.send(ben.id, metadata=KEY).message_id == first
    assert ann.send(first.rpartition("-")[0], metadata=KEY).message_id == first
    with refused("NOT_FOUND", "to_user_id"):
        ann.send(ben.id, metadata={"client_msg_id": "other"})
