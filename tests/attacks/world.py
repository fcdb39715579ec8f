"""Who calls and where, for the access matrix: people of every relation to a conversation, and conversations."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gochat.api.audit.v1 import audit_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.internal.account.v1 import account_pb2
from tests.conversations import conversation_of
from tests.harness import PASSWORD, Deployment, Person, fresh

NOBODY, SERVICE, PLATFORM_ADMIN = "nobody", "service", "platform admin"
PEOPLE = ("owner", "admin", "member", "removed", "outsider", PLATFORM_ADMIN)
CALLERS = (NOBODY, *PEOPLE, SERVICE)
PRIVILEGED = (PLATFORM_ADMIN, SERVICE)
INSIDE = ("owner", "admin", "member")


@dataclass
class World:
    """Who calls, and `other`, who never does: a plain member that calls are about."""

    app: Deployment
    people: dict[str, Person]
    other: Person
    sessions: dict[str, str] = field(default_factory=dict)
    places: "dict[str, Place]" = field(default_factory=dict)

    def metadata(self, caller: str) -> tuple[tuple[str, str], ...]:
        if caller == NOBODY:
            return ()
        return self.app.service if caller == SERVICE else self.people[caller].metadata

    def id_of(self, name: str) -> str:
        return self.people[name].id

    def signed_in(self, person: Person) -> Person:
        return self.app.signed_in(person.id, person.username)

    def open_session(self, person: Person) -> tuple[str, str]:
        """(session id, refresh id)"""
        names = {"username": person.username, "password": PASSWORD}
        request = account_pb2.SignInRequest(**names, refresh_id=fresh(), expires_at=soon())
        return self.app.account.SignIn(request, metadata=self.app.service).session_id, request.refresh_id

    def spare_session(self, name: str) -> str:
        """A session that nobody needs."""
        if name not in self.sessions:
            self.sessions[name], _ = self.open_session(self.people[name])
        return self.sessions[name]

    def place(self, kind: str) -> "Place":
        if kind not in self.places:
            self.places[kind] = Place.group(self) if kind == "group" else Place.single(self)
        return self.places[kind]


@dataclass
class Place:
    """A conversation that calls are made in: roles are those of callers."""

    world: World
    kind: str
    id: str
    message_id: str
    roles: dict[str, str]

    @classmethod
    def group(cls, world: World) -> "Place":
        members = [world.id_of(name) for name in ("admin", "member", "removed")] + [world.other.id]
        owner, app = world.people["owner"], world.app
        group_id = owner.CreateGroup(name="Matrix", member_ids=members).group_id
        promotion = {"group_id": group_id, "user_id": world.id_of("admin"), "role": "admin"}
        app.repo.UpdateGroupMemberRole(repo_pb2.UpdateGroupMemberRoleRequest(**promotion), metadata=app.service)
        owner.RemoveGroupMember(group_id=group_id, user_id=world.id_of("removed"))
        roles = {name: name for name in (*INSIDE, "removed")}
        return cls(world, "group", group_id, owner.send(group_id).message_id, roles)

    @classmethod
    def single(cls, world: World) -> "Place":
        message_id = world.people["owner"].send(world.id_of("member")).message_id
        return cls(world, "single", conversation_of(message_id), message_id, {"owner": "member", "member": "member"})

    def facts(self) -> list[Any]:
        """What a refused call must leave as it is. The audit log shows accounts, sessions, roles and groups."""
        app = self.world.app
        requests: list[tuple[Callable[..., Any], Any]] = [
            (app.audit.ListEvents, audit_pb2.ListEventsRequest(limit=1)),
            (app.repo.GetConversation, repo_pb2.GetConversationRequest(conversation_id=self.id)),
            (app.repo.GetMessages, repo_pb2.GetMessagesRequest(conversation_id=self.id)),
        ]
        for name in ("owner", "member", "outsider"):
            lists = repo_pb2.GetConversationsByUserRequest(user_id=self.world.id_of(name))
            requests.append((app.repo.GetConversationsByUser, lists))
        if self.kind == "group":
            requests.append((app.repo.GetGroup, repo_pb2.GetGroupRequest(group_id=self.id)))
            requests.append((app.repo.GetGroupMembers, repo_pb2.GetGroupMembersRequest(group_id=self.id)))
        return [call(request, metadata=app.service, timeout=30) for call, request in requests]


def soon() -> int:
    return int(time.time() + 3600) * 1000
