"""Who may call which RPC, and on what condition: one table, deny by default. The server does not start with an RPC that
is missing in it. The conditions are judged in policy.py, on the facts that the handler reads."""

from dataclasses import dataclass
from enum import Enum, Flag, auto


class Access(Enum):
    """Who may call at all."""

    ANYONE = "anyone, without a token"
    SIGNED_IN = "any valid access or service token"
    SERVICE = "tokens of role service or admin"
    BACKEND = "tokens of role service"


class Condition(Flag):
    """What a signed-in user must fulfil beyond that. Admins and services need not. Where a call is a participant's or a
    member's own act (sending, marking as read, leaving), the user that they act for must."""

    NOTHING = 0
    SELF = auto()  # acts for themselves: user_id and the like are empty or their own
    PARTICIPANT = auto()  # is in the conversation
    MEMBER = auto()  # is in the group
    # Is its owner or an admin of it; both participants of a one-to-one conversation. Also any member, where the
    # settings of a group say so (who adds, who edits), and for what is their own (an invitation that they made).
    MANAGER = auto()
    OWNER = auto()  # is its owner; an admin for themselves, to step down
    # The owner any member, an admin plain members; who removes or bans also an owner who is disabled. Whoever is named
    # beside others may act for themselves where it is their own name or, of managers, title.
    OUTRANKS = auto()
    # Is not in the group, was not removed from it (unless they are invited, or ask) nor banned, and joins in a way that
    # its settings allow; and the group is not full.
    MAY_JOIN = auto()
    MAY_LEAVE = auto()  # is not the owner while others remain
    SEES = auto()  # is in the conversation of the message, and sees it; else it is NOT_FOUND
    SENDER = auto()  # has sent the message
    SENDER_OR_MANAGER = auto()  # has sent the message, or is the owner or an admin of its group


class Rate(Enum):
    """The rate limit before the handler, beside the one on all calls of a user."""

    NONE = "none"
    SEND = "sends of a user"
    SENDS = "sends of a user, one for each of the messages"
    TYPING = "typing notices of a user, in place of the one on all calls"
    SIGN_IN = "failures from a network address"
    REFRESH = "refresh tokens from a network address that are not valid"
    REGISTER = "failures and successes from a network address"
    EXCHANGE = "tokens of another login from a network address that are not taken"
    GUEST = "guests from a network address"
    ADDRESS = "calls from a network address"


class Cost(Enum):
    """How much work a call is: it chooses the executor (serving/executors.py)."""

    NOTHING = "no database, microseconds"
    PAGE = "one read by index, a page at most"
    WRITE = "one transaction"
    SEARCH = "a scan: as long as the table has rows"
    CONTROL = "the server's own work: never waits behind a user's call"
    USUAL = "anything else"
    HASH = "a password hash: tens of milliseconds of a core"
    FETCH = "the answer of another server may have to be waited for"


@dataclass(frozen=True)
class Rule:
    access: Access
    on: Condition = Condition.NOTHING
    rate: Rate = Rate.NONE
    cost: Cost = Cost.USUAL


_USER, _SERVICE = Access.SIGNED_IN, Access.SERVICE

