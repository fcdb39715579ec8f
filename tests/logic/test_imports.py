"""ImportMessages: what people wrote elsewhere, at the times at which they did."""

import time
from typing import Any

import pytest

from gochat.internal.store.v1 import store_pb2
from gochat.storage.models import MAX_INBOX_MEMBERS
from tests.conversations import group, history, single, unread
from tests.harness import Deployment, Person, as_service, fresh, refused
from tests.streams import listening

LONG_AGO = 1_500_000_000_000  # milliseconds


def entry(sender: Person, number: int, **fields: Any) -> dict[str, Any]:
    given = {"import_id": f"id{number}", "content": f"m{number}", "created_at": LONG_AGO + number}
    return {"from_user_id": sender.id} | given | fields


def imported(app: Deployment, conversation_id: str, *messages: dict[str, Any], **fields: Any) -> Any:
    return as_service(app).message.ImportMessages(conversation_id=conversation_id, messages=messages, **fields).results


def reasons(results: Any) -> list[str]:
    return [each.error.details["reason"] or ("repeated" if each.repeated else "stored") for each in results]


def listed(person: Person, conversation_id: str) -> Any:
    return person.ListMessages(conversation_id=conversation_id).messages


def test_messages_have_the_times_at_which_they_were_written(app: Deployment) -> None:
    ann, ben = app.people(2)
    for where in (group(ann, ben), single(ann, ben)):
        results = imported(app, where, *(entry((ann, ben)[n % 2], n, metadata={"from": "there"}) for n in range(5)))
        assert reasons(results) == ["stored"] * 5
        found = history(ann, where)
        assert [(each.content, each.created_at) for each in found] == [(f"m{n}", LONG_AGO + n) for n in range(5)]
        assert [each.message_id for each in found] == [each.message_id for each in results]
        assert found[0].metadata == {"from": "there", "client_msg_id": "id0"}
        assert {each.updated_at - each.created_at for each in found} == {0}


def test_a_repeat_stores_nothing_twice_and_goes_on(app: Deployment) -> None:
    ann, ben = app.people(2)
    where = group(ann, ben)
    first = imported(app, where, *(entry(ann, n) for n in range(3)))
    again = imported(app, where, *(entry(ann, n) for n in range(5)))
    assert reasons(again) == ["repeated"] * 3 + ["stored"] * 2
    assert [each.message_id for each in again[:3]] == [each.message_id for each in first]
    twice = imported(app, where, entry(ann, 5), entry(ann, 5), entry(ben, 5), entry(ann, 5, content="other"))
    assert reasons(twice) == ["stored", "repeated", "stored", "CLIENT_MSG_ID_REUSED"]
    assert reasons(imported(app, where, entry(ann, 0, content="other"))) == ["CLIENT_MSG_ID_REUSED"]
    assert [each.content for each in history(ann, where)] == ["m0", "m1", "m2", "m3", "m4", "m5", "m5"]


def test_replies_edits_and_reactions_come_with_a_message(app: Deployment) -> None:
    ann, ben = app.people(2)
    where = group(ann, ben)
    thumbs = [
        {"user_id": ann.id, "reaction": "👍"},
        {"user_id": ben.id, "reaction": "👍", "created_at": LONG_AGO + 9},
        {"user_id": ben.id, "reaction": "👍"},
        {"user_id": ben.id, "reaction": ":ship-it:"},
    ]
    first, second = imported(
        app, where, entry(ann, 0, edited_at=LONG_AGO + 50), entry(ben, 1, reply_to="id0", reactions=thumbs)
    )
    (third,) = imported(app, where, entry(ann, 2, reply_to=second.message_id))
    shown = listed(ben, where)
    assert (shown[0].edited_at, shown[0].message.updated_at) == (LONG_AGO + 50,) * 2
    assert [each.reply.message_id for each in shown] == ["", first.message_id, second.message_id]
    assert shown[1].message.metadata["reply_to"] == first.message_id
    assert [(each.reaction, each.count, each.mine) for each in shown[1].reactions] == [
        ("👍", 2, True),
        (":ship-it:", 1, True),
    ]
    reactions = ann.ListReactions(message_id=second.message_id).reactions
    assert [each.created_at for each in reactions] == [LONG_AGO + 1, LONG_AGO + 9, LONG_AGO + 1]
    assert third.message_id == shown[2].message.message_id
    ann.AddReaction(message_id=second.message_id, reaction="🚀")
    assert reasons(imported(app, where, entry(ben, 1, reactions=thumbs))) == ["repeated"]
    assert len(ann.ListReactions(message_id=second.message_id).reactions) == 4


