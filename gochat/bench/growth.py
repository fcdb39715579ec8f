"""--growth: makes one call at a time on a small and on a large database in turn, to see which calls get slower."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import monotonic

from gochat.api.common.v1.common_pb2 import PaginationRequest
from gochat.api.group.v1 import group_pb2
from gochat.api.logic.v1 import logic_pb2 as pb
from gochat.api.repo.v1 import repo_pb2
from gochat.bench.clients import sign_in
from gochat.bench.requests import Call, call
from gochat.bench.seed import FAMILY, GIVEN, Room, username
from gochat.bench.servers import Deployment
from gochat.domain import ids
from gochat.rpc.load import Probe, percentile

PAGE = 10  # items; as many as the small database has, so that the answers of both have the same size
UNREAD_ROOMS = 5
GROUP = 12  # members, more than those of a small group: see gochat/repo/inboxes.py
MIN_CALLS = 20  # calls of each kind on each database
WARM_UP = 5  # calls


@dataclass(frozen=True)
class GrowthSizes:
    """messages: in one conversation. users: in all. conversations, groups of GROUP, unread messages: of one user.
    members: of one group."""

    messages: int
    users: int
    conversations: int
    groups: int
    members: int
    unread: int

    def rooms(self) -> list[Room]:
        """Each dimension has a user of its own, the first member of the conversations that vary. JOINER is in none."""
        friends = range(FRIENDS, self.users)
        others = [friends[number % len(friends)] for number in range(self.conversations)]
        return [
            Room("group", [TALKER, *friends[:9]], self.messages),
            Room("group", [MEMBER, *friends[: self.members - 1]], 100),
            Room("group", [BEHIND, *friends[:9]], self.unread, self.unread),
            *(Room("group", [IN_GROUPS, *friends[: GROUP - 1]], 10) for _ in range(self.groups)),
            *(Room("single", [IN_MANY, other], 10, int(index < UNREAD_ROOMS)) for index, other in enumerate(others)),
        ]


TALKER, IN_MANY, IN_GROUPS, MEMBER, JOINER, BEHIND, FRIENDS = range(7)
"""The numbers of users; those from FRIENDS on only fill conversations."""

SMALL = GrowthSizes(messages=1_000, users=100, conversations=10, groups=20, members=10, unread=10)
LARGE = GrowthSizes(
    messages=1_000_000, users=100_000, conversations=5_000, groups=2_000, members=99_000, unread=100_000
)


def large(scale: float) -> GrowthSizes:
    """The sizes of the large database times the scale, but no less than those of the small one."""
    sizes = {name: max(getattr(SMALL, name), int(size * scale)) for name, size in asdict(LARGE).items()}
    return GrowthSizes(**sizes)


class World:
    """A server with one of the two databases. service: a token of the role service."""

    def __init__(self, server: Deployment, sizes: GrowthSizes, service: str) -> None:
        self.sizes, self.service = sizes, service
        self.people = {
            number: sign_in(server.logic.address, number)
            for number in (TALKER, IN_MANY, IN_GROUPS, MEMBER, JOINER, BEHIND)
        }
        self._logic, self._repo = Probe(server.logic.address), Probe(server.repo.address)
        for group_id in self.people[JOINER].groups:  # an earlier measurement was interrupted
            self._logic.time(*_leave(group_id), self.people[JOINER].token)

    def time(self, probe: "Timed") -> int:
        """Makes the call; returns how long it took, in nanoseconds. Raises ChatError."""
        if probe.caller is None:
            return self._repo.time(*probe.request(self), self.service)
        token = self.people[probe.caller].token
        taken = self._logic.time(*probe.request(self), token)
        if probe.undo:
            self._logic.time(*probe.undo(self), token)
        return taken

    def room(self, number: int) -> str:
        """The conversation that varies for the user of a dimension."""
        return self.people[number].conversations[0].conversation_id

    def close(self) -> None:
        self._logic.close()
        self._repo.close()


@dataclass(frozen=True)
class Timed:
    """A call to time. caller: None for the service. undo: a call made after each, without being timed."""

    dimension: str
    name: str
    caller: int | None
    request: Callable[[World], Call]
    undo: Callable[[World], Call] | None = None

    @property
    def rpc(self) -> str:
        return self.name.split(",")[0]


@dataclass(frozen=True)
class Growth:
    """Latencies of one call on the small and on the large database, in nanoseconds."""

    timed: Timed
    small: list[int]
    large: list[int]

    @property
    def factor(self) -> float:
        """How many times as long the P50 is on the large database."""
        return percentile(self.large, 50) / percentile(self.small, 50)


def measure(timed: Timed, small: World, large: World, seconds: float) -> Growth:
    """Times the call for so many seconds. Raises ChatError."""
    for _ in range(WARM_UP):
        small.time(timed)
        large.time(timed)
    growth = Growth(timed, [], [])
    until = monotonic() + seconds
    while monotonic() < until or len(growth.small) < MIN_CALLS:
        growth.small.append(small.time(timed))
        growth.large.append(large.time(timed))
    return growth


def _send(caller: int) -> Callable[[World], Call]:
    """Sends to the last conversation of the user's list, so that each send reorders the list."""
    return lambda world: call(
        "SendMessage",
        pb.SendMessageRequest(
            conversation_id=world.people[caller].conversations[-1].conversation_id, content="a message like many others"
        ),
    )


