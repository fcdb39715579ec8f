"""Groups: what a conversation of type group has beyond a conversation. Its members are in members.py."""

from collections.abc import Sequence
from typing import Any

import peewee

from gochat.api.common.v1 import common_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.domain import group_policy, ids, limits, policy
from gochat.domain.changes import FOUNDING, Kind
from gochat.errors import ChatError, duplicate, invalid
from gochat.internal.store.v1 import store_pb2
from gochat.repo.audit import record, record_each
from gochat.repo.changes import add_change, add_changes_of
from gochat.repo.membership import (
    group,
    insert_members,
    locked_group,
    must_be_member,
    search_key,
    update_conversation,
)
from gochat.repo.users import get_user, lock_existing, must_be_among
from gochat.storage.database import Database, Tx
from gochat.storage.models import Conversation, Member


class Groups:
    """Of RepoService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def CreateGroup(self, request: repo_pb2.CreateGroupRequest) -> repo_pb2.CreateGroupResponse:
        created = self._database.write(
            lambda tx: create_group(
                tx,
                request.owner_id,
                (),
                name=request.name,
                description=request.description,
                avatar=request.avatar,
                max_members=request.max_members,
            )
        )
        return repo_pb2.CreateGroupResponse(group_id=created.conversation_id, group=as_group(created))

    def GetGroup(self, request: repo_pb2.GetGroupRequest) -> repo_pb2.GetGroupResponse:
        return repo_pb2.GetGroupResponse(
            group=as_group(self._database.read(lambda tx: group(tx, request.group_id), one_statement=True))
        )

    def UpdateGroup(self, request: repo_pb2.UpdateGroupRequest) -> repo_pb2.UpdateGroupResponse:
        changed = self._database.write(lambda tx: _update(tx, request, ""))
        return repo_pb2.UpdateGroupResponse(success=True, group=as_group(changed))

    def GetGroupsByUser(self, request: repo_pb2.GetGroupsByUserRequest) -> repo_pb2.GetGroupsByUserResponse:
        page, limit = limits.page_of(request.pagination)
        theirs = Member.select(Member.conversation_id).where(Member.user_id == request.user_id)
        wanted = (Conversation.type == "group") & Conversation.conversation_id.in_(theirs)

        def work(tx: Tx) -> repo_pb2.GetGroupsByUserResponse:
            latest_first = (Conversation.updated_at.desc(), Conversation.conversation_id.desc())
            rows = tx.model_all(Conversation.select().where(wanted).order_by(*latest_first).paginate(page, limit))
            counted = Conversation.select(peewee.fn.COUNT(Conversation.conversation_id)).where(wanted)
            total = tx.model_one(counted.tuples())[0]
            if not total:
                get_user(tx, request.user_id)
            return repo_pb2.GetGroupsByUserResponse(
                groups=map(as_group, rows),
                pagination=common_pb2.PaginationResponse(total=total, page=page, limit=limit),
            )

        return self._database.read(work, replica=True)


class StoreGroups:
    """Of StoreService: the same for users who act."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def CreateGroup(self, request: store_pb2.CreateGroupRequest) -> store_pb2.CreateGroupResponse:
        key = request.key
        made, created = self._database.write(
            lambda tx: create_group_once(
                tx,
                ids.keyed_group(key, self._database.pair_key) if key else ids.new_group(),
                request.owner_id,
                request.member_ids,
                name=request.name,
                description=request.description,
                avatar=request.avatar,
                max_members=request.max_members,
                search_key=search_key(request.name) if request.is_public else "",
                joining=group_policy.INVITATION if request.is_closed else group_policy.OPEN,
            )
        )
        return store_pb2.CreateGroupResponse(group=as_group(made), created=created)

    def UpdateGroup(self, request: store_pb2.UpdateGroupRequest) -> store_pb2.UpdateGroupResponse:
        changed = self._database.write(lambda tx: _update(tx, request, request.user_id))
        return store_pb2.UpdateGroupResponse(group=as_group(changed))


def create_group(tx: Tx, owner_id: str, member_ids: Sequence[str], **fields: Any) -> Conversation:
    """Makes a group, as create_group_once()."""
    made, _ = create_group_once(tx, ids.new_group(), owner_id, member_ids, **fields)
    return made


def create_group_once(
    tx: Tx,
    group_id: str,
    owner_id: str,
    member_ids: Sequence[str],
    *,
    name: str,
    description: str = "",
    avatar: str = "",
    max_members: int = 0,
    field: str = "member_ids",
    search_key: str = "",
    joining: str = group_policy.OPEN,
) -> tuple[Conversation, bool]:
    """The group of this id, and whether it was made; one that is there stays as it is. field: the request field of
    member_ids, for errors. Raises NOT_FOUND, INVALID_PARAMS; DUPLICATE_OPERATION where it was dissolved."""
    others = [user_id for user_id in dict.fromkeys(member_ids) if user_id != owner_id]
    places = max_members or limits.DEFAULT_MAX_MEMBERS
    if 1 + len(others) > places:
        raise invalid(field, f"must leave room: the group has {places} places, its owner among them")
    existing = lock_existing(tx, [owner_id, *others])
    must_be_among(existing, [owner_id], "owner_id" if field == "member_ids" else field)
    must_be_among(existing, others, field)
    now = ids.now_ms()
    created = Conversation(
        conversation_id=group_id,
        type="group",
        name=name,
        description=description,
        avatar=avatar,
        owner_id=owner_id,
        max_members=places,
        member_count=1 + len(others),
        last_seq=0,
        created_at=now,
        updated_at=now,
        dissolved_at=0,
        search_key=search_key,
        joining=joining,
    )
    if not tx.run(Conversation.insert(created.__data__).on_conflict_ignore().as_rowcount()):
        return _still_there(tx, group_id), False
    insert_members(tx, created, [owner_id], policy.OWNER, read_seq=0)
    insert_members(tx, created, others, policy.MEMBER, read_seq=0)
    record(tx, "group.create", created.conversation_id, owner_id)
    record_each(tx, "group.add", created.conversation_id, others)
    add_changes_of(tx, Kind.MEMBER_JOINED, created.conversation_id, [owner_id, *others], FOUNDING)
    return created, True


def _still_there(tx: Tx, group_id: str) -> Conversation:
    try:
        return group(tx, group_id)
    except ChatError:
        raise duplicate("this group was dissolved", "GROUP_DISSOLVED", "key") from None


def _update(tx: Tx, request: repo_pb2.UpdateGroupRequest | store_pb2.UpdateGroupRequest, user_id: str) -> Conversation:
    """user_id: who acts; "" for the service itself."""
    group = locked_group(tx, request.group_id)
    if user_id:
        role = must_be_member(tx, request.group_id, user_id)
        policy.manage("group", role, policy.MANAGERS if request.max_members else group.editing)
    if request.max_members and request.max_members < group.member_count:
        raise invalid("max_members", f"must not be below the {group.member_count} members that there are")
    fields = ("name", "description", "avatar", "max_members")
    changes = {name: value for name in fields if (value := getattr(request, name)) not in ("", 0, getattr(group, name))}
    if changes:
        update_conversation(tx, group, updated_at=ids.now_ms(), **changes)
        record(tx, "group.change", request.group_id)
        add_change(tx, Kind.GROUP_UPDATED, request.group_id)
    return group


def as_group(row: Conversation) -> common_pb2.Group:
    return common_pb2.Group(
        group_id=row.conversation_id,
        name=row.name,
        description=row.description,
        avatar=row.avatar,
        owner_id=row.owner_id,
        max_members=row.max_members,
        current_members=row.member_count,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
