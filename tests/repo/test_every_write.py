"""Every RPC that writes leaves the expected rows in the log of changes, or is listed with why it needs none."""

from collections.abc import Callable
from functools import cached_property, partial
from itertools import count
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import MethodOptions

from gochat.domain.changes import Kind
from gochat.services import path_of, rpcs
from tests.conftest import Own
from tests.conversations import conversation_of, group
from tests.harness import PASSWORD, Deployment, Person, as_service, fresh
from tests.issuing import SHARED_LOGIN
from tests.repo import logins, pushes, unseen
from tests.repo.changelog import kinds_of

Call = tuple[Person | None, dict[str, Any]]
"""Who calls, None for a service, and the fields of the request."""

WRITES = {
    path_of(rpc): rpc for rpc in rpcs().values() if rpc.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS
}
NEED_NONE = {
    "CreateUser": "nobody is in a conversation with them, nor signed in as them",
    "Register": "as CreateUser; the session that begins is known to its client",
    **logins.NEED_NONE,
    **unseen.NEED_NONE,
    **pushes.NEED_NONE,
    "RefreshToken": "the session stays; only its client holds the tokens",
    "RotateSession": "as RefreshToken",
    "RecordEvent": "the audit log is not shown to apps",
    "Subscribe": "it reads",
    "SetTyping": "who types is not kept",
    "Publish": "as SetTyping: hints and what is not kept",
    "ChangeEmail": "nobody else is shown the address",
    "SetExternalId": "apps are not shown it",
    "RecordActivity": "when somebody was last there is told as presence, which is not kept",
}


class World:
    """Two people and a group of theirs, with a message of each."""

    def __init__(self, app: Deployment) -> None:
        self.app, self.service = app, as_service(app)
        self.ann, self.ben, self.cem = app.people(3)
        self.group = group(self.ann, self.ben)
        self.first = self.ann.send(self.group).message_id
        self.pair = conversation_of(self.ann.send(self.ben.id))
        self.news = self.ben.send(self.group).message_id
        self.direct = self.ann.send(self.pair).message_id

    @cached_property
    def dan(self) -> Person:
        """With a password, which is hashed only where it is needed."""
        return self.app.person(password=PASSWORD)

    def session(self, person: Person) -> str:
        return str(person.ListSessions().sessions[0].session_id)

    def on_phone(self) -> Person:
        return self.app.signed_in(self.ann.id, self.ann.username, device_id="phone")


SENT, UPDATED, DELETED = Kind.MESSAGES_SENT, Kind.MESSAGE_UPDATED, Kind.MESSAGE_DELETED
JOINED, LEFT, ROLE, ENDED = Kind.MEMBER_JOINED, Kind.MEMBER_LEFT, Kind.MEMBER_UPDATED, Kind.SESSION_ENDED
CONVERSATION, HIDDEN = Kind.CONVERSATION_UPDATED, Kind.CONVERSATION_HIDDEN
DISSOLVED, GROUP_SETTINGS = Kind.GROUP_DISSOLVED, Kind.GROUP_SETTINGS_UPDATED
DETAIL, REQUEST = Kind.MEMBER_DETAIL_UPDATED, Kind.JOIN_REQUEST_CHANGED
GROUP, PROFILE, READ, RECEIVED = Kind.GROUP_UPDATED, Kind.PROFILE_UPDATED, Kind.READ, Kind.DELIVERED
SETTINGS = Kind.SETTINGS_UPDATED
LATER = 10**15  # milliseconds
_ids = count()


def _owner(w: World) -> dict[str, str]:
    return {"group_id": w.group, "operator_id": w.ann.id}


def _message(w: World, **fields: Any) -> dict[str, Any]:
    return {"conversation_id": w.group, "from_user_id": w.ann.id, "content": "x"} | fields


def _read(w: World) -> dict[str, Any]:
    return {"conversation_id": w.pair, "user_id": w.ben.id, "message_id": w.direct}


def _refresh(**fields: Any) -> dict[str, Any]:
    return {"refresh_id": f"r{next(_ids)}", "expires_at": LATER} | fields


def _signed_in_twice(w: World) -> dict[str, Any]:
    w.app.signed_in(w.dan.id, w.dan.username, device_id="phone")
    return {"username": w.dan.username, "password": PASSWORD, "device_id": "phone"}


def _asked(w: World) -> dict[str, Any]:
    w.ann.UpdateGroupSettings(group_id=w.group, joining=2)
    w.cem.RequestToJoin(group_id=w.group)
    return {"user_id": w.cem.id}


