"""What streams are not sent, however late they read: what became of a conversation after its user had left it, what is
done with messages that they do not see, and that another has opened a conversation with them."""

from typing import Any

from tests.conversations import group
from tests.harness import Deployment, as_service
from tests.streams import Listener, listening
from tests.waiting import next_millisecond


def up_to(marker: str) -> Any:
    """Has the message that is sent last come?"""
    return lambda listener: marker in listener.contents


def kinds_in(listener: Listener, room: str) -> list[str]:
    return [str(event.WhichOneof("event")) for event in listener.events if event.conversation_id == room]


def test_who_has_left_is_not_sent_what_was_given_after_that(app: Deployment) -> None:
    """Not by what happened before either, of which the description is that of now."""
    ann, ben, cem, fay, gus = app.people(5)
    room = group(ann, ben, cem, name="first name")
    with listening(app, ben.metadata) as listener:
        cursor = listener.cursor
    kept, edited, recalled = (ann.send(room, content).message_id for content in ("kept", "edited", "recalled"))
    ann.EditMessage(message_id=kept, content="kept as edited")
    ann.AddReaction(message_id=kept, reaction="👍")
    ann.PinMessage(message_id=kept)
    ann.UpdateGroup(group_id=room, name="second name")
    ann.UpdateGroupSettings(group_id=room, slow_mode_seconds=5)
    ann.SetMemberTitle(group_id=room, user_id=cem.id, title="Poet")
    ann.SetMemberRole(group_id=room, user_id=cem.id, role="admin")
    for added in (fay, gus):
        ann.AddGroupMember(group_id=room, user_ids=[added.id])
    ann.RemoveGroupMember(group_id=room, user_id=ben.id)
    next_millisecond()
    ann.EditMessage(message_id=edited, content="a secret")
    ann.RecallMessage(message_id=recalled)
    ann.AddReaction(message_id=kept, reaction=":secret:")
    ann.UpdateGroup(group_id=room, name="a secret name")
    ann.UpdateGroupSettings(group_id=room, slow_mode_seconds=77)
    ann.SetMemberTitle(group_id=room, user_id=cem.id, title="a secret title")
    fay.UpdateUserProfile(nickname="a secret nickname")
    ann.send(room, "secret")
    ann.send(ben.id, "the end")
    with listening(app, ben.metadata, cursor=cursor) as resumed:
        resumed.until(up_to("the end"))
        assert kinds_in(resumed, room) == ["message_updated", "member_updated", "member_joined", "member_left"]
        (updated,), (joined,) = resumed.of_kind("message_updated"), resumed.of_kind("member_joined")
        assert updated.message.content == "kept as edited"
        assert joined.member.user_id == gus.id
        assert "secret" not in str(resumed.responses)
    ann.AddGroupMember(group_id=room, user_ids=[ben.id])
    with listening(app, ben.metadata, cursor=cursor) as back:
        back.until(up_to("the end"))
        back.until(lambda each: each.kinds.count("conversation_updated") >= 3)
        assert {each.group.name for each in back.of_kind("group_updated")} == {"a secret name"}, "who is back sees it"


def test_who_came_and_went_is_not_sent_the_group_as_it_is_now(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, name="first name")
    with listening(app, ben.metadata) as listener:
        cursor = listener.cursor
    ann.AddGroupMember(group_id=room, user_ids=[ben.id])
    ben.UpdateUserProfile(nickname="Bee")
    ann.RemoveGroupMember(group_id=room, user_id=ben.id)
    ann.UpdateGroup(group_id=room, name="a secret name")
    ann.send(room, "secret")
    ann.send(ben.id, "the end")
    with listening(app, ben.metadata, cursor=cursor) as resumed:
        resumed.until(up_to("the end"))
        assert kinds_in(resumed, room) == ["member_joined", "member_left"]
        assert "secret" not in str(resumed.responses)


