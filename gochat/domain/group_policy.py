"""The rules of what a group lets people do, by its settings and their roles: functions of facts, as in policy.py."""

from collections.abc import Callable

from gochat.domain import policy
from gochat.domain.policy import ADMIN, MANAGERS, MEMBER, OWNER
from gochat.errors import ChatError, denied, invalid, limited, not_found

OPEN, APPROVAL, INVITATION, CLOSED = "open", "approval", "invitation", "closed"  # joining
BY_INVITATION = OPEN, APPROVAL, INVITATION
FOR_GOOD = 0  # until when, of a ban
MAX_INVITATIONS = 100  # of a group that work

# Why a message is not sent, as send_messages() of sql/routines.postgres.sql has it too.
POSTING, MUTED, SLOW_MODE = "posting", "muted", "slow_mode"


def send_refusal(
    posting: str, slow_mode_seconds: int, sender: tuple[str, int, int], now: int
) -> tuple[str, int] | None:
    """(why a member may not send now, until when); None if they may. sender: role, muted_until and sent_at of their
    newest message in slow mode. Times in Unix milliseconds."""
    role, muted_until, sent_at = sender
    if posting == MANAGERS and role == MEMBER:
        return POSTING, 0
    if muted_until > now:
        return MUTED, muted_until
    if slow_mode_seconds and role == MEMBER and sent_at + 1000 * slow_mode_seconds > now:
        return SLOW_MODE, sent_at + 1000 * slow_mode_seconds
    return None


SEND_ERRORS: dict[str, Callable[[int, int], ChatError]] = {
    POSTING: lambda _, __: denied("only the owner and the admins send messages to this group", "POSTING"),
    MUTED: lambda until, _: denied("you may not send to this group for now", "MUTED", muted_until=str(until)),
    SLOW_MODE: lambda until, now: limited(
        "members of this group wait between two messages", "SLOW_MODE", max(until - now, 1) / 1000
    ),
}
"""(until, now) -> the error."""


def manage(role: str | None, who: str = MANAGERS) -> None:
    """What managers do, or by the settings of the group everyone. role: of the user who acts; None for a service."""
    policy.manage("group", role or OWNER, who)


def outrank(role: str | None, target: str) -> None:
    """Acts of managers on another member. role: of the user who acts; None for a service, which outranks all."""
    if role is None or (role == OWNER and target != OWNER) or (role == ADMIN and target == MEMBER):
        return
    if target == OWNER:
        raise denied("nobody in a group may do this to its owner", "OWNER")
    raise denied("only the owner may do this to an admin, only the owner and admins to a member", "NOT_A_MANAGER")


def set_role(role: str | None, target: str, wanted: str, *, is_self: bool) -> None:
    """role: of the user who acts, None for a service; target: that of the member, who becomes admin or plain member."""
    if target == OWNER:
        raise denied("the owner keeps that role until another member is made owner", "OWNER")
    if role in (None, OWNER) or (is_self and wanted == MEMBER):
        return
    raise denied("only the owner makes admins, and only the owner or they themselves members of them", "NOT_THE_OWNER")


def succeed(*, is_active: bool) -> None:
    """Of the next owner."""
    if not is_active:
        raise denied("the owner of a group must not be a disabled user", "INACTIVE")


def own(role: str | None) -> None:
    """What only the owner does. role: of the user who acts; None for a service."""
    if role not in (None, OWNER):
        raise denied("only the owner of a group may do this", "NOT_THE_OWNER")


def join(joining: str, *wanted: str) -> None:
    """wanted: with which of these values of joining one may join in this way."""
    if joining not in wanted:
        raise denied(f"this group is joined otherwise: {joining}", "JOINING", joining=joining)


def is_banned(until: int, now: int) -> bool:
    return until == FOR_GOOD or until > now


def banned(until: int) -> ChatError:
    return denied("the user is banned from this group", "BANNED", banned_until=str(until))


def in_future(name: str, until: int, now: int) -> None:
    """0, which says that there is no end, or a time to come."""
    if 0 < until <= now:
        raise invalid(name, "must be 0 or a time that has not passed")


def no_invitation() -> ChatError:
    """The same for what never was one, has expired, is used up or revoked."""
    return not_found("invitation", "token")


def invite(working: int) -> None:
    if working >= MAX_INVITATIONS:
        raise denied(f"the group has {MAX_INVITATIONS} invitations: revoke some of them", "TOO_MANY_INVITATIONS")