def _by_approval(w: World) -> dict[str, Any]:
    w.ann.UpdateGroupSettings(group_id=w.group, joining=2)
    return {"user_id": w.cem.id}


def _banned(w: World) -> dict[str, Any]:
    w.ann.BanMember(group_id=w.group, user_id=w.cem.id)
    return {"user_id": w.cem.id}


def _token(w: World) -> dict[str, Any]:
    return {"token": w.ann.CreateInvitation(group_id=w.group).invitation.token}


def _ben(**fields: Any) -> Callable[[World], dict[str, Any]]:
    return lambda w: {"user_id": w.ben.id} | fields


# Of GroupService: who acts, and the request but for the group.
GROUPS: dict[str, tuple[str, Callable[[World], dict[str, Any]], list[Kind]]] = {
    "SetMemberRole": ("ann", _ben(role="admin"), [ROLE]),
    "TransferOwnership": ("ann", _ben(), [ROLE, ROLE, GROUP]),
    "DissolveGroup": ("ann", lambda _: {}, [DISSOLVED]),
    "BanMember": ("ann", _ben(reason="r"), [LEFT]),
    "MuteMember": ("ann", _ben(until=LATER), [DETAIL]),
    "UpdateGroupSettings": ("ann", lambda _: {"slow_mode_seconds": 1}, [GROUP_SETTINGS]),
    "JoinByInvitation": ("cem", _token, [JOINED]),
    "RequestToJoin": ("cem", _by_approval, [REQUEST]),
    "CancelRequest": ("cem", _asked, [REQUEST]),
    "DecideJoinRequest": ("ann", lambda w: _asked(w) | {"accept": True}, [JOINED, REQUEST]),
    "SetMemberTitle": ("ann", _ben(title="t"), [DETAIL]),
    "SetMemberNickname": ("ben", _ben(nickname="n"), [DETAIL]),
}
UNSEEN: dict[str, tuple[str, Callable[[World], dict[str, Any]]]] = {
    "UnbanMember": ("ann", _banned),
    "CreateInvitation": ("ann", lambda _: {"max_uses": 1}),
    "RevokeInvitation": ("ann", _token),
}


def _by_people(who: str, prepare: Callable[[World], dict[str, Any]], w: World) -> Call:
    fields = prepare(w)
    return getattr(w, who), fields if "token" in fields and who == "cem" else fields | {"group_id": w.group}


def _by_store(who: str, prepare: Callable[[World], dict[str, Any]], w: World) -> Call:
    person, request = _by_people(who, prepare, w)
    assert person
    return None, {"user_id": person.id, "request": request}


def _reaction(w: World) -> dict[str, Any]:
    w.ann.AddReaction(message_id=w.news, reaction="👍")
    return {"message_id": w.news, "reaction": "👍"}


def _pinned(w: World) -> dict[str, Any]:
    w.ann.PinMessage(message_id=w.news)
    return {"message_id": w.news}


def _by_ann(w: World, **request: Any) -> dict[str, Any]:
    return {"user_id": w.ann.id, "request": request}


def _phone(w: World) -> dict[str, Any]:
    w.on_phone()
    return {"user_id": w.ann.id, "device_id": "phone"}


def _disabled(w: World) -> dict[str, Any]:
    w.service.user.DisableUser(user_id=w.cem.id)
    return {"user_id": w.cem.id}


def _of_cem(w: World, **fields: Any) -> Call:
    return None, {"user_id": w.cem.id} | fields


# Of UserService and UserStoreService.
USERS: dict[str, tuple[Callable[[World], Call], list[Kind]]] = {
    "UpsertUsers": (lambda w: (None, {"users": [{"user_id": w.cem.id, "nickname": "n"}]}), [PROFILE]),
    "SetRole": (partial(_of_cem, role="admin"), [ENDED]),
    "DisableUser": (_of_cem, [PROFILE, ENDED, ENDED]),
    "EnableUser": (lambda w: (None, _disabled(w)), [PROFILE]),
    "DeleteUser": (_of_cem, [PROFILE, ENDED, ENDED]),
    "ChangeUsername": (lambda w: _of_cem(w, username=fresh()), [PROFILE]),
    "ClearProfile": (
        lambda w: (None, {"user_id": w.app.create_user(nickname="n"), "fields": ["nickname"]}),
        [PROFILE],
    ),
}
UNSEEN_OF_USERS: dict[str, Callable[[World], Call]] = {
    "ChangeEmail": partial(_of_cem, email="new@example.com"),
    "SetExternalId": lambda w: _of_cem(w, external_id=fresh()),
}


