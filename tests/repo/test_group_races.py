"""Acts on a group that race: whichever is first, the group is one that could be, and no rule is outrun."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest

from gochat.api.group.v1 import group_pb2, group_pb2_grpc, group_types_pb2
from tests.commands.copying import opened
from tests.conversations import group, history, seq_of
from tests.harness import Deployment, as_service, caller
from tests.repo.test_races import Client as PlainClient
from tests.repo.test_races import together

CROWD, ROUNDS = 24, 6
DENIED, NOT_FOUND = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND
DUPLICATE = grpc.StatusCode.ALREADY_EXISTS
RPCS = group_pb2.DESCRIPTOR.services_by_name["GroupService"].methods_by_name


class Client(PlainClient):
    """Of GroupService too."""

    def __getattr__(self, rpc: str) -> Callable[..., Any]:
        if rpc not in RPCS:
            return super().__getattr__(rpc)
        stub = group_pb2_grpc.GroupServiceStub(self.channel)
        return caller(stub, group_pb2, "GroupService", rpc, self.metadata)


@pytest.fixture(scope="module")
def crowd(app: Deployment) -> Iterator[list[Client]]:
    with ThreadPoolExecutor(4) as pool:
        clients = [Client(app, user_id) for user_id in pool.map(lambda _: app.create_user(), range(CROWD))]
    together(one.GetUserProfile for one in clients)  # each is connected, so that races begin together
    yield clients
    for client in clients:
        client.channel.close()


def members(app: Deployment, group_id: str) -> dict[str, str]:
    """Roles by user id; checks that there is one owner, who is the group's, and that all are counted."""
    service = as_service(app).repo
    roles = {each.user_id: each.role for each in service.GetGroupMembers(group_id=group_id).members}
    found = service.GetGroup(group_id=group_id).group
    assert [user_id for user_id, role in roles.items() if role == "owner"] == [found.owner_id]
    assert found.current_members == len(roles)
    return roles


def is_error(answer: Any) -> bool:
    return isinstance(answer, grpc.StatusCode)


def test_transfer_against_leave(app: Deployment, crowd: list[Client]) -> None:
    """The heir goes, or they own the group and stay; the owner may go once they have handed over."""
    owner, heir, other = crowd[:3]
    for _ in range(ROUNDS):
        group_id = group(owner, heir, other)
        handed, left = together(
            [
                partial(owner.TransferOwnership, group_id=group_id, user_id=heir.id),
                partial(heir.LeaveGroup, group_id=group_id),
            ]
        )
        roles = members(app, group_id)
        assert (handed is NOT_FOUND, left is DENIED) in ((True, False), (False, True))
        assert roles.get(heir.id) == (None if handed is NOT_FOUND else "owner")


def test_two_transfers_at_once_make_one_owner(app: Deployment, crowd: list[Client]) -> None:
    owner, *heirs = crowd[:3]
    for _ in range(ROUNDS):
        group_id = group(owner, *heirs)
        answers = together(partial(owner.TransferOwnership, group_id=group_id, user_id=heir.id) for heir in heirs)
        assert sorted(map(is_error, answers)) == [False, True], "the second is no owner's any more"
        assert members(app, group_id)[heirs[is_error(answers[0])].id] == "owner"


def test_promotion_against_removal(app: Deployment, crowd: list[Client]) -> None:
    """Whoever is removed has no role; an admin removes nobody who was made one before."""
    owner, admin, member = crowd[:3]
    for _ in range(ROUNDS):
        group_id = group(owner, admin, member)
        owner.SetMemberRole(group_id=group_id, user_id=admin.id, role="admin")
        promoted, removed = together(
            [
                partial(owner.SetMemberRole, group_id=group_id, user_id=member.id, role="admin"),
                partial(admin.RemoveGroupMember, group_id=group_id, user_id=member.id),
            ]
        )
        roles = members(app, group_id)
        if is_error(removed):
            assert (removed, roles[member.id]) == (DENIED, "admin")
        else:
            assert promoted is NOT_FOUND
            assert member.id not in roles


def test_a_ban_against_every_way_in(app: Deployment, crowd: list[Client]) -> None:
    """When all is done nobody who is banned is in."""
    owner, admin, joiner, invited, added = crowd[:5]
    for _ in range(ROUNDS):
        group_id = group(owner, admin)
        owner.SetMemberRole(group_id=group_id, user_id=admin.id, role="admin")
        token = owner.CreateInvitation(group_id=group_id).invitation.token
        comers = joiner, invited, added
        answers = together(
            [
                partial(joiner.JoinGroup, group_id=group_id),
                partial(invited.JoinByInvitation, token=token),
                partial(admin.AddGroupMember, group_id=group_id, user_ids=[added.id]),
                *(partial(owner.BanMember, group_id=group_id, user_id=one.id) for one in comers),
            ]
        )
        assert set(filter(is_error, answers)) <= {DENIED}
        assert not any(map(is_error, answers[3:]))
        assert members(app, group_id).keys() == {owner.id, admin.id}
        assert len(owner.ListBannedMembers(group_id=group_id).bans) == 3


def test_the_last_use_of_an_invitation_is_one_persons(app: Deployment, crowd: list[Client]) -> None:
    owner, *guests = crowd[:21]
    for uses in (1, 3):
        group_id = group(owner)
        token = owner.CreateInvitation(group_id=group_id, max_uses=uses).invitation.token
        answers = together(partial(one.JoinByInvitation, token=token) for one in guests)
        assert [answer for answer in answers if is_error(answer)] == [NOT_FOUND] * (20 - uses)
        assert len(members(app, group_id)) == 1 + uses
        assert not owner.ListInvitations(group_id=group_id).invitations