def _history(world: World, caller: int, before: int = 0) -> Call:
    room = world.room(caller)
    cursor = ids.message(room, before) if before else ""
    return call(
        "GetMessageHistory", pb.GetMessageHistoryRequest(conversation_id=room, before_message_id=cursor, limit=PAGE)
    )


def _conversations(_: World) -> Call:
    return call("GetConversations", pb.GetConversationsRequest(pagination=PaginationRequest(limit=PAGE)))


def _unread(_: World) -> Call:
    return call("GetUnreadMessages", pb.GetUnreadMessagesRequest())


def _members(world: World, page: int) -> Call:
    pagination = PaginationRequest(page=page, limit=PAGE)
    return call("GetGroupMembers", pb.GetGroupMembersRequest(group_id=world.room(MEMBER), pagination=pagination))


def _named(world: World) -> Call:
    request = group_pb2.ListMembersRequest(group_id=world.room(MEMBER), query=username(world.sizes.members // 2)[1:])
    return "/gochat.api.group.v1.GroupService/ListMembers", request.SerializeToString()


def _leave(group_id: str) -> Call:
    return call("LeaveGroup", pb.LeaveGroupRequest(group_id=group_id))


def _profile(world: World) -> Call:
    return call("GetUserProfile", pb.GetUserProfileRequest(user_id=world.people[IN_MANY].user_id))


def _user(world: World) -> Call:
    request = repo_pb2.GetUserRequest(user_id=world.people[IN_MANY].user_id)
    return "/gochat.api.repo.v1.RepoService/GetUser", request.SerializeToString()


def _search(query: str) -> Callable[[World], Call]:
    request = pb.SearchUsersRequest(query=query, pagination=PaginationRequest(limit=PAGE))
    return lambda _: call("SearchUsers", request)


TIMED = (
    Timed("messages", "SendMessage", TALKER, _send(TALKER)),
    Timed("messages", "GetMessageHistory, first page", TALKER, lambda world: _history(world, TALKER)),
    Timed(
        *("messages", "GetMessageHistory, deep page", TALKER),
        lambda world: _history(world, TALKER, before=world.sizes.messages // 10),
    ),
    Timed("messages", "GetConversations", TALKER, _conversations),
    Timed("messages", "GetUnreadMessages", TALKER, _unread),
    Timed("users", "GetUser", None, _user),
    Timed("users", "GetUserProfile", TALKER, _profile),
    Timed("users", "SearchUsers, part of a username", TALKER, _search(username(42)[1:])),
    Timed("users", "SearchUsers, part of a nickname", TALKER, _search("ol Bak")),
    Timed("users", "SearchUsers, 3 Chinese characters", TALKER, _search(FAMILY[0] + GIVEN[0])),
    Timed("users", "SearchUsers, 2 Chinese characters", TALKER, _search(GIVEN[0])),
    Timed("users", "SearchUsers, what all have", TALKER, _search(username(0)[:5])),
    Timed("conversations", "GetConversations", IN_MANY, _conversations),
    Timed("conversations", "GetUnreadMessages", IN_MANY, _unread),
    Timed("conversations", "SendMessage", IN_MANY, _send(IN_MANY)),
    Timed("groups", "GetConversations", IN_GROUPS, _conversations),
    Timed("groups", "GetUnreadMessages", IN_GROUPS, _unread),
    Timed("groups", "SendMessage", IN_GROUPS, _send(IN_GROUPS)),
    Timed("members", "GetGroupMembers, first page", MEMBER, lambda world: _members(world, 1)),
    Timed("members", "GetGroupMembers, last page", MEMBER, lambda world: _members(world, world.sizes.members // PAGE)),
    Timed(
        *("members", "JoinGroup", JOINER),
        lambda world: call("JoinGroup", pb.JoinGroupRequest(group_id=world.room(MEMBER))),
        lambda world: _leave(world.room(MEMBER)),
    ),
    Timed("members", "SendMessage", MEMBER, _send(MEMBER)),
    Timed("members", "ListMembers, by name", MEMBER, _named),
    Timed("unread", "GetUnreadMessages", BEHIND, _unread),
    Timed("unread", "GetConversations", BEHIND, _conversations),
    Timed("unread", "GetMessageHistory, first page", BEHIND, lambda world: _history(world, BEHIND)),
)