LOGIC: dict[str, tuple[Callable[[World], Call], list[Kind]]] = {
    "Authenticate": (lambda w: (w.ann, _signed_in_twice(w)), [ENDED]),
    "SessionService/ClaimAccount": (logins.by_guest, [ENDED, PROFILE]),
    "UpdateUserProfile": (lambda w: (w.ann, {"bio": "new"}), [PROFILE]),
    "SendMessage": (
        lambda w: (w.ann, {"to_user_id": w.cem.id, "content": "x"}),
        [JOINED, JOINED, CONVERSATION, CONVERSATION, SENT],
    ),
    "MarkMessageRead": (lambda w: (w.ann, {"conversation_id": w.group, "message_id": w.news}), [READ]),
    "CreateConversation": (
        lambda w: (w.ann, {"type": "single", "user_ids": [w.cem.id]}),
        [JOINED, JOINED, CONVERSATION],
    ),
    "UpdateConversation": (lambda w: (w.ann, {"conversation_id": w.pair, "name": "n"}), [CONVERSATION]),
    "DeleteConversation": (lambda w: (w.ben, {"conversation_id": w.pair}), [READ, HIDDEN]),
    "CreateGroup": (lambda w: (w.ann, {"name": "n", "member_ids": [w.ben.id]}), [JOINED, JOINED]),
    "UpdateGroup": (lambda w: (w.ann, {"group_id": w.group, "description": "d"}), [GROUP]),
    "JoinGroup": (lambda w: (w.cem, {"group_id": w.group}), [JOINED]),
    "LeaveGroup": (lambda w: (w.ben, {"group_id": w.group}), [LEFT]),
    "AddGroupMember": (lambda w: (w.ann, {"group_id": w.group, "user_ids": [w.cem.id]}), [JOINED]),
    "RemoveGroupMember": (lambda w: (w.ann, {"group_id": w.group, "user_id": w.ben.id}), [LEFT]),
    "Logout": (lambda w: (w.on_phone(), {}), [ENDED]),
    "RevokeSession": (lambda w: (w.ann, {"session_id": w.session(w.on_phone())}), [ENDED]),
    "ChangePassword": (lambda w: (w.dan, {"old_password": PASSWORD, "new_password": "battery staple"}), [ENDED]),
    "CreateSession": (lambda w: (None, _phone(w)), [ENDED]),
    **{f"UserService/{rpc}": entry for rpc, entry in USERS.items()},
    "SendMessages": (
        lambda w: (w.ann, {"messages": [_message(w), _message(w, conversation_id=w.pair), _message(w)]}),
        [SENT, SENT],
    ),
    "ImportMessages": (lambda w: (None, unseen.imported(w)), [SENT, READ]),
    "Acknowledge": (lambda w: (w.ben, {"message_ids": [w.direct]}), [RECEIVED]),
    **{rpc: (partial(_by_people, *call), kinds) for rpc, (*call, kinds) in GROUPS.items()},
    "OpenDirect": (lambda w: (w.ann, {"peer_user_id": w.cem.id}), [JOINED, JOINED, CONVERSATION]),
    "UpdateSettings": (lambda w: (w.ann, {"conversation_id": w.group, "archived": True}), [SETTINGS]),
    "EditMessage": (lambda w: (w.ann, {"message_id": w.first, "content": "new"}), [UPDATED]),
    "RecallMessage": (lambda w: (w.ann, {"message_id": w.news}), [UPDATED]),
    "MessageService/DeleteMessage": (lambda w: (w.ann, {"message_id": w.news}), [Kind.MESSAGE_HIDDEN]),
    "AddReaction": (lambda w: (w.ann, {"message_id": w.news, "reaction": "👍"}), [Kind.REACTION_CHANGED]),
    "RemoveReaction": (lambda w: (w.ann, _reaction(w)), [Kind.REACTION_CHANGED]),
    "PinMessage": (lambda w: (w.ann, {"message_id": w.news}), [Kind.PIN_CHANGED]),
    "UnpinMessage": (lambda w: (w.ann, _pinned(w)), [Kind.PIN_CHANGED]),
}
INTERNAL: dict[str, tuple[Callable[[World], Call], list[Kind]]] = {
    "UpdateUser": (lambda w: (None, {"user_id": w.cem.id, "status": 2}), [PROFILE, ENDED, ENDED]),
    **{f"UserStoreService/{rpc}": entry for rpc, entry in USERS.items()},
    "OpenSession": (lambda w: (None, _refresh(**_phone(w))), [ENDED]),
    "LoginStoreService/ClaimAccount": (logins.for_guest, [ENDED]),
    "CreateMessage": (lambda w: (None, _message(w)), [SENT]),
    "UpdateMessageStatus": (lambda w: (None, {"message_id": w.first, "user_id": w.ann.id, "status": 4}), [UPDATED]),
    "DeleteMessage": (lambda w: (None, {"message_id": w.first, "user_id": w.ann.id}), [DELETED]),
    "RepoService/CreateConversation": (
        lambda w: (None, {"type": "group", "name": "n", "participant_ids": [w.ann.id]}),
        [JOINED],
    ),
    "RepoService/UpdateConversation": (lambda w: (None, {"conversation_id": w.group, "name": "n"}), [GROUP]),
    "RepoService/CreateGroup": (lambda w: (None, {"name": "n", "owner_id": w.ann.id}), [JOINED]),
    "RepoService/UpdateGroup": (lambda w: (None, {"group_id": w.group, "avatar": "a"}), [GROUP]),
    "RepoService/AddGroupMember": (
        lambda w: (None, {"group_id": w.group, "user_id": w.cem.id, "role": "admin"}),
        [JOINED],
    ),
    "RepoService/RemoveGroupMember": (lambda w: (None, {"group_id": w.group, "user_id": w.ben.id}), [LEFT]),
    "UpdateGroupMemberRole": (
        lambda w: (None, {"group_id": w.group, "user_id": w.ben.id, "role": "owner"}),
        [ROLE, ROLE, GROUP],
    ),
    "UpdateProfile": (lambda w: (None, {"user_id": w.ann.id, "nickname": "n"}), [PROFILE]),
    "StoreMessage": (lambda w: (None, _message(w)), [SENT]),
    "CallTogether": (lambda w: (None, {"calls": [{"mark_read": _read(w)}, {"mark_read": _read(w)}]}), [READ]),
    "StoreRewritten": (lambda w: (None, {"message": _message(w), "digest": "d"}), [SENT]),
    "StoreMessages": (lambda w: (None, {"messages": [_message(w), _message(w)]}), [SENT]),
    "MarkRead": (lambda w: (None, _read(w)), [READ]),
    "HideConversation": (lambda w: (None, {"conversation_id": w.group, "user_id": w.ben.id}), [HIDDEN]),
    "StoreService/UpdateConversation": (
        lambda w: (None, {"conversation_id": w.pair, "user_id": w.ann.id, "name": "n"}),
        [CONVERSATION],
    ),
    "StoreService/CreateGroup": (lambda w: (None, {"name": "n", "owner_id": w.ann.id}), [JOINED]),
    "StoreService/UpdateGroup": (lambda w: (None, {"group_id": w.group, "service": True, "name": "n"}), [GROUP]),
    "StoreService/JoinGroup": (lambda w: (None, {"group_id": w.group, "user_id": w.cem.id}), [JOINED]),
    "StoreService/LeaveGroup": (lambda w: (None, {"group_id": w.group, "user_id": w.ben.id}), [LEFT]),
    "AddMembers": (lambda w: (None, _owner(w) | {"user_ids": [w.cem.id]}), [JOINED]),
    "RemoveMember": (lambda w: (None, _owner(w) | {"user_id": w.ben.id}), [LEFT]),
    "SignIn": (lambda w: (None, _refresh(**_signed_in_twice(w))), [ENDED]),
    "AccountService/ChangePassword": (
        lambda w: (
            None,
            _refresh(
                user_id=w.dan.id, old_password=PASSWORD, new_password="battery staple", session_id=w.session(w.dan)
            ),
        ),
        [ENDED],
    ),
    "SetPassword": (lambda w: (None, {"user_id": w.cem.id, "password": "battery staple"}), [ENDED]),
    "SetUserRole": (lambda w: (None, {"user_id": w.cem.id, "role": "admin"}), [ENDED]),
    "EndSession": (lambda w: (None, {"session_id": w.session(w.cem), "user_id": w.cem.id}), [ENDED]),
    **{f"GroupStoreService/{rpc}": (partial(_by_store, *call), kinds) for rpc, (*call, kinds) in GROUPS.items()},
    "ChangeService/Acknowledge": (lambda w: (None, {"user_id": w.ben.id, "message_ids": [w.direct]}), [RECEIVED]),
    "ConversationStoreService/OpenDirect": (
        lambda w: (None, {"user_id": w.ben.id, "request": {"peer_user_id": w.cem.id}}),
        [JOINED, JOINED, CONVERSATION],
    ),
    "ConversationStoreService/UpdateSettings": (
        lambda w: (None, {"user_id": w.ben.id, "request": {"conversation_id": w.pair, "pinned": True}}),
        [SETTINGS],
    ),
    "ImportMessages": (lambda w: (None, unseen.imported(w)), [SENT, READ]),
    "EditMessage": (lambda w: (None, _by_ann(w, message_id=w.first, content="new")), [UPDATED]),
    "RecallMessage": (lambda w: (None, _by_ann(w, message_id=w.news)), [UPDATED]),
    "MessageStoreService/DeleteMessage": (lambda w: (None, _by_ann(w, message_id=w.news)), [Kind.MESSAGE_HIDDEN]),
    "AddReaction": (lambda w: (None, _by_ann(w, message_id=w.news, reaction=":x:")), [Kind.REACTION_CHANGED]),
    "RemoveReaction": (lambda w: (None, _by_ann(w, **_reaction(w))), [Kind.REACTION_CHANGED]),
    "PinMessage": (lambda w: (None, _by_ann(w, message_id=w.news)), [Kind.PIN_CHANGED]),
    "UnpinMessage": (lambda w: (None, _by_ann(w, **_pinned(w))), [Kind.PIN_CHANGED]),
}
NONE: dict[str, Callable[[World], Call]] = {
    "CreateUser": lambda _: (None, {"username": fresh(), "password": PASSWORD}),
    "SessionService/Register": lambda w: (w.ann, {"username": fresh(), "password": PASSWORD}),
    "AccountService/Register": lambda _: (None, _refresh(username=fresh(), password=PASSWORD)),
    **(logins.NONE | pushes.NONE),
    "RefreshToken": lambda w: (w.ann, {"refresh_token": w.ann.refresh_token}),
    **UNSEEN_OF_USERS,
    "RecordEvent": lambda _: (None, {"action": "key.rotate", "target_id": "k1"}),
    **{rpc: partial(_by_people, *call) for rpc, call in UNSEEN.items()},
    **{f"GroupStoreService/{rpc}": partial(_by_store, *call) for rpc, call in UNSEEN.items()},
}