_LOGIC = {
    "Authenticate": Rule(Access.ANYONE, rate=Rate.SIGN_IN, cost=Cost.HASH),
    "ValidateToken": Rule(_USER, cost=Cost.NOTHING),
    "GetUserProfile": Rule(_USER, cost=Cost.PAGE),
    "UpdateUserProfile": Rule(_USER, Condition.SELF, cost=Cost.WRITE),
    "SearchUsers": Rule(_USER, cost=Cost.SEARCH),
    "SendMessage": Rule(_USER, Condition.SELF | Condition.PARTICIPANT, Rate.SEND, cost=Cost.WRITE),
    "GetMessageHistory": Rule(_USER, Condition.PARTICIPANT, cost=Cost.PAGE),
    "MarkMessageRead": Rule(_USER, Condition.SELF | Condition.PARTICIPANT, cost=Cost.WRITE),
    "GetUnreadMessages": Rule(_USER, Condition.SELF, cost=Cost.PAGE),
    "CreateConversation": Rule(_USER, cost=Cost.WRITE),
    "GetConversations": Rule(_USER, Condition.SELF, cost=Cost.PAGE),
    "UpdateConversation": Rule(_USER, Condition.MANAGER, cost=Cost.WRITE),
    "DeleteConversation": Rule(_USER, Condition.SELF | Condition.PARTICIPANT, cost=Cost.WRITE),
    "CreateGroup": Rule(_USER, Condition.SELF, cost=Cost.WRITE),
    "GetGroupInfo": Rule(_USER, cost=Cost.PAGE),
    "UpdateGroup": Rule(_USER, Condition.MANAGER, cost=Cost.WRITE),
    "JoinGroup": Rule(_USER, Condition.SELF | Condition.MAY_JOIN, cost=Cost.WRITE),
    "LeaveGroup": Rule(_USER, Condition.SELF | Condition.MEMBER | Condition.MAY_LEAVE, cost=Cost.WRITE),
    "GetGroupMembers": Rule(_USER, Condition.MEMBER, cost=Cost.PAGE),
    "AddGroupMember": Rule(_USER, Condition.SELF | Condition.MANAGER, cost=Cost.WRITE),
    "RemoveGroupMember": Rule(_USER, Condition.SELF | Condition.OUTRANKS, cost=Cost.WRITE),
}
_SESSION = {
    "RefreshToken": Rule(Access.ANYONE, rate=Rate.REFRESH),
    "Register": Rule(Access.ANYONE, rate=Rate.REGISTER, cost=Cost.HASH),
    "Logout": Rule(_USER, Condition.SELF),
    "ListSessions": Rule(_USER, Condition.SELF),
    "RevokeSession": Rule(_USER, Condition.SELF),
    "ChangePassword": Rule(_USER, Condition.SELF, cost=Cost.HASH),
    "CreateSession": Rule(Access.BACKEND),
    "ListSignInMethods": Rule(Access.ANYONE, rate=Rate.ADDRESS, cost=Cost.NOTHING),
    "ExchangeToken": Rule(Access.ANYONE, rate=Rate.EXCHANGE, cost=Cost.FETCH),
    "BeginSignIn": Rule(Access.ANYONE, rate=Rate.ADDRESS, cost=Cost.FETCH),
    "FinishSignIn": Rule(Access.ANYONE, rate=Rate.EXCHANGE, cost=Cost.FETCH),
    "CreateGuest": Rule(Access.ANYONE, rate=Rate.GUEST),
    "ClaimAccount": Rule(_USER, Condition.SELF, cost=Cost.FETCH),
}
_USERS = {
    "UpsertUsers": Rule(_SERVICE, cost=Cost.HASH),
    "GetUsers": Rule(_SERVICE),
    "ListUsers": Rule(_SERVICE, cost=Cost.SEARCH),
    "SetRole": Rule(_SERVICE),
    "DisableUser": Rule(_SERVICE),
    "EnableUser": Rule(_SERVICE),
    "DeleteUser": Rule(_SERVICE),
    "ChangeUsername": Rule(_SERVICE, cost=Cost.WRITE),
    "ChangeEmail": Rule(_SERVICE, cost=Cost.WRITE),
    "SetExternalId": Rule(_SERVICE, cost=Cost.WRITE),
    "ClearProfile": Rule(_SERVICE, cost=Cost.WRITE),
}
_MESSAGE = {
    "SendMessages": Rule(_USER, Condition.SELF | Condition.PARTICIPANT, Rate.SENDS),
    "ImportMessages": Rule(_SERVICE),
    "ListMessages": Rule(_USER, Condition.PARTICIPANT, cost=Cost.PAGE),
    "GetMessage": Rule(_USER, Condition.SEES, cost=Cost.PAGE),
    "EditMessage": Rule(_USER, Condition.SEES | Condition.SENDER, Rate.SEND, cost=Cost.WRITE),
    "ListVersions": Rule(_USER, Condition.SEES | Condition.SENDER_OR_MANAGER, cost=Cost.PAGE),
    "RecallMessage": Rule(_USER, Condition.SEES | Condition.SENDER_OR_MANAGER, cost=Cost.WRITE),
    "DeleteMessage": Rule(_USER, Condition.SELF | Condition.SEES, cost=Cost.WRITE),
    "AddReaction": Rule(_USER, Condition.SELF | Condition.SEES, cost=Cost.WRITE),
    "RemoveReaction": Rule(_USER, Condition.SELF | Condition.SEES, cost=Cost.WRITE),
    "ListReactions": Rule(_USER, Condition.SEES, cost=Cost.PAGE),
    "PinMessage": Rule(_USER, Condition.SEES | Condition.MANAGER, cost=Cost.WRITE),
    "UnpinMessage": Rule(_USER, Condition.SEES | Condition.MANAGER, cost=Cost.WRITE),
    "ListPinnedMessages": Rule(_USER, Condition.PARTICIPANT, cost=Cost.PAGE),
}
_EVENT = {
    "Subscribe": Rule(_USER, Condition.SELF),
    "GetState": Rule(_USER, Condition.SELF),
    "Acknowledge": Rule(_USER, Condition.SELF | Condition.PARTICIPANT, cost=Cost.WRITE),
    "SetTyping": Rule(_USER, Condition.SELF | Condition.PARTICIPANT, Rate.TYPING, cost=Cost.PAGE),
}
_GROUP = {
    "SetMemberRole": Rule(_USER, Condition.OWNER, cost=Cost.WRITE),
    "TransferOwnership": Rule(_USER, Condition.OWNER, cost=Cost.WRITE),
    "DissolveGroup": Rule(_USER, Condition.OWNER, cost=Cost.WRITE),
    "BanMember": Rule(_USER, Condition.OUTRANKS, cost=Cost.WRITE),
    "UnbanMember": Rule(_USER, Condition.MANAGER, cost=Cost.WRITE),
    "ListBannedMembers": Rule(_USER, Condition.MANAGER, cost=Cost.PAGE),
    "MuteMember": Rule(_USER, Condition.OUTRANKS, cost=Cost.WRITE),
    "GetGroupSettings": Rule(_USER, Condition.MEMBER, cost=Cost.PAGE),
    "UpdateGroupSettings": Rule(_USER, Condition.MANAGER, cost=Cost.WRITE),
    "SearchGroups": Rule(_USER, cost=Cost.SEARCH),
    "CreateInvitation": Rule(_USER, Condition.MANAGER, cost=Cost.WRITE),
    "ListInvitations": Rule(_USER, Condition.MANAGER, cost=Cost.PAGE),
    "RevokeInvitation": Rule(_USER, Condition.MANAGER, cost=Cost.WRITE),
    "GetInvitation": Rule(_USER, cost=Cost.PAGE),
    "JoinByInvitation": Rule(_USER, Condition.SELF | Condition.MAY_JOIN, cost=Cost.WRITE),
    "RequestToJoin": Rule(_USER, Condition.SELF | Condition.MAY_JOIN, cost=Cost.WRITE),
    "CancelRequest": Rule(_USER, Condition.SELF, cost=Cost.WRITE),
    "ListJoinRequests": Rule(_USER, Condition.MANAGER, cost=Cost.PAGE),
    "DecideJoinRequest": Rule(_USER, Condition.MANAGER, cost=Cost.WRITE),
    "SetMemberTitle": Rule(_USER, Condition.OUTRANKS, cost=Cost.WRITE),
    "SetMemberNickname": Rule(_USER, Condition.OUTRANKS, cost=Cost.WRITE),
    "ListMembers": Rule(_USER, Condition.MEMBER),
    "GetMember": Rule(_USER, Condition.MEMBER, cost=Cost.PAGE),
}
_CONVERSATION = {
    "OpenDirect": Rule(_USER, Condition.SELF, cost=Cost.WRITE),
    "GetConversation": Rule(_USER, Condition.SELF | Condition.PARTICIPANT, cost=Cost.PAGE),
    "UpdateSettings": Rule(_USER, Condition.SELF | Condition.PARTICIPANT, cost=Cost.WRITE),
    "ListConversations": Rule(_USER, Condition.SELF, cost=Cost.PAGE),
    "GetReceipts": Rule(_USER, Condition.SELF | Condition.SEES),
}
_PUSH = {
    "RegisterPushToken": Rule(_USER, Condition.SELF, cost=Cost.WRITE),
    "UnregisterPushToken": Rule(_USER, Condition.SELF, cost=Cost.WRITE),
    "ListPushTokens": Rule(_USER, Condition.SELF, cost=Cost.PAGE),
    "GetWebPushKey": Rule(_USER),
}
_REPO = {
    "CreateUser": Rule(_SERVICE, cost=Cost.HASH),
    "GetUser": Rule(_SERVICE, cost=Cost.PAGE),
    "UpdateUser": Rule(_SERVICE, cost=Cost.WRITE),
    "GetUsers": Rule(_SERVICE),
    "CreateMessage": Rule(_SERVICE, cost=Cost.WRITE),
    "GetMessages": Rule(_SERVICE),
    "UpdateMessageStatus": Rule(_SERVICE, cost=Cost.WRITE),
    "DeleteMessage": Rule(_SERVICE, cost=Cost.WRITE),
    "CreateConversation": Rule(_SERVICE, cost=Cost.WRITE),
    "GetConversation": Rule(_SERVICE, cost=Cost.PAGE),
    "UpdateConversation": Rule(_SERVICE, cost=Cost.WRITE),
    "GetConversationsByUser": Rule(_SERVICE, cost=Cost.PAGE),
    "GetConversationParticipants": Rule(_SERVICE),
    "CreateGroup": Rule(_SERVICE, cost=Cost.WRITE),
    "GetGroup": Rule(_SERVICE, cost=Cost.PAGE),
    "UpdateGroup": Rule(_SERVICE, cost=Cost.WRITE),
    "GetGroupsByUser": Rule(_SERVICE),
    "AddGroupMember": Rule(_SERVICE, cost=Cost.WRITE),
    "RemoveGroupMember": Rule(_SERVICE, cost=Cost.WRITE),
    "GetGroupMembers": Rule(_SERVICE, cost=Cost.PAGE),
    "UpdateGroupMemberRole": Rule(_SERVICE, cost=Cost.WRITE),
}
_STORE = {
    "GetProfile": Rule(_SERVICE, cost=Cost.PAGE),
    "UpdateProfile": Rule(_SERVICE, cost=Cost.WRITE),
    "FindUsers": Rule(_SERVICE, cost=Cost.SEARCH),
    "StoreMessage": Rule(_SERVICE, cost=Cost.WRITE),
    "StoreRewritten": Rule(_SERVICE, cost=Cost.WRITE),
    "StoreMessages": Rule(_SERVICE, cost=Cost.WRITE),
    "CallTogether": Rule(_SERVICE),
    "GetHistory": Rule(_SERVICE, cost=Cost.PAGE),
    "MarkRead": Rule(_SERVICE, cost=Cost.WRITE),
    "GetUnread": Rule(_SERVICE, cost=Cost.PAGE),
    "HideConversation": Rule(_SERVICE, cost=Cost.WRITE),
    "UpdateConversation": Rule(_SERVICE, cost=Cost.WRITE),
    "CreateGroup": Rule(_SERVICE, cost=Cost.WRITE),
    "UpdateGroup": Rule(_SERVICE, cost=Cost.WRITE),
    "JoinGroup": Rule(_SERVICE, cost=Cost.WRITE),
    "LeaveGroup": Rule(_SERVICE, cost=Cost.WRITE),
    "AddMembers": Rule(_SERVICE, cost=Cost.WRITE),
    "RemoveMember": Rule(_SERVICE, cost=Cost.WRITE),
    "ListMembers": Rule(_SERVICE, cost=Cost.PAGE),
}
_GROUP_STORE = {
    "SetMemberRole": Rule(_SERVICE, cost=Cost.WRITE),
    "TransferOwnership": Rule(_SERVICE, cost=Cost.WRITE),
    "DissolveGroup": Rule(_SERVICE, cost=Cost.WRITE),
    "BanMember": Rule(_SERVICE, cost=Cost.WRITE),
    "UnbanMember": Rule(_SERVICE, cost=Cost.WRITE),
    "ListBannedMembers": Rule(_SERVICE, cost=Cost.PAGE),
    "MuteMember": Rule(_SERVICE, cost=Cost.WRITE),
    "GetGroupSettings": Rule(_SERVICE, cost=Cost.PAGE),
    "UpdateGroupSettings": Rule(_SERVICE, cost=Cost.WRITE),
    "SearchGroups": Rule(_SERVICE, cost=Cost.SEARCH),
    "CreateInvitation": Rule(_SERVICE, cost=Cost.WRITE),
    "ListInvitations": Rule(_SERVICE, cost=Cost.PAGE),
    "RevokeInvitation": Rule(_SERVICE, cost=Cost.WRITE),
    "GetInvitation": Rule(_SERVICE, cost=Cost.PAGE),
    "JoinByInvitation": Rule(_SERVICE, cost=Cost.WRITE),
    "RequestToJoin": Rule(_SERVICE, cost=Cost.WRITE),
    "CancelRequest": Rule(_SERVICE, cost=Cost.WRITE),
    "ListJoinRequests": Rule(_SERVICE, cost=Cost.PAGE),
    "DecideJoinRequest": Rule(_SERVICE, cost=Cost.WRITE),
    "SetMemberTitle": Rule(_SERVICE, cost=Cost.WRITE),
    "SetMemberNickname": Rule(_SERVICE, cost=Cost.WRITE),
    "ListMembers": Rule(_SERVICE),
    "GetMember": Rule(_SERVICE, cost=Cost.PAGE),
}
_ACCOUNT = {
    "Register": Rule(_SERVICE, cost=Cost.HASH),
    "SignIn": Rule(_SERVICE, cost=Cost.HASH),
    "OpenSession": Rule(_SERVICE),
    "ChangePassword": Rule(_SERVICE, cost=Cost.HASH),
    "SetPassword": Rule(_SERVICE, cost=Cost.HASH),
    "SetUserRole": Rule(_SERVICE),
    "GetUserRoles": Rule(_SERVICE),
    "RotateSession": Rule(_SERVICE),
    "EndSession": Rule(_SERVICE),
    "ListUserSessions": Rule(_SERVICE),
    "ListEndedSessions": Rule(_SERVICE, cost=Cost.CONTROL),
}
_LOGIN = {
    "SignInExternal": Rule(_SERVICE),
    "CreateGuest": Rule(_SERVICE),
    "ClaimAccount": Rule(_SERVICE, cost=Cost.HASH),
    "RecordRefusal": Rule(_SERVICE, cost=Cost.WRITE),
}
_CHANGE = {
    "ReadChanges": Rule(_SERVICE, cost=Cost.CONTROL),
    "DescribeChanges": Rule(_SERVICE, cost=Cost.CONTROL),
    "OpenFeed": Rule(_SERVICE),
    "ListStates": Rule(_SERVICE),
    "Acknowledge": Rule(_SERVICE, cost=Cost.WRITE),
}
_READER = {
    "Claim": Rule(_SERVICE, cost=Cost.WRITE),
    "Advance": Rule(_SERVICE, cost=Cost.WRITE),
    "Release": Rule(_SERVICE, cost=Cost.WRITE),
}
_SIGNAL = {
    "Watch": Rule(_SERVICE, cost=Cost.NOTHING),
    "Publish": Rule(_SERVICE, cost=Cost.NOTHING),
    "CheckTyping": Rule(_SERVICE, cost=Cost.PAGE),
    "ListActivity": Rule(_SERVICE),
    "RecordActivity": Rule(_SERVICE, cost=Cost.WRITE),
}
_AUDIT = {
    "ListEvents": Rule(_SERVICE, cost=Cost.SEARCH),
    "RecordEvent": Rule(_SERVICE),
}

