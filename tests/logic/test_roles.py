"""Roles in a group, by those who have them."""

import pytest

from tests.conversations import group
from tests.harness import Deployment, Person, as_service, refused


def roles(reader: Person, group_id: str) -> dict[str, str]:
    """By user id."""
    return {member.user_id: member.role for member in reader.GetGroupMembers(group_id=group_id).members}


def test_an_owner_makes_admins_and_plain_members_of_them(app: Deployment) -> None:
    ann, ben = app.people(2)
    group_id = group(ann, ben)
    for role in ("admin", "admin", "member"):
        assert ann.SetMemberRole(group_id=group_id, user_id=ben.id, role=role).success
        assert roles(ann, group_id) == {ann.id: "owner", ben.id: role}
    actions = [event.action for event in app.events(user_id=ben.id) if event.target_id == group_id]
    assert actions == ["group.add", "group.role.admin", "group.role.member"], "what changes nothing is no act"


def test_an_admin_steps_down_and_makes_nobody_anything(app: Deployment) -> None:
    ann, ben, cem, dan = app.people(4)
    group_id = group(ann, ben, cem, dan)
    for admin in (ben, cem):
        ann.SetMemberRole(group_id=group_id, user_id=admin.id, role="admin")
    for target, role in ((cem, "member"), (cem, "admin"), (dan, "admin"), (dan, "member")):
        with refused("PERMISSION_DENIED", reason="NOT_THE_OWNER"):
            ben.SetMemberRole(group_id=group_id, user_id=target.id, role=role)
    ben.SetMemberRole(group_id=group_id, user_id=ben.id, role="member")
    assert roles(ann, group_id)[ben.id] == "member"


def test_nobody_promotes_themselves(app: Deployment) -> None:
    ann, ben, eve = app.people(3)
    group_id = group(ann, ben)
    with refused("PERMISSION_DENIED", reason="NOT_THE_OWNER"):
        ben.SetMemberRole(group_id=group_id, user_id=ben.id, role="admin")
    with refused("INVALID_ARGUMENT", "role"):
        ben.SetMemberRole(group_id=group_id, user_id=ben.id, role="owner")
    with refused("PERMISSION_DENIED", reason="NOT_THE_OWNER"):
        ben.TransferOwnership(group_id=group_id, user_id=ben.id)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        eve.SetMemberRole(group_id=group_id, user_id=eve.id, role="admin")
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        eve.TransferOwnership(group_id=group_id, user_id=eve.id)
    assert roles(ann, group_id) == {ann.id: "owner", ben.id: "member"}


def test_an_owner_keeps_that_role_until_they_hand_it_over(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    group_id = group(ann, ben, cem)
    for who in (ann, as_service(app).group):
        with refused("PERMISSION_DENIED", reason="OWNER"):
            who.SetMemberRole(group_id=group_id, user_id=ann.id, role="member")
    ann.TransferOwnership(group_id=group_id, user_id=ben.id)
    assert roles(ann, group_id) == {ann.id: "admin", ben.id: "owner", cem.id: "member"}
    assert ann.GetGroupInfo(group_id=group_id).group.owner_id == ben.id
    with refused("PERMISSION_DENIED", reason="NOT_THE_OWNER"):
        ann.TransferOwnership(group_id=group_id, user_id=ann.id)
    ann.LeaveGroup(group_id=group_id)
    as_service(app).group.TransferOwnership(group_id=group_id, user_id=cem.id)
    assert roles(ben, group_id) == {ben.id: "admin", cem.id: "owner"}


def test_a_group_is_handed_to_an_active_member(app: Deployment) -> None:
    ann, ben, eve = app.people(3)
    group_id = group(ann, ben)
    with refused("NOT_FOUND", "user_id"):
        ann.TransferOwnership(group_id=group_id, user_id=eve.id)
    as_service(app).repo.UpdateUser(user_id=ben.id, status=2)
    with refused("PERMISSION_DENIED", reason="INACTIVE"):
        ann.TransferOwnership(group_id=group_id, user_id=ben.id)
    ann.TransferOwnership(group_id=group_id, user_id=ann.id)
    assert roles(ann, group_id) == {ann.id: "owner", ben.id: "member"}


def test_a_dissolved_group_exists_for_nobody(app: Deployment) -> None:
    ann, ben, cem, eve = app.people(4)
    group_id = group(ann, ben, cem)
    ann.SetMemberRole(group_id=group_id, user_id=ben.id, role="admin")
    ann.send(group_id)
    token = ann.CreateInvitation(group_id=group_id).invitation.token
    ann.UpdateGroupSettings(group_id=group_id, joining=2, searchable=True)
    eve.RequestToJoin(group_id=group_id)
    for who in (ben, cem):
        with refused("PERMISSION_DENIED", reason="NOT_THE_OWNER"):
            who.DissolveGroup(group_id=group_id)
    with refused("PERMISSION_DENIED", reason="NOT_A_PARTICIPANT"):
        eve.DissolveGroup(group_id=group_id)
    ann.DissolveGroup(group_id=group_id)
    for who in (ann, cem, eve):
        with refused("NOT_FOUND", "conversation_id"):
            who.GetMessageHistory(conversation_id=group_id)
        with refused("NOT_FOUND", "conversation_id"):
            who.send(group_id)
        for rpc in ("GetGroupSettings", "DissolveGroup", "RequestToJoin", "ListMembers", "JoinGroup"):
            with refused("NOT_FOUND", "group_id"):
                getattr(who, rpc)(group_id=group_id)
        with refused("NOT_FOUND", "token"):
            who.JoinByInvitation(token=token)
        assert group_id not in [info.conversation_id for info in who.GetConversations().conversations]
        assert group_id not in [found.group_id for found in who.SearchGroups(query="group", limit=100).groups]
    assert [event.action for event in app.events(user_id=ann.id) if event.target_id == group_id][-1] == "group.dissolve"


@pytest.mark.parametrize("rpc", ["SetMemberRole", "TransferOwnership"])
def test_a_user_who_is_no_member_is_not_found(app: Deployment, rpc: str) -> None:
    ann, eve = app.people(2)
    fields = {"role": "admin"} if rpc == "SetMemberRole" else {}
    with refused("NOT_FOUND", "user_id"):
        getattr(ann, rpc)(group_id=group(ann), user_id=eve.id, **fields)
