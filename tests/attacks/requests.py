"""For the access matrix: a valid request of each RPC."""

from collections.abc import Callable
from typing import Any

from gochat.internal.login.v1 import login_pb2
from gochat.internal.login.v1.login_pb2_grpc import LoginStoreServiceStub
from gochat.internal.reader.v1 import reader_pb2
from gochat.internal.reader.v1.reader_pb2_grpc import ReaderServiceStub
from tests.attacks import conversation_requests, group_requests, webhook_requests
from tests.attacks.world import Place, World, soon
from tests.harness import PASSWORD, fresh


def session(place: Place) -> dict[str, Any]:
    """A new session of the other's, to be rotated."""
    session_id, refresh_id = place.world.open_session(place.world.other)
    return {"session_id": session_id, "refresh_id": refresh_id, "expires_at": soon()}


def in_it(place: Place, **more: Any) -> dict[str, Any]:
    return {"conversation_id": place.id} | more


def of_message(place: Place, **more: Any) -> dict[str, Any]:
    return {"message_id": place.message_id} | more


def of_group(place: Place, **more: Any) -> dict[str, Any]:
    return {"group_id": place.id} | more


def by(place: Place, who: str, key: str = "user_id", **more: Any) -> dict[str, Any]:
    return {key: place.world.id_of(who)} | more


def of_other(place: Place, **more: Any) -> dict[str, Any]:
    return {"user_id": place.world.other.id} | more


def credentials(place: Place) -> dict[str, Any]:
    return {"username": place.world.other.username, "password": PASSWORD}


def guest(world: World) -> dict[str, Any]:
    """A new one, who is to have an account."""
    request = login_pb2.CreateGuestRequest(refresh_id=fresh(), expires_at=soon())
    made = LoginStoreServiceStub(world.app.repo_channel).CreateGuest(request, metadata=world.app.service)
    return {"user_id": made.user_id, "session_id": made.session_id, "refresh_id": fresh()}


def held_reader(place: Place) -> dict[str, Any]:
    """Of the log, and where it is."""
    app, name = place.world.app, fresh("reader")
    claim = reader_pb2.ClaimRequest(name=name, holder="a", seconds=60)
    position = ReaderServiceStub(app.repo_channel).Claim(claim, metadata=app.service).position
    return {"name": name, "holder": "a", "position": position}


def nothing(_: Place) -> dict[str, Any]:
    return {}


def imported(place: Place) -> dict[str, Any]:
    message = by(place, "owner", "from_user_id", import_id=fresh(), content="hello", created_at=10**12)
    return in_it(place, messages=[message], any_order=True)


NEW_PASSWORD = {"old_password": PASSWORD, "new_password": PASSWORD}


def of_new(place: Place, **more: Any) -> dict[str, Any]:
    return {"user_id": place.world.app.create_user()} | more


# Of UserService and UserStoreService.
USERS: dict[str, Callable[[Place], dict[str, Any]]] = {
    "UpsertUsers": lambda p: {"users": [of_other(p, bio=fresh("bio"))]},
    "GetUsers": lambda p: {"ids": [p.world.other.id]},
    "ListUsers": nothing,
    "SetRole": lambda p: of_new(p, role="admin"),
    "DisableUser": of_new,
    "EnableUser": of_new,
    "DeleteUser": of_new,
    "ChangeUsername": lambda p: of_new(p, username=fresh()),
    "ChangeEmail": lambda p: of_new(p, email="new@example.com"),
    "SetExternalId": lambda p: of_new(p, external_id=fresh("id")),
    "ClearProfile": lambda p: of_new(p, fields=["nickname"]),
}