_PUSH_STORE = {
    "RegisterPushToken": Rule(_SERVICE, cost=Cost.WRITE),
    "UnregisterPushToken": Rule(_SERVICE, cost=Cost.WRITE),
    "ListPushTokens": Rule(_SERVICE, cost=Cost.PAGE),
    "GetVapidKey": Rule(_SERVICE),
    "CollectPending": Rule(_SERVICE),
    "DecidePending": Rule(_SERVICE),
    "ClaimDeliveries": Rule(_SERVICE),
    "FinishDeliveries": Rule(_SERVICE),
}
_CONVERSATION_STORE = {
    "OpenDirect": Rule(_SERVICE, cost=Cost.WRITE),
    "GetConversation": Rule(_SERVICE, cost=Cost.PAGE),
    "UpdateSettings": Rule(_SERVICE, cost=Cost.WRITE),
    "ListConversations": Rule(_SERVICE, cost=Cost.PAGE),
    "GetReceipts": Rule(_SERVICE),
}
_MESSAGE_STORE = {
    "ImportMessages": Rule(_SERVICE, cost=Cost.WRITE),
    "ListMessages": Rule(_SERVICE, cost=Cost.PAGE),
    "GetMessage": Rule(_SERVICE, cost=Cost.PAGE),
    "EditMessage": Rule(_SERVICE, cost=Cost.WRITE),
    "ListVersions": Rule(_SERVICE, cost=Cost.PAGE),
    "RecallMessage": Rule(_SERVICE, cost=Cost.WRITE),
    "DeleteMessage": Rule(_SERVICE, cost=Cost.WRITE),
    "AddReaction": Rule(_SERVICE, cost=Cost.WRITE),
    "RemoveReaction": Rule(_SERVICE, cost=Cost.WRITE),
    "ListReactions": Rule(_SERVICE, cost=Cost.PAGE),
    "PinMessage": Rule(_SERVICE, cost=Cost.WRITE),
    "UnpinMessage": Rule(_SERVICE, cost=Cost.WRITE),
    "ListPinnedMessages": Rule(_SERVICE, cost=Cost.PAGE),
}
_WEBHOOK = {
    "CreateWebhook": Rule(_SERVICE, cost=Cost.WRITE),
    "UpdateWebhook": Rule(_SERVICE, cost=Cost.WRITE),
    "DeleteWebhook": Rule(_SERVICE, cost=Cost.WRITE),
    "ListWebhooks": Rule(_SERVICE),
    "RotateSecret": Rule(_SERVICE, cost=Cost.WRITE),
    "ListDeliveries": Rule(_SERVICE, cost=Cost.PAGE),
    "ReplayDeliveries": Rule(_SERVICE, cost=Cost.WRITE),
}
_WEBHOOK_STORE = _WEBHOOK | {
    "ListEndpoints": Rule(_SERVICE, cost=Cost.CONTROL),
    "FindBlocked": Rule(_SERVICE),
    "StoreDeliveries": Rule(_SERVICE, cost=Cost.WRITE),
    "TakeDue": Rule(_SERVICE, cost=Cost.WRITE),
    "ResolveDeliveries": Rule(_SERVICE, cost=Cost.WRITE),
    "DisableWebhook": Rule(_SERVICE, cost=Cost.WRITE),
}