def _entry(table: dict[str, Any], path: str) -> Any:
    """By the name of the RPC, or of service and RPC where several have it."""
    _, service, rpc = path.replace("/", ".").rsplit(".", 2)
    return table.get(f"{service}/{rpc}", table.get(rpc))


def _acts(path: str) -> Any:
    return _entry(LOGIC if ".api.repo." not in path and ".internal." not in path else INTERNAL, path)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def app(request: pytest.FixtureRequest, own_of_module: Own) -> Deployment:
    return own_of_module(
        request.param, env={"GOCHAT_AUTH_REGISTRATION": "open", "GOCHAT_AUTH_GUESTS": "on", **SHARED_LOGIN}
    )


@pytest.fixture(scope="module")
def url(app: Deployment) -> str:
    return app.url or f"sqlite:///{app.data}/gochat.db"


def _call(app: Deployment, path: str, call: Call) -> None:
    person, fields = call
    rpc = WRITES[path]
    request = message_factory.GetMessageClass(rpc.input_type)(**fields)
    response = message_factory.GetMessageClass(rpc.output_type)
    stub = app.channel_of(path).unary_unary(path, type(request).SerializeToString, response.FromString)
    stub(request, metadata=person.metadata if person else app.service, timeout=30)


@pytest.mark.parametrize("path", [path for path in WRITES if _entry(NEED_NONE, path) is None])
def test_an_rpc_that_writes_leaves_its_changes(app: Deployment, url: str, path: str) -> None:
    prepare, expected = _acts(path)
    call = prepare(World(app))
    before = len(kinds_of(url))
    _call(app, path, call)
    assert kinds_of(url)[before:] == expected


@pytest.mark.parametrize("path", [path for path in WRITES if _entry(NONE, path)])
def test_an_rpc_that_nobody_sees_leaves_none(app: Deployment, url: str, path: str) -> None:
    assert _entry(NEED_NONE, path)
    call = _entry(NONE, path)(World(app))
    before = len(kinds_of(url))
    _call(app, path, call)
    assert kinds_of(url)[before:] == []


def test_the_commands_for_users_leave_their_changes(app: Deployment, url: str) -> None:
    """Commands go by RPCs, all of them."""
    ann = app.person()
    for arguments, expected in (
        (("disable", ann.username), [PROFILE, ENDED, ENDED]),
        (("enable", ann.username), [PROFILE]),
        (("delete", "--yes", ann.username), [PROFILE, ENDED]),
    ):
        before = len(kinds_of(url))
        app.run("user", *arguments, "--address", app.repo_address)
        assert kinds_of(url)[before:] == expected, arguments
