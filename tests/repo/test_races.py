"""Many clients together: nothing lost, nothing doubled, no rule outrun."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest

from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from gochat.api.repo.v1 import repo_pb2
from gochat.internal.account.v1 import account_pb2
from tests.conftest import DIAGONAL
from tests.conversations import conversation_of, group, history, seqs
from tests.harness import PASSWORD, Deployment, as_service, caller, fresh, new_connection, refused

CROWD, EACH = 50, 20


class Client:
    """A user on a connection of their own; `client.SendMessage(content=...)` as with Person."""

    def __init__(self, app: Deployment, user_id: str) -> None:
        username = app.repo.GetUser(repo_pb2.GetUserRequest(user_id=user_id), metadata=app.service).user.username
        self.id, self.metadata = user_id, app.signed_in(user_id, username).metadata
        self.channel = new_connection(app.address)
        self._stub = logic_pb2_grpc.LogicServiceStub(self.channel)

    def __getattr__(self, rpc: str) -> Callable[..., Any]:
        return caller(self._stub, logic_pb2, "LogicService", rpc, self.metadata)


@pytest.fixture(scope="module")
def crowd(app: Deployment) -> Iterator[list[Client]]:
    with ThreadPoolExecutor(4) as pool:
        clients = [Client(app, user_id) for user_id in pool.map(lambda _: app.create_user(fresh()), range(CROWD))]
    together(one.GetUserProfile for one in clients)  # each is connected, so that races begin together
    yield clients
    for client in clients:
        client.channel.close()


def together(works: Iterable[Callable[[], Any]]) -> list[Any]:
    """Runs them all together, a thread each; what each returned, or the status that refused it."""
    works = list(works)
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return work()
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return error.code()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def denied(answers: Iterable[Any]) -> int:
    """How many were refused; all of them for lack of a right."""
    codes = [answer for answer in answers if isinstance(answer, grpc.StatusCode)]
    assert set(codes) <= {grpc.StatusCode.PERMISSION_DENIED}
    return len(codes)


def test_a_crowd_in_one_group_loses_and_doubles_nothing(crowd: list[Client]) -> None:
    group_id = group(*crowd)

    def talk(client: Client) -> list[str]:
        return [client.SendMessage(conversation_id=group_id, content=str(n)).message_id for n in range(EACH)]

    acknowledged = together(partial(talk, one) for one in crowd)
    stored = history(crowd[0], group_id)
    assert seqs(stored) == list(range(1, CROWD * EACH + 1))
    for client, sent in zip(crowd, acknowledged, strict=True):
        theirs = [message for message in stored if message.from_user_id == client.id]
        assert [message.content for message in theirs] == [str(n) for n in range(EACH)]
        assert [message.message_id for message in theirs] == sent


def test_racing_first_messages_make_one_conversation(crowd: list[Client]) -> None:
    for one, other in zip(crowd[0:20:2], crowd[1:20:2], strict=True):
        answers = together(
            partial(sender.SendMessage, to_user_id=recipient.id, content="hello")
            for sender, recipient in [(one, other), (other, one)] * 2
        )
        message_ids = sorted(answer.message_id for answer in answers)
        conversation_ids = {conversation_of(message_id) for message_id in message_ids}
        assert len(conversation_ids) == 1
        stored = history(one, conversation_ids.pop())
        assert [message.message_id for message in stored] == message_ids
        assert seqs(stored) == [1, 2, 3, 4]


def test_racing_joins_never_exceed_max_members(crowd: list[Client]) -> None:
    owner, *others = crowd[:41]
    group_id = group(owner, max_members=20)
    answers = together(partial(one.JoinGroup, group_id=group_id) for one in others)
    assert denied(answers) == 21
    assert owner.GetGroupInfo(group_id=group_id).group.current_members == 20
    joined = {one.id for one, answer in zip(others, answers, strict=True) if not isinstance(answer, grpc.StatusCode)}
    assert {member.user_id for member in owner.GetGroupMembers(group_id=group_id).members} == joined | {owner.id}


def test_racing_additions_count_everyone_once(crowd: list[Client]) -> None:
    owner, *others = crowd[:21]
    group_id = group(owner)
    wanted = [one.id for one in others]
    answers = together([partial(owner.AddGroupMember, group_id=group_id, user_ids=wanted)] * 6)
    assert sorted(user_id for answer in answers for user_id in answer.added_user_ids) == sorted(wanted)
    assert owner.GetGroupInfo(group_id=group_id).group.current_members == 21


def test_one_client_msg_id_is_one_message(crowd: list[Client]) -> None:
    sender, other = crowd[20:22]
    for where in ({"to_user_id": other.id}, {"conversation_id": group(sender, other)}):
        send = partial(sender.SendMessage, **where, content="once", metadata={"client_msg_id": fresh("key")})
        answers = together([send] * 10)
        assert len({(answer.message_id, answer.created_at) for answer in answers}) == 1
        conversation_id = conversation_of(answers[0])
        sender.SendMessage(conversation_id=conversation_id, content="next")
        assert seqs(history(other, conversation_id)) == [1, 2]


def test_racing_creations_give_a_username_once(app: Deployment) -> None:
    name = fresh("Racer")
    create = as_service(app).repo.CreateUser
    answers = together(partial(create, username=same, password=PASSWORD) for same in [name, name.upper()] * 5)
    assert answers.count(grpc.StatusCode.ALREADY_EXISTS) == 9


@DIAGONAL  # the repo half is called directly
def test_racing_sign_ins_on_one_device_leave_one_session(app: Deployment, crowd: list[Client]) -> None:
    username = crowd[0].GetUserProfile().profile.username
    create = caller(app.account, account_pb2, "AccountService", "SignIn", app.service)
    rotate = caller(app.account, account_pb2, "AccountService", "RotateSession", app.service)
    for _ in range(10):
        device = {"username": username, "password": PASSWORD, "device_id": fresh("phone")}
        sign_in = partial(create, refresh_id="r", expires_at=2**42, **device)
        sessions = together([sign_in] * 8)
        assert not [answer for answer in sessions if isinstance(answer, grpc.StatusCode)]
        use = partial(rotate, refresh_id="r", next_refresh_id="s", expires_at=2**42)
        answers = together(partial(use, session_id=session.session_id) for session in sessions)
        assert answers.count(grpc.StatusCode.UNAUTHENTICATED) == 7


def test_a_removed_member_sends_nothing_more(crowd: list[Client]) -> None:
    owner, member = crowd[22:24]

    def talk(group_id: str, talking: threading.Event, removed: threading.Event) -> list[tuple[str, bool]]:
        """(message id, were they removed before they sent it?), until they are refused."""
        sent = []
        while True:
            late = removed.is_set()
            try:
                sent.append((member.SendMessage(conversation_id=group_id, content="still").message_id, late))
                talking.set()
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                assert error.code() is grpc.StatusCode.PERMISSION_DENIED
                return sent

    def remove(group_id: str, talking: threading.Event, removed: threading.Event) -> list[tuple[str, bool]]:
        talking.wait(timeout=30)
        owner.RemoveGroupMember(group_id=group_id, user_id=member.id)
        removed.set()
        return []

    for _ in range(5):
        group_id, talking, removed = group(owner, member), threading.Event(), threading.Event()
        answers = together(partial(act, group_id, talking, removed) for act in (talk, talk, talk, remove))
        sent = sorted(one for answer in answers for one in answer)
        assert not any(late for _, late in sent)
        assert [message.message_id for message in history(owner, group_id)] == [message_id for message_id, _ in sent]


def test_two_last_members_who_leave_together_leave_a_consistent_group(crowd: list[Client]) -> None:
    owner, member = crowd[24:26]
    for _ in range(10):
        group_id = group(owner, member)
        answers = together(partial(one.LeaveGroup, group_id=group_id) for one in (owner, member))
        if denied(answers):  # the owner was not the last
            assert answers[0] is grpc.StatusCode.PERMISSION_DENIED
            assert owner.GetGroupInfo(group_id=group_id).group.current_members == 1
            owner.LeaveGroup(group_id=group_id)
        with refused("NOT_FOUND", "group_id"):
            member.GetGroupInfo(group_id=group_id)


def test_nobody_joins_a_group_that_its_last_member_has_left(crowd: list[Client]) -> None:
    owner, *guests = crowd[26:30]
    for _ in range(10):
        group_id = group(owner)
        left, *joined = together(
            [partial(one.LeaveGroup, group_id=group_id) for one in (owner,)]
            + [partial(one.JoinGroup, group_id=group_id) for one in guests]
        )
        if left is grpc.StatusCode.PERMISSION_DENIED:
            assert denied(joined) == 0
            assert owner.GetGroupInfo(group_id=group_id).group.current_members == 4
        else:
            assert set(joined) == {grpc.StatusCode.NOT_FOUND}


def test_a_read_position_never_moves_back(crowd: list[Client]) -> None:
    sender, reader = crowd[30:32]
    sent = [sender.SendMessage(to_user_id=reader.id, content=str(n)).message_id for n in range(40)]
    conversation_id = conversation_of(sent[0])

    done = threading.Semaphore(0)

    def mark(message_ids: list[str]) -> None:
        try:
            for message_id in message_ids:
                reader.MarkMessageRead(conversation_id=conversation_id, message_id=message_id)
        finally:
            done.release()

    def unread() -> int:
        counts = {one.conversation_id: one.unread_count for one in reader.GetUnreadMessages().conversations}
        return counts.get(conversation_id, 0)

    def watch() -> list[int]:
        seen = [unread()]
        for _ in range(4):
            while not done.acquire(blocking=False):
                seen.append(unread())
        return seen

    *_, seen = together([*(partial(mark, sent[first::4] + sent[:first]) for first in range(4)), watch])
    assert seen == sorted(seen, reverse=True)
    assert unread() == 0
    assert {message.status for message in history(sender, conversation_id)} == {3}
