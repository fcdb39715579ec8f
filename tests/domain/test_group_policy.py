"""What a group lets people do, on facts alone."""

from itertools import product

import pytest

from gochat.domain import group_policy
from gochat.domain.policy import ADMIN, EVERYONE, MANAGERS, MEMBER, OWNER
from gochat.errors import ChatError

NOW, HOUR = 1_000_000, 3_600_000


def reason(role: str | None, target: str) -> str:
    try:
        group_policy.outrank(role, target)
    except ChatError as error:
        return error.reason
    return ""


@pytest.mark.parametrize(
    ("posting", "seconds", "sender", "refusal"),
    [
        (EVERYONE, 0, (MEMBER, 0, 0), None),
        (EVERYONE, 0, (MEMBER, NOW, 0), None),
        (EVERYONE, 0, (MEMBER, NOW + 1, 0), ("muted", NOW + 1)),
        (EVERYONE, 0, (ADMIN, NOW + 1, 0), ("muted", NOW + 1)),
        (MANAGERS, 0, (MEMBER, NOW + 1, 0), ("posting", 0)),
        (MANAGERS, 0, (ADMIN, 0, 0), None),
        (MANAGERS, 0, (OWNER, 0, 0), None),
        (EVERYONE, 10, (MEMBER, 0, NOW - 10_000), None),
        (EVERYONE, 10, (MEMBER, 0, NOW - 9_999), ("slow_mode", NOW + 1)),
        (EVERYONE, 10, (MEMBER, 0, NOW + HOUR), ("slow_mode", NOW + HOUR + 10_000)),
        (EVERYONE, 10, (ADMIN, 0, NOW), None),
        (EVERYONE, 0, (MEMBER, 0, NOW), None),
    ],
)
def test_who_may_send(
    posting: str, seconds: int, sender: tuple[str, int, int], refusal: tuple[str, int] | None
) -> None:
    assert group_policy.send_refusal(posting, seconds, sender, NOW) == refusal


def test_slow_mode_says_after_how_long() -> None:
    assert group_policy.SEND_ERRORS["slow_mode"](NOW + 1500, NOW).retry_ms == 1500
    assert group_policy.SEND_ERRORS["slow_mode"](NOW, NOW + 5).retry_ms == 1, "it has passed meanwhile"


def test_the_owner_outranks_all_others_and_admins_plain_members() -> None:
    roles = (OWNER, ADMIN, MEMBER)
    allowed = {(role, target) for role, target in product(roles, roles) if not reason(role, target)}
    assert allowed == {(OWNER, ADMIN), (OWNER, MEMBER), (ADMIN, MEMBER)}
    assert not any(reason(None, target) for target in roles), "services outrank all"


def test_a_ban_is_for_good_or_until_a_time() -> None:
    assert [group_policy.is_banned(until, NOW) for until in (0, NOW - 1, NOW, NOW + 1)] == [True, False, False, True]
