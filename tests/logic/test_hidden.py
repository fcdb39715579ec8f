"""What a user has hidden stays hidden from them: until a newer message, which is still there, and in a group also when
they leave and come back."""

import threading

from tests.harness import Deployment, Person, as_service


def listed(person: Person) -> list[str]:
    answer = person.GetConversations()
    ids = [one.conversation_id for one in answer.conversations]
    assert answer.pagination.total == len(ids)
    unread = [one.conversation_id for one in person.GetUnreadMessages().conversations]
    assert set(unread) <= set(ids)
    return ids


def history(person: Person, conversation_id: str) -> list[str]:
    return [one.content for one in person.GetMessageHistory(conversation_id=conversation_id).messages]


def delete(app: Deployment, person: Person, message_id: str) -> None:
    as_service(app).repo.DeleteMessage(message_id=message_id, user_id=person.id)


def test_a_conversation_whose_later_messages_are_gone(app: Deployment) -> None:
    ann, ben = app.people(2)
    conversation_id = ann.send(ben.id, "old").message_id.rpartition("-")[0]
    ben.DeleteConversation(conversation_id=conversation_id)
    later = [ann.send(ben.id, text).message_id for text in ("one", "two")]
    assert listed(ben) == [conversation_id]
    delete(app, ann, later[1])
    assert listed(ben) == [conversation_id]
    delete(app, ann, later[0])
    assert listed(ben) == []
    assert listed(ann) == [conversation_id]
    assert ben.GetUnreadMessages().total_count == 0
    ann.send(ben.id, "new")
    assert listed(ben) == [conversation_id]
    assert history(ben, conversation_id) == ["new"]
    assert ben.GetUnreadMessages().total_count == 1


def test_a_recalled_message_is_still_there(app: Deployment) -> None:
    ann, ben = app.people(2)
    conversation_id = ann.send(ben.id).message_id.rpartition("-")[0]
    ben.DeleteConversation(conversation_id=conversation_id)
    later = ann.send(ben.id).message_id
    as_service(app).repo.UpdateMessageStatus(message_id=later, user_id=ann.id, status=4)
    assert listed(ben) == [conversation_id]
    delete(app, ann, later)
    assert listed(ben) == []


def test_a_large_group_whose_later_messages_are_gone(app: Deployment) -> None:
    ann, ben, *others = app.people(12)
    group_id = ann.CreateGroup(name="g", member_ids=[ben.id, *(one.id for one in others)]).group_id
    ann.send(group_id)
    ben.DeleteConversation(conversation_id=group_id)
    delete(app, ann, ann.send(group_id).message_id)
    assert listed(ben) == []
    assert listed(others[0]) == [group_id]


def test_what_was_hidden_before_leaving(app: Deployment) -> None:
    ann, ben = app.people(2)
    group_id = ann.CreateGroup(name="g", member_ids=[ben.id]).group_id
    ann.send(group_id, "old")
    ben.DeleteConversation(conversation_id=group_id)
    ann.send(group_id, "later")
    ben.LeaveGroup(group_id=group_id)
    ben.JoinGroup(group_id=group_id)
    assert history(ben, group_id) == ["later"]
    ann.RemoveGroupMember(group_id=group_id, user_id=ben.id)
    ann.AddGroupMember(group_id=group_id, user_ids=[ben.id, app.person().id])
    assert history(ben, group_id) == ["later"]
    assert history(ann, group_id) == ["later", "old"]
    ben.DeleteConversation(conversation_id=group_id)
    ben.LeaveGroup(group_id=group_id)
    delete(app, ann, ann.send(group_id, "gone").message_id)
    as_service(app).repo.AddGroupMember(group_id=group_id, user_id=ben.id)
    assert listed(ben) == []
    ann.send(group_id, "new")
    assert (listed(ben), history(ben, group_id)) == ([group_id], ["new"])
    checked = app.run("check", check=False).stdout
    assert checked.startswith("clean: "), checked


def test_what_was_hidden_and_deleted_for_oneself_before_leaving(app: Deployment) -> None:
    """What is left after the hidden messages is one that the user has deleted for themselves alone."""
    ann, ben, cem = app.people(3)
    group_id = ann.CreateGroup(name="g", member_ids=[ben.id, cem.id]).group_id
    ann.send(group_id, "old")
    for person in (ben, cem):
        person.DeleteConversation(conversation_id=group_id)
    own, other = (ann.send(group_id, text).message_id for text in ("own", "other"))
    ben.DeleteMessage(message_id=own)
    for person in (ben, cem):
        person.LeaveGroup(group_id=group_id)
    delete(app, ann, other)
    ben.JoinGroup(group_id=group_id)
    cem.JoinGroup(group_id=group_id)
    assert (listed(ben), listed(cem), history(cem, group_id)) == ([], [group_id], ["own"])
    checked = app.run("check", check=False).stdout
    assert checked.startswith("clean: "), checked
    ann.send(group_id, "new")
    assert (listed(ben), history(ben, group_id)) == ([group_id], ["new"])


def test_hiding_and_deleting_together(app: Deployment) -> None:
    """In whichever order: in the end there is nothing to see."""
    ann, ben = app.people(2)
    conversation_id = ann.send(ben.id, "old").message_id.rpartition("-")[0]
    for _ in range(10):
        later = ann.send(ben.id).message_id
        acts = [
            threading.Thread(target=lambda: ben.DeleteConversation(conversation_id=conversation_id)),
            threading.Thread(target=lambda later=later: delete(app, ann, later)),
        ]
        for act in acts:
            act.start()
        for act in acts:
            act.join()
        assert listed(ben) == []
