"""For the access matrix: a valid request of each RPC of GroupService and GroupStoreService."""

from collections.abc import Callable
from typing import Any

from tests.attacks.world import Place, soon

Valid = Callable[[Place], dict[str, Any]]


def _of(place: Place, **more: Any) -> dict[str, Any]:
    return {"group_id": place.id} | more


def _other(place: Place, **more: Any) -> dict[str, Any]:
    return _of(place, user_id=place.world.other.id, **more)


def _banned(place: Place) -> dict[str, Any]:
    banned = place.world.app.create_user()
    place.world.people["owner"].BanMember(group_id=place.id, user_id=banned)
    return _of(place, user_id=banned)


def _token(place: Place) -> dict[str, Any]:
    return {"token": place.world.people["owner"].CreateInvitation(group_id=place.id).invitation.token}


def _by_approval(place: Place) -> dict[str, Any]:
    place.world.people["owner"].UpdateGroupSettings(group_id=place.id, joining=2)
    return _of(place)


def _asked(place: Place) -> dict[str, Any]:
    """All have who are not in it."""
    fields = _by_approval(place)
    for name, person in place.world.people.items():
        if place.roles.get(name, "removed") == "removed":
            person.RequestToJoin(group_id=place.id)
    return fields


def _decided(place: Place) -> dict[str, Any]:
    person = place.world.app.person()
    person.RequestToJoin(**_by_approval(place))
    return _of(place, user_id=person.id, accept=True)


REQUESTS: dict[str, Valid] = {
    "SetMemberRole": lambda p: _other(p, role="admin"),
    "TransferOwnership": _other,
    "DissolveGroup": _of,
    "BanMember": _other,
    "UnbanMember": _banned,
    "ListBannedMembers": _of,
    "MuteMember": lambda p: _other(p, until=soon()),
    "GetGroupSettings": _of,
    "UpdateGroupSettings": lambda p: _of(p, slow_mode_seconds=1),
    "SearchGroups": lambda _: {"query": "chess"},
    "CreateInvitation": _of,
    "ListInvitations": _of,
    "RevokeInvitation": lambda p: _of(p) | _token(p),
    "GetInvitation": _token,
    "JoinByInvitation": _token,
    "RequestToJoin": _by_approval,
    "CancelRequest": _asked,
    "ListJoinRequests": _of,
    "DecideJoinRequest": _decided,
    "SetMemberTitle": lambda p: _other(p, title="Poet"),
    "SetMemberNickname": lambda p: _other(p, nickname="Bee"),
    "ListMembers": _of,
    "GetMember": _other,
}
PERSONAL = ("JoinByInvitation", "RequestToJoin", "CancelRequest")
"""Those of which user_id is the actor, who is not in the group."""
NAMELESS = ("SearchGroups", "GetInvitation")


def _stored(rpc: str, valid: Valid) -> Valid:
    if rpc in NAMELESS:
        return lambda p: {"request": valid(p)}
    return lambda p: {"user_id": p.world.id_of("outsider" if rpc in PERSONAL else "owner"), "request": valid(p)}


STORED: dict[str, Valid] = {rpc: _stored(rpc, valid) for rpc, valid in REQUESTS.items()}
