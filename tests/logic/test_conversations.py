"""Making, listing, changing and hiding conversations."""

from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.internal.store.v1 import store_pb2
from tests.conversations import contents, conversation_of, group
from tests.harness import CONTENT, Deployment, Person, as_service, refused
from tests.waiting import next_millisecond


@pytest.fixture(scope="module")
def people(app: Deployment) -> list[Person]:
    """Tests that look at whole lists make people of their own."""
    return app.people(3)


def create(creator: Any, kind: str, *user_ids: str, name: str = "") -> str:
    return str(creator.CreateConversation(type=kind, name=name, user_ids=user_ids).conversation_id)


def participants(app: Deployment, conversation_id: str) -> set[str]:
    return set(as_service(app).repo.GetConversationParticipants(conversation_id=conversation_id).participant_ids)


def listed(person: Person) -> dict[str, Any]:
    """What the person's list shows: conversation id -> ConversationInfo, in the order of the list."""
    infos = person.GetConversations(pagination={"limit": 100}).conversations
    return {info.conversation_id: info for info in infos}


def test_two_users_have_one_conversation_whoever_makes_it_and_however(app: Deployment) -> None:
    ann, ben = app.people(2)
    created = ann.CreateConversation(type="single", name="us", user_ids=[ben.id])
    conversation = created.conversation
    assert created.conversation_id == conversation.conversation_id
    assert (conversation.type, conversation.name, conversation.avatar, conversation.last_message) == (
        "single",
        "us",
        "",
        "",
    )
    assert 0 < conversation.created_at <= conversation.updated_at
    assert participants(app, created.conversation_id) == {ann.id, ben.id}
    for creator, user_ids in (
        (ann, [ben.id]),
        (ann, [ann.id, ben.id]),
        (ann, [ben.id, ben.id]),
        (ben, [ann.id]),
        (ben, [ann.id, ben.id]),
        (as_service(app).logic, [ben.id, ann.id]),
    ):
        again = creator.CreateConversation(type="single", name="another name", user_ids=user_ids)
        assert again == created
    assert list(listed(ann)) == list(listed(ben)) == [created.conversation_id]


def test_a_nameless_one_to_one_has_the_nickname_and_avatar_of_the_other(app: Deployment) -> None:
    ann, ben = app.people(2)
    ben.UpdateUserProfile(nickname="小本", avatar="ben.png")
    empty = create(ann, "single", ben.id)

    def shown(person: Person) -> list[tuple[str, str]]:
        lists = person.GetConversations().conversations, person.GetUnreadMessages().conversations
        return [(info.name, info.avatar) for infos in lists for info in infos if info.conversation_id == empty]

    assert shown(ann) == [("小本", "ben.png")]
    ann.send(empty)
    assert shown(ann) == [("小本", "ben.png")]
    assert shown(ben) == [(ann.username, "")] * 2
    ben.UpdateUserProfile(nickname="Benjamin")
    ben.send(empty)
    ben.UpdateConversation(conversation_id=empty, name="the two of us")
    assert shown(ann) == [("the two of us", "ben.png")] * 2
    assert shown(ben) == [("the two of us", "")]
    ben.UpdateConversation(conversation_id=empty, avatar="us.png")
    assert shown(ann) == [("the two of us", "us.png")] * 2


def test_a_nameless_one_to_one_shows_a_later_nickname(app: Deployment) -> None:
    ann, ben = app.people(2)
    where = conversation_of(ben.send(ann.id))
    assert listed(ann)[where].name == ben.username
    ben.UpdateUserProfile(nickname="Benjamin")
    assert listed(ann)[where].name == "Benjamin"


def test_an_empty_one_to_one_is_listed_only_for_those_who_opened_it(app: Deployment) -> None:
    ann, ben = app.people(2)

    def lists() -> list[tuple[list[str], int]]:
        pages = [person.GetConversations() for person in (ann, ben)]
        return [([info.conversation_id for info in page.conversations], page.pagination.total) for page in pages]

    where = create(ann, "single", ben.id)
    assert lists() == [([where], 1), ([], 0)]
    ann.DeleteConversation(conversation_id=where)
    assert lists() == [([], 0), ([], 0)]
    create(ben, "single", ann.id)
    assert lists() == [([], 0), ([where], 1)]
    create(ann, "single", ben.id)
    assert lists() == [([where], 1), ([where], 1)]


