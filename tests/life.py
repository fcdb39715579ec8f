"""A little of everything that people do to a GoChat, so that its database has seen every kind of act."""

from dataclasses import dataclass

from tests.conversations import conversation_of
from tests.harness import PASSWORD, Deployment, Person, as_service, refused

RECALLED, DELETED_USER, DISABLED = 4, 3, 2


@dataclass(frozen=True)
class Life:
    """The people and conversations that a test may name.

    bob wrote once in `group`, as message 2, and `zoe` never signed in. `quiet` is a group of ann and bob, `pair` a
    conversation of both, `talk` one of ann and cem, where ann wrote 1 and 3; `club` a group that ann governs, of her
    and bob. In `busy` 1 is edited, pinned, reacted to by bob and cem, 2 answers it and mentions ann, 3 mentions all and
    is deleted by bob for himself.
    """

    ann: Person
    bob: Person
    cem: Person
    zoe: str
    group: str
    quiet: str
    pair: str
    talk: str
    club: str
    busy: str


def _governed(app: Deployment, ann: Person, bob: Person, group_id: str) -> None:
    """What the owner of a group does with it, and those who would come in."""
    eve, fay = app.people(2, PASSWORD)
    ann.UpdateGroupSettings(group_id=group_id, joining=2, searchable=True, slow_mode_seconds=1)
    ann.CreateInvitation(group_id=group_id, max_uses=2)
    eve.RequestToJoin(group_id=group_id, note="please")
    ann.BanMember(group_id=group_id, user_id=fay.id, reason="spam")
    ann.SetMemberTitle(group_id=group_id, user_id=bob.id, title="Poet")
    bob.SetMemberNickname(group_id=group_id, nickname="Bobby")
    ann.MuteMember(group_id=group_id, user_id=bob.id, until=2**62)
    ended = ann.CreateGroup(name="Ended", member_ids=[bob.id, fay.id]).group_id
    ann.SetMemberRole(group_id=ended, user_id=bob.id, role="admin")
    ann.TransferOwnership(group_id=ended, user_id=bob.id)
    bob.CreateInvitation(group_id=ended)
    bob.BanMember(group_id=ended, user_id=fay.id)
    bob.send(ended, "the end")
    bob.DissolveGroup(group_id=ended)


def lived(app: Deployment) -> Life:
    calls = as_service(app)
    ann, bob, cem, dora = app.people(4, PASSWORD)
    zoe = app.create_user(nickname="Zoë 小明")

    talk = conversation_of(ann.send(cem.id, "1", metadata={"client_msg_id": "once"}))
    ann.send(cem.id, "1", metadata={"client_msg_id": "once"})  # again: the same message
    cem.send(talk, "2 with words", metadata={"mood": "good"})
    last = ann.send(talk, "3").message_id
    cem.MarkMessageRead(conversation_id=talk, message_id=last)
    pair = ann.CreateConversation(type="single", user_ids=[bob.id]).conversation_id
    hidden = conversation_of(dora.send(bob.id, "hide me"))
    bob.DeleteConversation(conversation_id=hidden)

    quiet = ann.CreateGroup(name="Quiet", member_ids=[bob.id]).group_id
    group = ann.CreateGroup(name="Crowd", member_ids=[bob.id, dora.id], max_members=5).group_id
    recalled = ann.send(group, "1", metadata={"client_msg_id": "a"}).message_id
    bob.send(group, "2")
    cem.JoinGroup(group_id=group)
    unwanted = cem.send(group, "3").message_id
    batch = [{"conversation_id": group, "content": str(number)} for number in range(4, 12)]
    ann.SendMessages(messages=batch)
    calls.logic.SendMessage(conversation_id=group, from_user_id=ann.id, content="12", message_type="system")
    calls.repo.UpdateMessageStatus(message_id=recalled, status=RECALLED, user_id=ann.id)
    calls.repo.DeleteMessage(message_id=unwanted, user_id=ann.id)
    ann.RemoveGroupMember(group_id=group, user_id=dora.id)
    with refused("PERMISSION_DENIED"):
        dora.JoinGroup(group_id=group)
    ann.AddGroupMember(group_id=group, user_ids=[dora.id, zoe])
    with refused("PERMISSION_DENIED"):
        app.person(password=PASSWORD).JoinGroup(group_id=group)  # it is full
    ann.RemoveGroupMember(group_id=group, user_id=zoe)
    calls.repo.UpdateGroupMemberRole(group_id=group, user_id=cem.id, role="owner")
    cem.UpdateGroup(group_id=group, name="Crowds", max_members=7)
    dora.LeaveGroup(group_id=group)
    over = dora.CreateGroup(name="Over").group_id
    dora.send(over, "alone")
    dora.LeaveGroup(group_id=over)

    club = ann.CreateGroup(name="Club", member_ids=[bob.id]).group_id
    _governed(app, ann, bob, club)

    ann.UpdateSettings(conversation_id=group, muted_until=2**63 - 1, pinned=True, archived=True, marked_unread=True)
    ann.Acknowledge(message_ids=[f"{group}-000000000012"])
    cem.OpenDirect(peer_user_id=dora.id)
    cem.UpdateUserProfile(nickname="Cem 大明", bio="there")
    bob.RefreshToken(refresh_token=bob.refresh_token)
    app.signed_in(ann.id, ann.username, PASSWORD, device_id="phone").Logout()
    dora.ChangePassword(old_password=PASSWORD, new_password="battery staple")
    with refused("UNAUTHENTICATED"):
        app.signed_in(dora.id, dora.username, PASSWORD)
    for status in (DISABLED, DELETED_USER):
        user = app.person(password=PASSWORD)
        user.send(ann.id, "farewell")
        calls.repo.UpdateUser(user_id=user.id, status=status)
    busy = ann.CreateGroup(name="Busy", member_ids=[bob.id, cem.id]).group_id
    first = ann.send(busy, "1").message_id
    bob.send(busy, "2", metadata={"reply_to": first, "mentions": ann.id})
    third = ann.send(busy, "3", metadata={"mentions": "all", "forwarded_from": first}).message_id
    ann.EditMessage(message_id=first, content="one")
    bob.AddReaction(message_id=first, reaction="👍")
    cem.AddReaction(message_id=first, reaction=":ok:")
    ann.PinMessage(message_id=first)
    bob.DeleteMessage(message_id=third)
    return Life(ann, bob, cem, zoe, group, quiet, pair, talk, club, busy)