VALID: dict[str, dict[str, Callable[[Place], dict[str, Any]]]] = {
    "api.logic.v1.LogicService": {
        "Authenticate": credentials,
        "ValidateToken": lambda p: {"token": p.world.other.access_token},
        "GetUserProfile": of_other,
        "UpdateUserProfile": lambda _: {"bio": fresh("bio")},
        "SearchUsers": lambda p: {"query": p.world.other.username},
        "SendMessage": lambda p: in_it(p, content="hello"),
        "GetMessageHistory": in_it,
        "MarkMessageRead": lambda p: in_it(p, message_id=p.message_id),
        "GetUnreadMessages": nothing,
        "CreateConversation": lambda p: {"type": "group", "name": "New", "user_ids": [p.world.other.id]},
        "GetConversations": nothing,
        "UpdateConversation": lambda p: in_it(p, name=fresh("name")),
        "DeleteConversation": in_it,
        "CreateGroup": lambda _: {"name": "New"},
        "GetGroupInfo": of_group,
        "UpdateGroup": lambda p: of_group(p, name=fresh("name")),
        "JoinGroup": of_group,
        "LeaveGroup": of_group,
        "GetGroupMembers": of_group,
        "AddGroupMember": lambda p: of_group(p, user_ids=[p.world.id_of("outsider")]),
        "RemoveGroupMember": lambda p: of_group(p, user_id=p.world.other.id),
    },
    "api.session.v1.SessionService": {
        "RefreshToken": lambda p: {"refresh_token": p.world.signed_in(p.world.other).refresh_token},
        "Register": lambda _: {"username": fresh(), "password": PASSWORD},
        "Logout": nothing,
        "ListSessions": nothing,
        "RevokeSession": nothing,  # session_id comes with the name of whose it is
        "ChangePassword": lambda _: NEW_PASSWORD,
        "CreateSession": of_other,
        "ListSignInMethods": nothing,
        "ExchangeToken": lambda _: {"token": "a.b.c"},
        "BeginSignIn": lambda _: {"issuer": "main", "redirect_uri": "http://127.0.0.1:8080/"},
        "FinishSignIn": lambda _: {
            "issuer": "main",
            "redirect_uri": "http://127.0.0.1:8080/",
            **dict.fromkeys(("code", "state", "code_verifier"), "x"),
        },
        "CreateGuest": nothing,
        "ClaimAccount": lambda _: {"username": fresh(), "password": PASSWORD},
    },
    "internal.login.v1.LoginStoreService": {
        "SignInExternal": lambda _: {
            "external_id": fresh(),
            "create": True,
            "refresh_id": fresh(),
            "expires_at": soon(),
        },
        "CreateGuest": lambda _: {"refresh_id": fresh(), "expires_at": soon()},
        "ClaimAccount": lambda p: guest(p.world) | {"username": fresh(), "password": PASSWORD, "expires_at": soon()},
        "RecordRefusal": lambda _: {"issuer": "main"},
    },
    "api.user.v1.UserService": USERS,
    "internal.user.v1.UserStoreService": USERS | {"ResolveUsers": lambda p: {"names": [p.world.other.id]}},
    "api.webhook.v1.WebhookService": webhook_requests.REQUESTS,
    "internal.webhook.v1.WebhookStoreService": webhook_requests.STORED,
    "api.message.v1.MessageService": {
        "ImportMessages": imported,
        "SendMessages": lambda p: in_it(p, content="hello"),
        "ListMessages": in_it,
        "GetMessage": of_message,
        "EditMessage": lambda p: of_message(p, content=fresh("content")),
        "ListVersions": of_message,
        "RecallMessage": of_message,
        "DeleteMessage": of_message,
        "AddReaction": lambda p: of_message(p, reaction="👍"),
        "RemoveReaction": lambda p: of_message(p, reaction="👍"),
        "ListReactions": of_message,
        "PinMessage": of_message,
        "UnpinMessage": of_message,
        "ListPinnedMessages": in_it,
    },
    "internal.message.v1.MessageStoreService": {
        "ImportMessages": imported,
        "ListMessages": lambda p: {"service": True, "request": in_it(p)},
        "GetMessage": lambda p: {"service": True, "request": of_message(p)},
        "EditMessage": lambda p: by(p, "owner", request=of_message(p, content=fresh("content"))),
        "ListVersions": lambda p: by(p, "owner", request=of_message(p)),
        "RecallMessage": lambda p: by(p, "owner", request=of_message(p)),
        "DeleteMessage": lambda p: by(p, "member", request=of_message(p)),
        "AddReaction": lambda p: by(p, "member", request=of_message(p, reaction="👍")),
        "RemoveReaction": lambda p: by(p, "member", request=of_message(p, reaction="👍")),
        "ListReactions": lambda p: by(p, "member", request=of_message(p)),
        "PinMessage": lambda p: by(p, "owner", request=of_message(p)),
        "UnpinMessage": lambda p: by(p, "owner", request=of_message(p)),
        "ListPinnedMessages": lambda p: by(p, "member", request=in_it(p)),
    },
    "api.group.v1.GroupService": group_requests.REQUESTS,
    "internal.group.v1.GroupStoreService": group_requests.STORED,
    "api.repo.v1.RepoService": {
        "CreateUser": lambda _: {"username": fresh(), "password": PASSWORD},
        "GetUser": of_other,
        "UpdateUser": lambda p: of_other(p, nickname=fresh("nick")),
        "GetUsers": lambda p: {"user_ids": [p.world.other.id]},
        "CreateMessage": lambda p: by(p, "owner", "from_user_id", **in_it(p, content="hello")),
        "GetMessages": in_it,
        "UpdateMessageStatus": lambda p: by(p, "member", message_id=p.message_id, status=2),
        "DeleteMessage": lambda p: by(p, "owner", message_id=p.message_id),
        "CreateConversation": lambda p: {"type": "group", "name": "New", "participant_ids": [p.world.other.id]},
        "GetConversation": in_it,
        "UpdateConversation": lambda p: in_it(p, name=fresh("name")),
        "GetConversationsByUser": of_other,
        "GetConversationParticipants": in_it,
        "CreateGroup": lambda p: by(p, "owner", "owner_id", name="New"),
        "GetGroup": of_group,
        "UpdateGroup": lambda p: of_group(p, name=fresh("name")),
        "GetGroupsByUser": of_other,
        "AddGroupMember": lambda p: by(p, "outsider", **of_group(p)),
        "RemoveGroupMember": lambda p: of_other(p, **of_group(p)),
        "GetGroupMembers": of_group,
        "UpdateGroupMemberRole": lambda p: of_other(p, **of_group(p, role="admin")),
    },
    "internal.store.v1.StoreService": {
        "GetProfile": of_other,
        "UpdateProfile": lambda p: of_other(p, bio=fresh("bio")),
        "FindUsers": lambda p: {"query": p.world.other.username},
        "StoreMessage": lambda p: by(p, "owner", "from_user_id", **in_it(p, content="hello")),
        "CallTogether": lambda p: {"calls": [{"get_profile": of_other(p)}]},
        "StoreRewritten": lambda p: {
            "message": by(p, "owner", "from_user_id", **in_it(p, content="hello")),
            "digest": "d",
        },
        "StoreMessages": lambda p: by(p, "owner", "from_user_id", **in_it(p, content="hello")),
        "GetHistory": lambda p: by(p, "member", **in_it(p)),
        "MarkRead": lambda p: by(p, "member", **in_it(p, message_id=p.message_id)),
        "GetUnread": of_other,
        "HideConversation": lambda p: by(p, "member", **in_it(p)),
        "UpdateConversation": lambda p: by(p, "owner", **in_it(p, name=fresh("name"))),
        "CreateGroup": lambda p: by(p, "owner", "owner_id", name="New"),
        "UpdateGroup": lambda p: by(p, "owner", **of_group(p, name=fresh("name"))),
        "JoinGroup": lambda p: by(p, "outsider", **of_group(p)),
        "LeaveGroup": lambda p: by(p, "member", **of_group(p)),
        "AddMembers": lambda p: by(p, "owner", "operator_id", **of_group(p, user_ids=[p.world.id_of("outsider")])),
        "RemoveMember": lambda p: by(p, "owner", "operator_id", **of_group(p, user_id=p.world.other.id)),
        "ListMembers": lambda p: by(p, "member", **of_group(p)),
    },
    "internal.account.v1.AccountService": {
        "Register": lambda _: {
            "username": fresh(),
            "password": PASSWORD,
            "refresh_id": fresh("refresh"),
            "expires_at": soon(),
        },
        "SignIn": lambda p: credentials(p) | {"refresh_id": fresh("refresh"), "expires_at": soon()},
        "ChangePassword": lambda p: of_other(p, **session(p), **NEW_PASSWORD),
        "SetPassword": lambda p: of_other(p, password=PASSWORD),
        "SetUserRole": lambda p: of_other(p, role="user"),
        "GetUserRoles": lambda p: {"user_ids": [p.world.other.id]},
        "OpenSession": lambda p: of_other(p, refresh_id=fresh("refresh"), expires_at=soon()),
        "RotateSession": lambda p: session(p) | {"next_refresh_id": fresh("refresh")},
        "EndSession": lambda p: of_other(p, session_id=session(p)["session_id"]),
        "ListUserSessions": of_other,
        "ListEndedSessions": lambda _: {"position": 0},
    },
    "api.event.v1.EventService": {
        "Subscribe": nothing,
        "GetState": nothing,
        "Acknowledge": lambda p: {"message_ids": [p.message_id]},
        "SetTyping": lambda p: in_it(p, typing=True),
    },
    "internal.change.v1.ChangeService": {
        "ReadChanges": nothing,
        "DescribeChanges": nothing,
        "OpenFeed": of_other,
        "ListStates": of_other,
        "Acknowledge": lambda p: by(p, "owner", message_ids=[p.message_id]),
    },
    "api.push.v1.PushService": {
        "RegisterPushToken": lambda _: {"platform": "fcm", "token": fresh("token")},
        "UnregisterPushToken": lambda _: {"platform": "fcm", "token": fresh("token")},
        "ListPushTokens": nothing,
        "GetWebPushKey": nothing,
    },
    "internal.push.v1.PushStoreService": {
        "RegisterPushToken": lambda p: of_other(p, request={"platform": "fcm", "token": fresh("token")}),
        "UnregisterPushToken": lambda p: of_other(p, request={"platform": "fcm", "token": fresh("token")}),
        "ListPushTokens": of_other,
        "GetVapidKey": nothing,
        "CollectPending": lambda _: {"delay": 1000, "interval": 1000},
        "DecidePending": lambda p: {"user_ids": [p.world.other.id], "interval": 1000, "ttl": 1000},
        "ClaimDeliveries": lambda _: {"most": 1},
        "FinishDeliveries": lambda _: {"gone_token_ids": [fresh("token")]},
    },
    "internal.reader.v1.ReaderService": {
        "Claim": lambda _: {"name": fresh("reader"), "holder": "a", "seconds": 1},
        "Advance": held_reader,
        "Release": lambda _: {"name": fresh("reader"), "holder": "a"},
    },
    "internal.signal.v1.SignalService": {
        "Watch": nothing,
        "Publish": nothing,
        "CheckTyping": lambda p: by(p, "owner", **in_it(p)),
        "ListActivity": of_other,
        "RecordActivity": nothing,
    },
    "api.conversation.v1.ConversationService": conversation_requests.REQUESTS,
    "internal.conversation.v1.ConversationStoreService": conversation_requests.STORED,
    "api.audit.v1.AuditService": {
        "ListEvents": nothing,
        "RecordEvent": lambda _: {"action": "key.rotate", "target_id": fresh("key")},
    },
}
"""A valid request of each RPC, or the one message of it; whoever calls. Where callers must act for themselves, nobody
is named yet."""
