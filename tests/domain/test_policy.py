"""Who may do what."""

from collections.abc import Callable

import pytest

from gochat.api.logic.v1.logic_pb2 import SendMessageRequest
from gochat.api.message.v1.message_pb2 import SendMessagesRequest
from gochat.context import Caller
from gochat.domain import policy
from gochat.errors import ChatError

USER, ADMIN, SERVICE = Caller("u1", "user", "d1"), Caller("u2", "admin", "d2"), Caller("", "service")


def refused(act: Callable[[], object]) -> str:
    """The reason, or "" if it is allowed."""
    try:
        act()
    except ChatError as error:
        return error.reason
    return ""


@pytest.mark.parametrize(
    ("caller", "named", "acts"),
    [(USER, "", "u1"), (USER, "u1", "u1"), (ADMIN, "", "u2"), (ADMIN, "u1", "u1"), (SERVICE, "u1", "u1")],
)
def test_the_actor_is_the_caller_unless_a_privileged_caller_names_another(
    caller: Caller, named: str, acts: str
) -> None:
    assert policy.actor(caller, named, "user_id") == acts


def test_no_user_acts_for_another_and_no_service_for_nobody() -> None:
    assert refused(lambda: policy.actor(USER, "u2", "user_id")) == "NOT_YOURSELF"
    assert refused(lambda: policy.actor(SERVICE, "", "user_id")) == "INVALID_FIELD"


def test_rules_are_judged_for_users_and_not_for_the_privileged() -> None:
    acting = [policy.acting(caller) for caller in (USER, ADMIN, SERVICE)]
    assert acting == [{"user_id": "u1"}, {"service": True}, {"service": True}]


def test_only_services_send_system_messages() -> None:
    assert [bool(refused(lambda c=c: policy.send(c, "system"))) for c in (USER, ADMIN, SERVICE)] == [True, True, False]
    assert not refused(lambda: policy.send(USER, "text"))


@pytest.mark.parametrize(
    ("kind", "role", "allowed"),
    [("single", "member", True), ("group", "member", False), ("group", "admin", True), ("group", "owner", True)],
)
def test_managing_a_group_takes_a_role(kind: str, role: str, allowed: bool) -> None:
    assert bool(refused(lambda: policy.manage(kind, role))) is not allowed


def test_members_are_removed_only_by_higher_roles() -> None:
    allowed = {
        (operator, target)
        for operator in (None, "owner", "admin", "member")
        for target in ("owner", "admin", "member")
        if not refused(lambda: policy.remove(operator, target))  # noqa: B023 - called at once
    }
    assert allowed == {
        (None, "admin"),
        (None, "member"),
        ("owner", "admin"),
        ("owner", "member"),
        ("admin", "member"),
    }


def test_a_group_always_has_its_owner() -> None:
    assert refused(lambda: policy.leave("owner", 2)) == "OWNER"
    assert not refused(lambda: policy.leave("owner", 1))
    assert not refused(lambda: policy.leave("member", 2))
    assert refused(lambda: policy.change_role("owner", "member")) == "OWNER"
    assert not refused(lambda: policy.change_role("owner", "owner"))
    assert not refused(lambda: policy.change_role("member", "owner"))


def test_a_full_group_takes_no_more_members() -> None:
    assert not refused(lambda: policy.room_for(1, 19, 20))
    assert refused(lambda: policy.room_for(1, 20, 20)) == "GROUP_FULL"
    assert refused(lambda: policy.room_for(2, 19, 20)) == "GROUP_FULL"


def test_messages_are_recalled_by_the_sender_or_a_group_manager() -> None:
    assert not refused(lambda: policy.withdraw("u1", "u1", "single", "member"))
    assert refused(lambda: policy.withdraw("u1", "u2", "single", "member"))
    assert not refused(lambda: policy.withdraw("u1", "u2", "group", "admin"))
    assert refused(lambda: policy.withdraw("u1", "u2", "group", "member"))


def test_a_send_is_idempotent_if_each_of_its_messages_has_a_client_msg_id() -> None:
    keyed = SendMessageRequest(metadata={"client_msg_id": "1"})
    assert policy.is_idempotent(keyed)
    assert not policy.is_idempotent(SendMessageRequest(metadata={"other": "1"}))
    assert policy.is_idempotent(SendMessagesRequest(messages=[keyed, keyed]))
    assert not policy.is_idempotent(SendMessagesRequest(messages=[keyed, SendMessageRequest()]))
    assert not policy.is_idempotent(SendMessagesRequest())