@pytest.mark.parametrize("members", [2, MAX_INBOX_MEMBERS + 1])
def test_what_is_imported_is_read_unless_somebody_had_not_read_what_was_before(app: Deployment, members: int) -> None:
    ann, ben, *others = app.people(members)
    where = group(ann, ben, *others)
    imported(app, where, *(entry(ann, n) for n in range(3)))
    assert [unread(person, where) for person in (ann, ben, *others)] == [0] * members
    imported(app, where, entry(ann, 3), entry(ann, 4), unread=True)
    assert [unread(person, where) for person in (ann, ben)] == [0, 2]
    ann.send(where)
    imported(app, where, entry(ann, 5), any_order=True)
    assert [unread(person, where) for person in (ann, ben)] == [0, 4]
    ben.MarkMessageRead(conversation_id=where, message_id=history(ben, where)[-1].message_id)
    imported(app, where, entry(ann, 6), any_order=True)
    assert [unread(person, where) for person in (ann, ben, *others[:1])] == [0, 0, 5][:members]


def test_conversations_are_listed_by_the_times_of_what_was_imported(app: Deployment) -> None:
    ann, ben = app.people(2)
    old, older, live = group(ann, ben), group(ann, ben), group(ann, ben)
    ann.send(live)
    imported(app, old, entry(ben, 1_000), entry(ben, 2_000))
    imported(app, older, entry(ben, 500))
    imported(app, live, entry(ben, 3_000), any_order=True)
    shown = ann.GetConversations().conversations
    assert [each.conversation_id for each in shown] == [live, old, older]
    assert [each.updated_at for each in shown[1:]] == [LONG_AGO + 2_000, LONG_AGO + 500]
    assert shown[0].updated_at > LONG_AGO + 10_000
    imported(app, older, entry(ben, 4_000))
    assert [each.conversation_id for each in ann.GetConversations().conversations] == [live, older, old]


def test_what_is_older_than_what_is_there_is_refused_or_stored_behind_it(app: Deployment) -> None:
    ann, ben = app.people(2)
    where = group(ann, ben)
    results = imported(app, where, entry(ann, 5), entry(ann, 4), entry(ann, 5, import_id="same time"), entry(ann, 6))
    assert reasons(results) == ["stored", "OUT_OF_ORDER", "stored", "stored"]
    assert "messages[1].created_at" in results[1].error.details
    ann.send(where, "live")
    assert reasons(imported(app, where, entry(ann, 7))) == ["OUT_OF_ORDER"]
    assert reasons(imported(app, where, entry(ann, 4), entry(ann, 6), entry(ann, 3), any_order=True)) == [
        *("stored", "repeated", "stored")
    ]
    assert [each.content for each in history(ben, where)] == ["m5", "m5", "m6", "live", "m4", "m3"]


def test_senders_may_have_left_or_be_disabled_or_muted(app: Deployment) -> None:
    ann, ben, cem, dan = app.people(4)
    where = group(ann, ben, dan, name="g")
    ann.UpdateGroupSettings(group_id=where, posting=2, slow_mode_seconds=60)
    ann.MuteMember(group_id=where, user_id=ben.id, until=int(time.time() * 1000) + 3_600_000)
    as_service(app).user.DisableUser(user_id=dan.id)
    assert reasons(imported(app, where, *(entry(each, n) for n, each in enumerate((ann, ben, cem, dan, ben))))) == [
        *["stored"] * 5
    ]
    with refused("PERMISSION_DENIED"):
        cem.GetMessageHistory(conversation_id=where)
    pair = single(ann, ben)
    assert reasons(imported(app, pair, entry(cem, 0), entry(ben, 1))) == ["NOT_A_PARTICIPANT", "stored"]
    ann.UpdateGroupSettings(group_id=where, posting=1)
    ann.MuteMember(group_id=where, user_id=ben.id)
    ben.send(where)  # slow mode does not count what was imported


def test_each_that_is_refused_says_why_and_the_others_are_stored(app: Deployment) -> None:
    ann, ben, gone = app.people(3)
    where, other = group(ann, ben), group(ann, ben)
    elsewhere = ann.send(other).message_id
    as_service(app).user.DeleteUser(user_id=gone.id)
    future = int(time.time() * 1000) + 3_600_000
    reaction = {"user_id": ann.id, "reaction": "👍"}
    kinds = [reaction | {"reaction": f":r{number}:"} for number in range(51)]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"import_id": ""}, "import_id"),
        ({"import_id": "x" * 129}, "import_id"),
        ({"content": ""}, "content"),
        ({"content": "x" * 16385}, "content"),
        ({"content": "a\0b"}, "content"),
        ({"message_type": "poem"}, "message_type"),
        ({"created_at": 0}, "created_at"),
        ({"created_at": -1}, "created_at"),
        ({"created_at": 2**63 - 1}, "created_at"),
        ({"created_at": future}, "created_at"),
        ({"edited_at": future}, "edited_at"),
        ({"from_user_id": ""}, "from_user_id"),
        ({"from_user_id": "nobody"}, "from_user_id"),
        ({"from_user_id": "external:nobody"}, "from_user_id"),
        ({"from_user_id": gone.id}, "from_user_id"),
        ({"reply_to": "later"}, "reply_to"),
        ({"reply_to": "self", "import_id": "self"}, "reply_to"),
        ({"reply_to": elsewhere}, "reply_to"),
        ({"metadata": {"mentions": "all"}}, "metadata[mentions]"),
        ({"metadata": {"client_msg_id": "x"}}, "metadata[client_msg_id]"),
        ({"reactions": [reaction | {"user_id": "nobody"}]}, "reactions[0].user_id"),
        ({"reactions": [reaction, reaction | {"reaction": "no"}]}, "reactions[1].reaction"),
        ({"reactions": [reaction | {"created_at": -1}]}, "reactions[0].created_at"),
    ]
    messages = [entry(ann, n, **{"import_id": f"w{n}"} | fields) for n, (fields, _) in enumerate(wrong)]
    results = imported(app, where, *messages, entry(ann, 90, reactions=kinds), entry(ann, 99, import_id="later"))
    assert reasons(results)[-2:] == ["TOO_MANY_REACTIONS", "stored"]
    for number, (fields, field) in enumerate(wrong):
        assert f"messages[{number}].{field}" in results[number].error.details, (fields, results[number])
    assert [each.content for each in history(ann, where)] == ["m99"]