def test_the_first_message_lists_a_one_to_one_for_both(app: Deployment) -> None:
    ann, ben = app.people(2)
    where = create(ann, "single", ben.id)
    ben.send(ann.id)
    assert list(listed(ann)) == list(listed(ben)) == [where]
    assert contents(ann, where) == contents(ben, where) == [CONTENT]
    carol = app.person()
    created_by_service = create(as_service(app).logic, "single", carol.id, ben.id)
    assert (created_by_service in listed(carol), created_by_service in listed(ben)) == (True, False)
    ben.SendMessages(messages=[{"conversation_id": created_by_service, "content": "hi"}])
    assert (created_by_service in listed(carol), created_by_service in listed(ben)) == (True, True)


def test_the_creator_of_a_group_owns_it(app: Deployment, people: list[Person]) -> None:
    ann, ben, cem = people
    for user_ids in ([ben.id, cem.id], [ben.id, ann.id, cem.id, ben.id]):
        created = ann.CreateConversation(type="group", name="room", user_ids=user_ids)
        assert (created.conversation.type, created.conversation.name) == ("group", "room")
        assert participants(app, created.conversation_id) == {ann.id, ben.id, cem.id}
        found = cem.GetGroupInfo(group_id=created.conversation_id).group
        assert (found.owner_id, found.current_members, found.max_members) == (ann.id, 3, 500)
    assert group(ann, ben) != group(ann, ben)
    assert participants(app, group(ann)) == {ann.id}


def test_a_service_creates_for_those_it_names(app: Deployment, people: list[Person]) -> None:
    ann, ben, cem = people
    logic = as_service(app).logic
    assert participants(app, create(logic, "single", ann.id, cem.id)) == {ann.id, cem.id}
    room = create(logic, "group", ben.id, cem.id, name="room")
    assert participants(app, room) == {ben.id, cem.id}
    assert ann.GetGroupInfo(group_id=room).group.owner_id == ben.id
    for kind, user_ids in (("single", [ann.id]), ("single", [ann.id, ann.id]), ("single", []), ("group", [])):
        with refused("INVALID_ARGUMENT", "user_ids"):
            logic.CreateConversation(type=kind, name="name", user_ids=user_ids)


@pytest.mark.parametrize(
    ("field", "kind", "name", "user_ids"),
    [
        ("type", "", "name", ["ben"]),
        ("type", "channel", "name", ["ben"]),
        ("type", "Single", "name", ["ben"]),
        ("user_ids", "single", "", []),
        ("user_ids", "single", "", ["ann"]),
        ("user_ids", "single", "", ["ben", "cem"]),
        ("user_ids", "single", "", ["ann", "ben", "cem"]),
        ("user_ids[1]", "group", "name", ["ben", ""]),
        ("user_ids", "group", "name", ["x"] * 1001),
        ("user_ids", "group", "name", [f"x{n}" for n in range(1000)]),
        ("user_ids", "group", "name", [f"x{n}" for n in range(500)]),
        ("name", "group", "", ["ben"]),
        ("name", "group", "n" * 101, ["ben"]),
        ("name", "group", "nul\0", ["ben"]),
        ("name", "single", "n" * 101, ["ben"]),
    ],
)
def test_create_names_the_bad_field(
    people: list[Person], field: str, kind: str, name: str, user_ids: list[str]
) -> None:
    known = dict(zip(("ann", "ben", "cem"), (person.id for person in people), strict=True))
    with refused("INVALID_ARGUMENT", field):
        create(people[0], kind, *(known.get(user_id, user_id) for user_id in user_ids), name=name)


@pytest.mark.parametrize("kind", ["single", "group"])
def test_create_refuses_unknown_and_deleted_users(app: Deployment, people: list[Person], kind: str) -> None:
    gone = app.create_user()
    as_service(app).repo.UpdateUser(user_id=gone, status=3)
    for user_id in ("unknown", gone):
        with refused("NOT_FOUND", "user_ids", "USER_NOT_FOUND"):
            create(people[0], kind, user_id, name="name")