def test_one_who_joins_twice_at_once_uses_an_invitation_once(app: Deployment, crowd: list[Client]) -> None:
    owner, guest = crowd[:2]
    group_id = group(owner)
    token = owner.CreateInvitation(group_id=group_id, max_uses=5).invitation.token
    answers = together([partial(guest.JoinByInvitation, token=token)] * 5)
    assert [answer for answer in answers if is_error(answer)] == [DUPLICATE] * 4
    assert owner.ListInvitations(group_id=group_id).invitations[0].uses == 1
    assert members(app, group_id).keys() == {owner.id, guest.id}


def test_a_request_is_decided_withdrawn_or_overtaken_once(app: Deployment, crowd: list[Client]) -> None:
    owner, admin, asker = crowd[:3]
    for _ in range(ROUNDS):
        group_id = group(owner, admin)
        owner.SetMemberRole(group_id=group_id, user_id=admin.id, role="admin")
        owner.UpdateGroupSettings(group_id=group_id, joining=group_types_pb2.JOINING_APPROVAL)
        token = owner.CreateInvitation(group_id=group_id).invitation.token
        asker.RequestToJoin(group_id=group_id)
        decide = {"group_id": group_id, "user_id": asker.id}
        accepted, declined, withdrawn, invited = together(
            [
                partial(owner.DecideJoinRequest, accept=True, **decide),
                partial(admin.DecideJoinRequest, accept=False, **decide),
                partial(asker.CancelRequest, group_id=group_id),
                partial(asker.JoinByInvitation, token=token),
            ]
        )
        ends = [answer for answer in (accepted, declined, withdrawn) if not is_error(answer)]
        assert {answer for answer in (accepted, declined, withdrawn) if is_error(answer)} <= {NOT_FOUND}
        assert len(ends) <= 1
        assert is_error(invited) == (not is_error(accepted)), "they came in by the one or by the other"
        assert asker.id in members(app, group_id)
        assert not owner.ListJoinRequests(group_id=group_id).requests


def test_nothing_is_sent_to_a_group_that_was_dissolved(app: Deployment, crowd: list[Client]) -> None:
    owner, *talkers = crowd[:4]

    def talk(one: Client, group_id: str) -> list[Any]:
        sent = []
        try:
            while True:
                sent.append(one.SendMessage(conversation_id=group_id, content="still").message_id)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            assert error.code() is NOT_FOUND
        return sent

    def dissolve(group_id: str) -> list[Any]:
        owner.DissolveGroup(group_id=group_id)
        return []

    for _ in range(3):
        group_id = group(owner, *talkers)
        answers = together([*(partial(talk, one, group_id) for one in talkers), partial(dissolve, group_id)])
        numbers = sorted(seq_of(message_id) for answer in answers for message_id in answer)
        assert numbers == list(range(1, newest(app, group_id) + 1)), "all that is there was answered"


def newest(app: Deployment, group_id: str) -> int:
    """The number of the newest message of a group, also one that is dissolved."""
    with opened(app.url or f"sqlite:///{app.data}/gochat.db") as cursor:
        cursor.execute(f"SELECT last_seq FROM conversations WHERE conversation_id = '{group_id}'")
        return int(cursor.fetchall()[0][0])


def test_who_is_muted_sends_nothing_more(crowd: list[Client]) -> None:
    owner, member = crowd[:2]

    def talk(group_id: str, talking: threading.Event, muted: threading.Event) -> list[tuple[str, bool]]:
        """(message id, were they muted before they sent it?), until they are refused."""
        sent = []
        while True:
            late = muted.is_set()
            try:
                sent.append((member.SendMessage(conversation_id=group_id, content="still").message_id, late))
                talking.set()
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                assert error.code() is DENIED
                return sent

    def mute(group_id: str, talking: threading.Event, muted: threading.Event) -> list[tuple[str, bool]]:
        talking.wait(timeout=30)
        owner.MuteMember(group_id=group_id, user_id=member.id, until=int(time.time() + 3600) * 1000)
        muted.set()
        return []

    for _ in range(3):
        group_id, talking, muted = group(owner, member), threading.Event(), threading.Event()
        answers = together(partial(act, group_id, talking, muted) for act in (talk, talk, talk, mute))
        sent = sorted(one for answer in answers for one in answer)
        assert not any(late for _, late in sent)
        assert [message.message_id for message in history(owner, group_id)] == [message_id for message_id, _ in sent]


def test_in_slow_mode_one_of_many_sends_at_once_is_sent(crowd: list[Client]) -> None:
    owner, member = crowd[:2]
    group_id = group(owner, member)
    owner.UpdateGroupSettings(group_id=group_id, slow_mode_seconds=3600)
    answers = together([partial(member.SendMessage, conversation_id=group_id, content="x")] * 10)
    assert [answer for answer in answers if is_error(answer)] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 9
    assert len(history(owner, group_id)) == 1


def test_dissolution_against_every_way_in(app: Deployment, crowd: list[Client]) -> None:
    owner, joiner, invited, asker = crowd[:4]
    for _ in range(ROUNDS):
        group_id = group(owner)
        token = owner.CreateInvitation(group_id=group_id).invitation.token
        together(
            [
                partial(owner.DissolveGroup, group_id=group_id),
                partial(joiner.JoinGroup, group_id=group_id),
                partial(invited.JoinByInvitation, token=token),
                partial(asker.RequestToJoin, group_id=group_id),
            ]
        )
        for one in (joiner, invited):
            assert group_id not in [info.conversation_id for info in one.GetConversations().conversations]
    found = app.run("check", check=False)
    assert found.stdout.startswith("clean:"), found.stdout