def test_a_call_that_is_refused_as_a_whole(app: Deployment) -> None:
    ann, ben = app.people(2)
    where = group(ann, ben)
    for person in (ann, app.acting(ann)):
        with refused("PERMISSION_DENIED"):
            person.ImportMessages(conversation_id=where, messages=[entry(ann, 0)])
    with refused("NOT_FOUND", "conversation_id"):
        imported(app, "gnone", entry(ann, 0))
    for messages in ([], [entry(ann, n) for n in range(501)]):
        with refused("INVALID_ARGUMENT", "messages"):
            imported(app, where, *messages)
    assert not history(ann, where)


def test_streams_get_the_messages_and_that_they_are_read(app: Deployment) -> None:
    ann, ben = app.people(2)
    where = group(ann, ben)
    with listening(app, ben.metadata) as before:
        cursor = before.ready() and before.cursor
    with listening(app, ben.metadata) as phone:
        imported(app, where, *(entry(ann, n, edited_at=LONG_AGO + 77) for n in range(3)))
        phone.until(lambda each: each.of_kind("read"))
    last = history(ben, where)[-1].message_id
    with listening(app, ben.metadata, cursor=cursor) as resumed:
        resumed.until(lambda each: each.of_kind("read"))
    for each in (phone, resumed):
        assert each.contents == ["m0", "m1", "m2"]
        (read,) = each.of_kind("read")
        assert (read.user_id, read.message_id, read.unread_count) == (ben.id, last, 0)


def test_two_people_see_that_the_other_has_read_what_was_imported(app: Deployment) -> None:
    ann, ben = app.people(2)
    where = single(ann, ben)
    with listening(app, ben.metadata) as phone:
        imported(app, where, entry(ann, 0))
        phone.until(lambda each: len(each.of_kind("read")) == 2)
    assert {each.user_id for each in phone.of_kind("read")} == {ann.id, ben.id}
    assert history(ann, where)[0].status == 3


def test_an_import_is_in_the_audit_log(app: Deployment) -> None:
    ann, ben = app.people(2)
    where = group(ann, ben)
    imported(app, where, entry(ann, 0), entry(ben, 1), entry(ben, 1))
    imported(app, where, entry(ann, 0))
    events = app.events(user_id=where, action="message.import")
    assert [(event.target_id, event.detail, event.outcome) for event in events] == [(where, "2", "ok")]


def test_external_ids_name_senders(app: Deployment) -> None:
    ann, ben = app.people(2)
    where, external_id = group(ann, ben), fresh("id")
    as_service(app).user.SetExternalId(user_id=ann.id, external_id=external_id)
    by = f"external:{external_id}"
    reaction = {"user_id": by, "reaction": "👍"}
    assert reasons(imported(app, where, entry(ann, 0, from_user_id=by, reactions=[reaction]))) == ["stored"]
    assert history(ann, where)[0].from_user_id == ann.id
    assert listed(ann, where)[0].reactions[0].user_ids == [ann.id]


def test_a_group_with_a_key_is_made_once(app: Deployment) -> None:
    ann, ben = app.people(2)
    key = fresh("key")

    def made(**fields: Any) -> Any:
        request = store_pb2.CreateGroupRequest(**{"name": "n", "owner_id": ann.id, "key": key} | fields)
        return app.store.CreateGroup(request, metadata=app.service).group

    first = made(member_ids=[ben.id])
    again = made(name="other", owner_id=ben.id)
    assert (again.group_id, again.name, again.owner_id, again.current_members) == (first.group_id, "n", ann.id, 2)
    assert made(key=fresh("key")).group_id != first.group_id
    ann.DissolveGroup(group_id=first.group_id)
    with refused("ALREADY_EXISTS", "key", "GROUP_DISSOLVED"):
        made()