def test_conversations_come_latest_activity_first_with_what_is_new(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    rooms = []
    for _ in range(3):
        rooms.append(group(ann, ben))
        next_millisecond()
    assert list(listed(ben)) == rooms[::-1]
    assert not any(info.HasField("last_message") or info.unread_count for info in listed(ben).values())
    for room, word in ((rooms[1], "one"), (rooms[0], "two"), (rooms[1], "three")):
        message_id = ann.send(room, word).message_id
        next_millisecond()
    infos = listed(ben)
    assert list(infos) == [rooms[1], rooms[0], rooms[2]]
    assert [info.unread_count for info in infos.values()] == [2, 1, 0]
    assert [info.unread_count for info in listed(ann).values()] == [0, 0, 0]
    first = infos[rooms[1]]
    assert (first.type, first.name, first.avatar) == ("group", "group", "")
    assert (first.last_message.message_id, first.last_message.content) == (message_id, "three")
    assert first.last_message.from_user_id == ann.id
    assert first.updated_at == first.last_message.created_at
    nothing = cem.GetConversations()
    assert (list(nothing.conversations), nothing.pagination.total) == ([], 0)


def test_conversations_come_in_pages(app: Deployment) -> None:
    (ann,) = app.people(1)
    rooms = []
    for _ in range(5):
        rooms.insert(0, group(ann))
        next_millisecond()
    for page, limit, expected in ((0, 0, rooms), (1, 2, rooms[:2]), (2, 2, rooms[2:4]), (3, 2, rooms[4:]), (4, 2, [])):
        answer = ann.GetConversations(pagination={"page": page, "limit": limit})
        assert [info.conversation_id for info in answer.conversations] == expected
        applied = (answer.pagination.total, answer.pagination.page, answer.pagination.limit)
        assert applied == (5, page or 1, limit or 20)
    for field, value in (("page", -1), ("limit", -1), ("limit", 101)):
        with refused("INVALID_ARGUMENT", f"pagination.{field}"):
            ann.GetConversations(pagination={field: value})


def test_only_admins_and_services_list_for_another(app: Deployment, people: list[Person]) -> None:
    ann, ben, _ = people
    room = group(ann, ben)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        ann.GetConversations(user_id=ben.id)
    for caller in (as_service(app).logic, app.person("admin", admin=True)):
        page = caller.GetConversations(user_id=ben.id, pagination={"limit": 100})
        assert room in {info.conversation_id for info in page.conversations}
        with refused("NOT_FOUND", "user_id"):
            caller.GetConversations(user_id="unknown")
    with refused("INVALID_ARGUMENT", "user_id"):
        as_service(app).logic.GetConversations()


def test_either_side_renames_a_one_to_one_conversation_for_both(people: list[Person]) -> None:
    ann, ben, cem = people
    pair = create(ann, "single", ben.id)
    assert ann.UpdateConversation(conversation_id=pair, name="ours", avatar="pic").success
    changed = ben.UpdateConversation(conversation_id=pair, name="unsers").conversation
    assert (changed.conversation_id, changed.type, changed.name, changed.avatar) == (pair, "single", "unsers", "pic")
    assert ben.UpdateConversation(conversation_id=pair).conversation == changed
    ann.send(pair)
    assert {(listed(person)[pair].name, listed(person)[pair].avatar) for person in (ann, ben)} == {("unsers", "pic")}
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        cem.UpdateConversation(conversation_id=pair, name="mine")


def test_managers_and_services_rename_a_group(app: Deployment, people: list[Person]) -> None:
    ann, ben, cem = people
    room = group(ann, ben, cem)
    as_service(app).repo.UpdateGroupMemberRole(group_id=room, user_id=ben.id, role="admin")
    for caller, name in ((ann, "by the owner"), (ben, "by an admin"), (as_service(app).logic, "by a service")):
        assert caller.UpdateConversation(conversation_id=room, name=name).conversation.name == name
        assert listed(cem)[room].name == cem.GetGroupInfo(group_id=room).group.name == name
    for name in ("by a member", ""):
        with refused("PERMISSION_DENIED", reason="NOT_A_MANAGER"):
            cem.UpdateConversation(conversation_id=room, name=name)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        ben.UpdateConversation(conversation_id=group(ann), name="by a stranger")


@pytest.mark.parametrize(("field", "bad"), [("name", "n" * 101), ("name", "\0"), ("avatar", "a" * 2049)])
def test_update_names_the_bad_field(people: list[Person], field: str, bad: str) -> None:
    with refused("INVALID_ARGUMENT", field):
        people[0].UpdateConversation(conversation_id=group(people[0]), **{field: bad})


def test_an_unknown_conversation_is_neither_updated_nor_deleted(app: Deployment, people: list[Person]) -> None:
    ann, ben, _ = people
    for rpc in (ann.UpdateConversation, ann.DeleteConversation, as_service(app).logic.UpdateConversation):
        with refused("NOT_FOUND", "conversation_id"):
            rpc(conversation_id="unknown")
        with refused("INVALID_ARGUMENT", "conversation_id"):
            rpc()
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        ben.DeleteConversation(conversation_id=group(ann))


def test_a_deleted_conversation_is_hidden_from_the_caller_alone(app: Deployment) -> None:
    ann, ben = app.people(2)
    for conversation_id in (create(ann, "single", ben.id), group(ann, ben)):
        ann.send(conversation_id, "old")
        assert ben.DeleteConversation(conversation_id=conversation_id).success
        assert ben.DeleteConversation(conversation_id=conversation_id, user_id=ben.id).success
        assert conversation_id not in listed(ben)
        assert contents(ben, conversation_id) == []
        assert contents(ann, conversation_id) == ["old"]
        assert listed(ann)[conversation_id].last_message.content == "old"
        assert participants(app, conversation_id) == {ann.id, ben.id}
    assert ben.GetConversations().pagination.total == ben.GetUnreadMessages().total_count == 0


def test_a_newer_message_brings_a_deleted_conversation_back_without_what_was_before(people: list[Person]) -> None:
    ann, ben, _ = people
    room = group(ann, ben)
    for sender, word in ((ben, "1"), (ann, "2")):
        sender.send(room, word)
    ben.DeleteConversation(conversation_id=room)
    newer = ann.send(room, "3").message_id
    info = listed(ben)[room]
    assert (info.unread_count, info.last_message.content) == (1, "3")
    page = ben.GetMessageHistory(conversation_id=room, limit=1)
    assert ([message.content for message in page.messages], page.has_more) == (["3"], False)
    assert contents(ben, room, before_message_id=newer) == []
    ben.send(room, "4")
    assert contents(ben, room) == ["4", "3"]
    assert contents(ann, room) == ["4", "3", "2", "1"]
    ben.DeleteConversation(conversation_id=room)
    ben.send(room, "5")
    assert contents(ben, room) == ["5"]
    assert listed(ben)[room].unread_count == 0


def test_what_was_hidden_does_not_come_back_when_the_newer_message_is_withdrawn(
    app: Deployment, people: list[Person]
) -> None:
    ann, ben, _ = people
    room = group(ann, ben)
    ann.send(room, "old")
    ben.DeleteConversation(conversation_id=room)
    as_service(app).repo.DeleteMessage(message_id=ann.send(room, "new").message_id, user_id=ann.id)
    assert contents(ben, room) == []
    assert not any(info.HasField("last_message") for info in [listed(ben).get(room)] if info)


def test_a_conversation_without_messages_is_hidden_too(people: list[Person]) -> None:
    ann, ben, _ = people
    room = group(ann, ben)
    ben.DeleteConversation(conversation_id=room)
    assert room not in listed(ben)
    assert room in listed(ann)
    ann.send(room, "first")
    assert contents(ben, room) == ["first"]
    assert listed(ben)[room].unread_count == 1


def test_only_admins_and_services_hide_for_another(app: Deployment, people: list[Person]) -> None:
    ann, ben, _ = people
    room = group(ann, ben)
    with refused("PERMISSION_DENIED", reason="NOT_YOURSELF"):
        ann.DeleteConversation(conversation_id=room, user_id=ben.id)
    with refused("INVALID_ARGUMENT", "user_id"):
        as_service(app).logic.DeleteConversation(conversation_id=room)
    as_service(app).logic.DeleteConversation(conversation_id=room, user_id=ben.id)
    assert room not in listed(ben)
    assert room in listed(ann)


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        (logic_pb2.GetConversationsResponse, repo_pb2.GetConversationsByUserResponse),
        (logic_pb2.GetMessageHistoryResponse, store_pb2.GetHistoryResponse),
        (logic_pb2.GetUnreadMessagesResponse, store_pb2.GetUnreadResponse),
        (logic_pb2.GetUserProfileResponse, store_pb2.GetProfileResponse),
    ],
)
def test_answers_passed_on_unchanged_have_the_same_wire_format(given: Any, passed_on: Any) -> None:
    assert form(given) == form(passed_on)


def form(message: Any) -> DescriptorProto:
    """All but the name."""
    proto = DescriptorProto()
    message.DESCRIPTOR.CopyToProto(proto)
    proto.name = ""
    return proto