def test_of_messages_that_one_has_hidden_nothing_more_is_sent(app: Deployment) -> None:
    ann, ben, cem = app.people(3)
    room = group(ann, ben, cem)
    edited, recalled, deleted = (ann.send(room, content).message_id for content in ("edited", "recalled", "deleted"))
    with listening(app, ben.metadata) as live, listening(app, cem.metadata) as of_cem:
        cursor = live.cursor
        ann.AddReaction(message_id=edited, reaction="👍")
        live.until(lambda each: each.kinds == ["reaction_changed"])
        ben.DeleteConversation(conversation_id=room)
        ann.EditMessage(message_id=edited, content="hidden text")
        ann.AddReaction(message_id=edited, reaction="👎")
        ann.PinMessage(message_id=edited)
        ann.RecallMessage(message_id=recalled)
        as_service(app).repo.DeleteMessage(message_id=deleted, user_id=ann.id)
        ann.UpdateGroup(group_id=room, name="new name")
        after = ann.send(room, "shown again").message_id
        ann.AddReaction(message_id=after, reaction="👍")
        ann.send(ben.id, "the end")
        of_cem.until(lambda each: each.kinds.count("reaction_changed") >= 3)
        with listening(app, ben.metadata, cursor=cursor) as resumed:
            names = ["group_updated", "conversation_updated", "message_sent", "reaction_changed"]
            for listener, before in ((live, ["reaction_changed"]), (resumed, [])):
                listener.until(up_to("the end"))
                assert kinds_in(listener, room) == [*before, "read", "conversation_hidden", *names]
                assert "hidden text" not in str(listener.responses), "as the newest message of the renamed group"
        assert {"message_updated", "pin_changed", "message_deleted"} <= set(of_cem.kinds)


def test_receipts_of_messages_that_their_sender_has_hidden_are_not_sent(app: Deployment) -> None:
    ann, ben = app.people(2)
    with listening(app, ben.metadata) as listener:
        cursor = listener.cursor
        sent = ben.send(ann.id, "to be hidden")
        room = sent.message_id.rpartition("-")[0]
        ben.DeleteConversation(conversation_id=room)
        ann.Acknowledge(message_ids=[sent.message_id])
        ann.MarkMessageRead(conversation_id=room, message_id=sent.message_id)
        second = ben.send(ann.id, "the end").message_id
        ann.MarkMessageRead(conversation_id=room, message_id=second)
        with listening(app, ben.metadata, cursor=cursor) as resumed:
            for each in (listener, resumed):
                each.until(lambda each: "read" in each.kinds)
                assert [read.message_id for read in each.of_kind("read")] == [second]
                assert "delivered" not in each.kinds


def test_until_the_first_message_nobody_learns_that_another_has_opened_a_conversation(app: Deployment) -> None:
    ann, ben = app.people(2)
    with listening(app, ben.metadata, typing=True) as of_ben, listening(app, ann.metadata) as of_ann:
        cursor = of_ben.cursor
        room = ann.OpenDirect(peer_user_id=ben.id).conversation.state.info.conversation_id
        ann.SetTyping(conversation_id=room, typing=True)
        ann.UpdateUserProfile(nickname="Ann")
        ann.UpdateSettings(conversation_id=room, pinned=True)
        as_service(app).repo.UpdateConversation(conversation_id=room, name="ours")
        of_ann.until(lambda each: len(kinds_in(each, room)) >= 3)
        with listening(app, ben.metadata, presence_user_ids=[ann.id]) as watching:
            ben.UpdateUserProfile(nickname="Ben")
            with listening(app, ben.metadata, cursor=cursor) as resumed:
                for listener in (of_ben, resumed, watching):
                    listener.until(lambda each: each.kinds)
                    assert [each.profile.nickname for each in listener.of_kind("profile_updated")] == ["Ben"]
                    assert listener.kinds == ["profile_updated"]
        of_ann.until(lambda each: each.kinds.count("profile_updated") == 2)
        ann.send(room, "the first")
        of_ben.until(up_to("the first"))
        ann.SetTyping(conversation_id=room, typing=True)
        ann.UpdateUserProfile(nickname="Ann again")
        of_ben.until(lambda each: "typing" in each.kinds and each.kinds.count("profile_updated") == 2)
        with listening(app, ben.metadata, presence_user_ids=[ann.id]) as watching:
            watching.until(lambda each: "presence" in each.kinds)


def test_who_has_opened_it_too_sees_the_other_type(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = ann.OpenDirect(peer_user_id=ben.id).conversation.state.info.conversation_id
    ben.OpenDirect(peer_user_id=ann.id)
    with listening(app, ben.metadata, typing=True) as of_ben:
        ann.SetTyping(conversation_id=room, typing=True)
        of_ben.until(lambda each: each.kinds == ["typing"])