RULES: dict[str, Rule] = {
    f"/gochat.{service}/{rpc}": rule
    for service, rules in {
        "api.logic.v1.LogicService": _LOGIC,
        "api.session.v1.SessionService": _SESSION,
        "api.message.v1.MessageService": _MESSAGE,
        "api.group.v1.GroupService": _GROUP,
        "api.event.v1.EventService": _EVENT,
        "api.push.v1.PushService": _PUSH,
        "api.user.v1.UserService": _USERS,
        "api.repo.v1.RepoService": _REPO,
        "internal.store.v1.StoreService": _STORE,
        "internal.group.v1.GroupStoreService": _GROUP_STORE,
        "internal.message.v1.MessageStoreService": _MESSAGE_STORE,
        "internal.account.v1.AccountService": _ACCOUNT,
        "internal.login.v1.LoginStoreService": _LOGIN,
        "internal.user.v1.UserStoreService": {**_USERS, "ResolveUsers": Rule(_SERVICE, cost=Cost.PAGE)},
        "api.webhook.v1.WebhookService": _WEBHOOK,
        "internal.webhook.v1.WebhookStoreService": _WEBHOOK_STORE,
        "internal.push.v1.PushStoreService": _PUSH_STORE,
        "internal.change.v1.ChangeService": _CHANGE,
        "internal.reader.v1.ReaderService": _READER,
        "internal.signal.v1.SignalService": _SIGNAL,
        "api.audit.v1.AuditService": _AUDIT,
        "api.conversation.v1.ConversationService": _CONVERSATION,
        "internal.conversation.v1.ConversationStoreService": _CONVERSATION_STORE,
    }.items()
    for rpc, rule in rules.items()
}
"""By the path of the RPC, as gRPC writes it."""
