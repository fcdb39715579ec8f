"""What groups let people do, and the search for groups."""

from typing import Any

from gochat.api.group.v1 import group_pb2 as api
from gochat.api.group.v1 import group_types_pb2 as types
from gochat.domain import cursors, group_policy, ids, limits
from gochat.domain.changes import Kind
from gochat.domain.text import casefold_key
from gochat.internal.group.v1 import group_pb2 as pb
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.membership import acting_role, locked_group, search_key, update_conversation, viewed_group
from gochat.storage.database import Database, Row, Tx
from gochat.storage.models import Conversation

# By 64 characters of the name, since a place in the list goes into a token.
_SEARCH = """
WITH ranked AS (
    SELECT conversation_id, substr(search_key, 1, 64) AS beginning, CASE
        WHEN search_key = ? THEN 0 WHEN substr(search_key, 1, length(?)) = ? THEN 1 ELSE 2
    END AS rank
    FROM conversations
    WHERE search_key <> '' AND (? = '' OR replace(search_key, ?, '') <> search_key)
)
SELECT ranked.rank, ranked.beginning, found.conversation_id, found.name, found.description, found.avatar,
    found.member_count, found.joining
FROM ranked
JOIN conversations AS found ON found.conversation_id = ranked.conversation_id
WHERE (ranked.rank, ranked.beginning, ranked.conversation_id) > (?, ?, ?)
ORDER BY ranked.rank, ranked.beginning, ranked.conversation_id LIMIT ?"""


class GroupSettings:
    """Of GroupStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def GetGroupSettings(self, request: pb.GetGroupSettingsRequest) -> api.GetGroupSettingsResponse:
        found, _ = self._database.read(lambda tx: viewed_group(tx, request.request.group_id, request.user_id))
        return api.GetGroupSettingsResponse(settings=settings_of(found))

    def UpdateGroupSettings(self, request: pb.UpdateGroupSettingsRequest) -> api.UpdateGroupSettingsResponse:
        def work(tx: Tx) -> Conversation:
            changed = locked_group(tx, request.request.group_id)
            group_policy.manage(acting_role(tx, changed.conversation_id, request.user_id))
            if changes := _changes(changed, request.request):
                update_conversation(tx, changed, updated_at=ids.now_ms(), **changes)
                record(tx, "group.settings", changed.conversation_id, " ".join(sorted(changes)))
                add_change(tx, Kind.GROUP_SETTINGS_UPDATED, changed.conversation_id)
            return changed

        return api.UpdateGroupSettingsResponse(settings=settings_of(self._database.write(work)))

    def SearchGroups(self, request: pb.SearchGroupsRequest) -> api.SearchGroupsResponse:
        asked = request.request
        page = cursors.page(request, self._database.pair_key, (-1, "", ""), limits.DEFAULT_PAGE)
        key = casefold_key(asked.query)
        if asked.query and not key:  # of characters that show nothing
            return api.SearchGroupsResponse()

        def work(tx: Tx) -> list[Row]:
            return tx.fetch_all(_SEARCH, key, key, key, key, key, *page.after, page.fetched)

        rows = self._database.read(work, one_statement=True, replica=True)
        token = page.cut(rows)
        return api.SearchGroupsResponse(groups=[preview(*row[2:]) for row in rows], next_page_token=token)


def _changes(group: Conversation, asked: api.UpdateGroupSettingsRequest) -> dict[str, Any]:
    """The columns that are to be others."""
    wanted: dict[str, Any] = {
        name: types.Who.Name(who).removeprefix("WHO_").lower()
        for name in ("posting", "adding", "editing")
        if (who := getattr(asked, name))
    }
    if asked.joining:
        wanted["joining"] = types.Joining.Name(asked.joining).removeprefix("JOINING_").lower()
    if asked.HasField("slow_mode_seconds"):
        wanted["slow_mode_seconds"] = asked.slow_mode_seconds
    if asked.HasField("searchable"):
        wanted["search_key"] = search_key(group.name) if asked.searchable else ""
    return {name: value for name, value in wanted.items() if value != getattr(group, name)}


def settings_of(group: Conversation) -> types.GroupSettings:
    return types.GroupSettings(
        group_id=group.conversation_id,
        posting=_who(group.posting),
        adding=_who(group.adding),
        editing=_who(group.editing),
        slow_mode_seconds=group.slow_mode_seconds,
        joining=_joining(group.joining),
        searchable=bool(group.search_key),
    )


def preview(
    group_id: str, name: str, description: str, avatar: str, member_count: int, joining: str
) -> types.GroupPreview:
    return types.GroupPreview(
        group_id=group_id,
        name=name,
        description=description,
        avatar=avatar,
        member_count=member_count,
        joining=_joining(joining),
    )


def _who(word: str) -> "types.Who.ValueType":
    return types.Who.Value(f"WHO_{word.upper()}")


def _joining(word: str) -> "types.Joining.ValueType":
    return types.Joining.Value(f"JOINING_{word.upper()}")
