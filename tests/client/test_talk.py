"""What people do with messages, conversations and groups: by one client, seen live by another, kept for offline."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gochat.api.event.v1.event_pb2 import Event
from gochat.api.group.v1 import group_types_pb2
from gochat.client import ALL, FOREVER, AsyncClient, ChatError, Client
from tests.client.clients import TIMEOUT, Program, client_of, program
from tests.conftest import Own
from tests.conversations import group, single
from tests.harness import PASSWORD, Deployment
from tests.processes import free_address

HOUR = 3_600_000  # milliseconds


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    return own_of_module()


def sent(client: Client, content: str, room: str, **options: Any) -> str:
    return client.send(content, conversation_id=room, **options).result(TIMEOUT)


def contents(details: Any) -> list[str]:
    return [detail.message.content for detail in details]


def came(kind: str, holds: Callable[[Any], object] = lambda _: True) -> Callable[[Program], object]:
    return lambda each: [event for event in list(each.events) if event.HasField(kind) and holds(getattr(event, kind))]  # type: ignore[arg-type]


def test_what_is_done_with_messages(app: Deployment) -> None:
    ann, ben = app.people(2, PASSWORD)
    room = group(ann, ben)
    with client_of(app, ann) as anns, client_of(app, ben) as bens:
        first = sent(anns, "frist", room, mentions=[ben.id])
        answer = sent(bens, "what?", room, reply_to=first)
        assert bens.message(first).mentioned_user_ids == [ben.id]
        edited = anns.edit(first, "first")
        assert (edited.message.content, edited.edited_at > 0, list(edited.mentioned_user_ids)) == (
            "first",
            True,
            [ben.id],
        )
        assert not anns.edit(first, "first!", mentions=[]).mentioned_user_ids
        assert anns.edit(first, "first!", mentions=ALL).mentions_all
        assert [each.content for each in anns.versions(first).versions] == ["frist", "first"]
        with pytest.raises(ChatError, match="NOT_THE_SENDER"):
            bens.edit(first, "mine")
        bens.react(first, "👍")
        anns.react(first, "👍")
        anns.react(first, ":ship-it:")
        anns.unreact(first, ":ship-it:")
        (reaction,) = bens.message(first).reactions
        assert (reaction.reaction, reaction.count, reaction.mine) == ("👍", 2, True)
        assert [each.user_id for each in bens.reactions(first).reactions] == [ben.id, ann.id]
        anns.pin(first)
        assert contents(bens.pinned(room)) == ["first!"]
        anns.unpin(first)
        assert bens.pinned(room) == []
        assert bens.message(answer).reply.content == "first!"
        assert [(each.user_id, each.status) for each in bens.receipts(answer).receipts] == [(ann.id, 1)]
        anns.mark_read(answer)
        assert (bens.receipts(answer).read_count, bens.receipts(answer).recipient_count) == (1, 1)


def test_history_with_what_belongs_to_it(app: Deployment) -> None:
    ann, ben = app.people(2, PASSWORD)
    room = group(ann, ben)
    with client_of(app, ann) as anns, client_of(app, ben) as bens:
        ids = [sent(anns, str(number), room) for number in range(7)]
        anns.recall(ids[5])
        bens.delete(ids[3])
        bens.react(ids[2], "👍")
        page = bens.messages_before(room, limit=3)
        assert (contents(page.messages), page.has_more) == (["6", "", "4"], True)
        page = bens.messages_before(room, before=ids[4], limit=3)
        assert (contents(page.messages), page.has_more) == (["2", "1", "0"], False)
        assert page.messages[0].reactions[0].mine
        assert contents(bens.messages_before(room, before=ids[0]).messages) == []
        assert contents(bens.stored_messages(room)) == ["6", "", "4", "2", "1", "0"]
        assert contents(anns.messages_before(room).messages) == ["6", "", "4", "3", "2", "1", "0"]


def test_a_message_that_is_sent_on(app: Deployment) -> None:
    ann, ben, cem = app.people(3, PASSWORD)
    room = group(ann, ben)
    with client_of(app, ann) as anns, client_of(app, ben) as bens, client_of(app, cem) as cems:
        first = sent(anns, "news", room, mentions=[ben.id], metadata={"k": "v"})
        forwarded = cems.message(bens.forward(first, to=cem.id).result(TIMEOUT))
        assert (forwarded.message.content, forwarded.forwarded.from_user_id) == ("news", ann.id)
        assert (forwarded.message.metadata["k"], list(forwarded.mentioned_user_ids)) == ("v", [])
        with pytest.raises(ChatError, match="NOT_FOUND"):
            cems.forward(first, to=ann.id)


def test_how_one_keeps_conversations(app: Deployment) -> None:
    ann, ben = app.people(2, PASSWORD)
    room = group(ann, ben, name="Readers")
    with client_of(app, ann) as anns, client_of(app, ben) as bens:
        direct = bens.open_direct(ann.id)
        assert (direct.peer.user_id, direct.state.info.type) == (ann.id, "single")
        sent(anns, "you", room, mentions=[ben.id])
        sent(anns, "hello", direct.state.info.conversation_id)
        (found,) = bens.list_conversations(mentioned=True).conversations
        assert (found.state.info.name, found.unread_mentions, found.member_count) == ("Readers", 1, 2)
        assert len(bens.list_conversations(unread=True).conversations) == 2
        bens.update_settings(room, pinned=True, archived=True, muted_until=FOREVER)
        settings = bens.update_settings(room, archived=False, marked_unread=True)
        assert (settings.muted_until, settings.archived, settings.marked_unread) == (FOREVER, False, True)
        assert bens.stored_settings(room) == settings == bens.conversation(room).settings
        first = bens.list_conversations(limit=1)
        second = bens.list_conversations(first.next_page_token, limit=1)
        listed = [*first.conversations, *second.conversations]
        assert [each.state.info.type for each in listed] == ["group", "single"], "what is pinned comes first"
        assert [each.state.info.name for each in bens.list_conversations(pinned=True).conversations] == ["Readers"]
        assert not bens.list_conversations(archived=True).conversations
        assert len(bens.list_conversations(type="single").conversations) == 1


def test_who_may_do_what_in_a_group(app: Deployment) -> None:
    ann, ben, cem = (app.person(password=PASSWORD, nickname=name) for name in ("Ann", "Ben", "Cem"))
    room = group(ann, ben, cem)
    with client_of(app, ann) as anns, client_of(app, ben) as bens:
        anns.set_role(room, ben.id, "admin")
        bens.set_title(room, cem.id, "Treasurer")
        bens.set_group_nickname(room, "Benjamin")
        anns.set_group_nickname(room, "Cemal", cem.id)
        found = [(each.group_nickname, each.title) for each in anns.list_members(room).members]
        assert found == [("", ""), ("Benjamin", ""), ("Cemal", "Treasurer")]
        assert [each.member.user_id for each in anns.list_members(room, "mal").members] == [cem.id]
        bens.mute_member(room, cem.id)
        assert anns.member(room, cem.id).muted_until == FOREVER
        bens.mute_member(room, cem.id, 0)
        assert anns.member(room, cem.id).muted_until == 0
        until = int(time.time() * 1000) + HOUR
        bens.ban_member(room, cem.id, until, "spam")
        (ban,) = anns.bans(room).bans
        assert (ban.user_id, ban.until, ban.reason, ban.banned_by) == (cem.id, until, "spam", ben.id)
        anns.unban_member(room, cem.id)
        assert not anns.bans(room).bans
        with pytest.raises(ChatError, match="PERMISSION_DENIED"):
            bens.transfer_group(room, ben.id)
        anns.transfer_group(room, ben.id)
        assert anns.group(room).owner_id == ben.id
        with pytest.raises(ChatError, match="PERMISSION_DENIED"):
            anns.dissolve_group(room)
        bens.dissolve_group(room)
        with pytest.raises(ChatError, match="NOT_FOUND"):
            anns.group_settings(room)


def test_how_people_come_into_a_group(app: Deployment) -> None:
    ann, ben, cem = app.people(3, PASSWORD)
    name = f"Readers of {ann.username}"
    room = group(ann, name=name)
    with client_of(app, ann) as anns, client_of(app, ben) as bens, client_of(app, cem) as cems:
        settings = anns.update_group_settings(
            room, joining=group_types_pb2.JOINING_APPROVAL, searchable=True, slow_mode_seconds=5
        )
        assert (settings.slow_mode_seconds, settings.posting) == (5, group_types_pb2.WHO_EVERYONE)
        assert anns.update_group_settings(room, slow_mode_seconds=0).searchable
        assert [each.group_id for each in bens.search_groups(name.upper()).groups] == [room]
        with pytest.raises(ChatError) as refused:
            bens.join_group(room)
        assert (refused.value.reason, refused.value.fields["joining"]) == ("JOINING", "approval")
        bens.request_to_join(room, "let me in")
        cems.request_to_join(room)
        cems.cancel_request(room)
        assert [(each.user_id, each.note) for each in anns.join_requests(room).requests] == [(ben.id, "let me in")]
        anns.decide_request(room, ben.id, accept=True)
        assert bens.member(room, ben.id).member.role == "member"
        made = anns.create_invitation(room, int(time.time() * 1000) + HOUR, max_uses=1)
        assert cems.invitation(made.token).name == name
        assert cems.join_by_invitation(made.token) == room
        assert anns.invitations(room) == []
        other = anns.create_invitation(room)
        anns.revoke_invitation(room, other.token)
        with pytest.raises(ChatError, match="NOT_FOUND"):
            cems.invitation(other.token)


def test_two_people_see_it_live_and_keep_it(server: Deployment, tmp_path: Path) -> None:
    ann, ben = server.people(2, PASSWORD)
    room, store = group(ann, ben, name="Readers"), tmp_path / "chat.db"
    with (
        client_of(server, ann) as anns,
        client_of(server, ben, store=store) as bens,
        program(anns) as hers,
        program(bens) as his,
    ):
        first, second, third, fourth = (sent(anns, content, room) for content in ("one", "two", "three", "four"))
        answer = sent(bens, "why?", room, reply_to=first)
        his.until(lambda each: len(each.messages) == 5)
        anns.edit(first, "1", mentions=[ben.id])
        his.until(came("message_updated", lambda each: each.edited_at and each.message.content == "1"))
        bens.react(second, "🎉")
        bens.react(second, ":ship-it:")
        bens.unreact(second, ":ship-it:")
        for running in (hers, his):
            running.until(came("reaction_changed", lambda each: each.reaction == ":ship-it:" and not each.added))
        anns.pin(second)
        anns.recall(third)
        bens.delete(fourth)
        bens.update_settings(room, pinned=True)
        his.until(came("conversation_settings_updated"), came("pin_changed"), came("message_deleted"))
        hers.until(came("message_updated", lambda each: each.message.status == 4))
        assert not came("message_deleted")(hers)
        (reaction,) = (detail for detail in [anns.stored_message(second)] if detail)
        assert [(each.reaction, each.mine) for each in reaction.reactions] == [("🎉", False)]
        asked = bens.messages_before(room).messages
    with client_of(server, ben, store=store, address=free_address(), timeout=0.2) as offline:
        stored = offline.stored_messages(room)
        assert contents(stored) == ["why?", "", "two", "1"]
        assert list(stored) == list(asked), "what events said is what the server says"
        assert stored[0].reply.content == "1"
        assert stored[2].pin.user_id == ann.id
        assert stored[3].mentioned_user_ids == [ben.id]
        assert offline.stored_settings(room).pinned_at
        assert offline.stored_message(answer)
        assert offline.stored_message(fourth) is None


def test_who_deletes_what_they_have_not_read(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    with client_of(server, ann) as anns, client_of(server, ben) as bens, program(bens) as his:
        one, two = (anns.send(content, to=ben.id).result(TIMEOUT) for content in ("one", "two"))
        his.until(lambda each: each.contents == ["one", "two"])
        bens.delete(two)
        his.until(came("message_deleted"))
        for (state,) in (bens.stored_conversations(), bens.state()):
            assert (state.info.last_message.message_id, state.info.unread_count) == (one, 1)


def test_what_was_missed_for_long_is_right_again(own: Own, tmp_path: Path) -> None:
    """TOO_OLD: what was stored was edited, recalled, deleted and reacted to meanwhile."""
    app = own(listen=free_address())
    ann, ben = app.people(2, PASSWORD)
    room, store = group(ann, ben), tmp_path / "chat.db"
    with client_of(app, ann) as anns:
        with client_of(app, ben, store=store) as bens, program(bens) as his:
            ids = [sent(anns, str(number), room) for number in range(5)]
            his.until(lambda each: len(each.messages) == 5)
        anns.edit(ids[0], "zero")
        anns.recall(ids[1])
        anns.react(ids[3], "👍")
        with client_of(app, ben) as elsewhere:
            elsewhere.delete(ids[2])
            elsewhere.update_settings(room, archived=True)
    app.stop()
    with closing(sqlite3.connect(app.data / "gochat.db")) as database, database:
        database.execute("DELETE FROM changes WHERE position < (SELECT MAX(position) FROM changes)")
    app.start()
    with client_of(app, ann) as anns, client_of(app, ben, store=store) as bens, program(bens) as his:
        sent(anns, "5", room)
        his.until(lambda each: each.contents == ["5"])
        his.until(lambda _: bens.stored_settings(room).archived)
        stored = bens.stored_messages(room)
        assert contents(stored) == ["5", "4", "3", "", "zero"]
        assert stored[2].reactions[0].count == 1
        assert stored[-1].edited_at
        updated = [event.message_updated for event in his.events if event.HasField("message_updated")]
        assert [each.message.content for each in updated] == ["zero", ""]
        deleted = [event.message_deleted.message_id for event in his.events if event.HasField("message_deleted")]
        assert deleted == [ids[2]]
        assert list(stored) == list(bens.messages_before(room).messages)


def test_a_store_of_an_earlier_version_learns_the_settings(server: Deployment, tmp_path: Path) -> None:
    ann, ben = server.people(2, PASSWORD)
    room, store = group(ann, ben), tmp_path / "chat.db"
    with client_of(server, ben, store=store) as bens:
        bens.events()
        kept = bens.update_settings(room, archived=True)
    with closing(sqlite3.connect(store)) as database, database:
        database.executescript("DELETE FROM conversation_settings; DELETE FROM settings WHERE name = 'has_settings'")
    with client_of(server, ben, store=store) as bens:
        assert not bens.stored_settings(room).archived
        bens.events()
        assert bens.stored_settings(room) == kept


def test_groups_live(server: Deployment) -> None:
    ann, ben, cem = server.people(3, PASSWORD)
    room = group(ann, ben)
    with (
        client_of(server, ann) as anns,
        client_of(server, ben) as bens,
        client_of(server, cem) as cems,
        program(anns) as hers,
        program(bens) as his,
        program(cems) as theirs,
    ):
        anns.update_group_settings(room, joining=group_types_pb2.JOINING_APPROVAL)
        his.until(came("group_settings_updated"))
        cems.request_to_join(room)
        hers.until(came("join_request_changed", lambda each: each.user_id == cem.id))
        anns.decide_request(room, cem.id, accept=True)
        theirs.until(came("join_request_changed"), came("member_joined"))
        anns.set_title(room, ben.id, "Treasurer")
        anns.set_role(room, ben.id, "admin")
        theirs.until(came("member_detail_updated", lambda each: each.member.title == "Treasurer"))
        theirs.until(came("member_updated", lambda each: each.member.role == "admin"))
        bens.ban_member(room, cem.id)
        theirs.until(came("member_left"))
        anns.transfer_group(room, ben.id)
        hers.until(came("member_updated", lambda each: each.member.role == "owner"))
        bens.dissolve_group(room)
        for running in (hers, his):
            running.until(came("group_dissolved"))


def test_by_asyncio(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    room = single(ann, ben)

    async def until(events: Any, kind: str) -> Event:
        async for event in events:
            if event.HasField(kind):
                return event  # type: ignore[no-any-return]
        raise AssertionError("it ended")

    async def main() -> None:
        async with (
            AsyncClient(server.address, username=ann.username, password=PASSWORD) as anns,
            AsyncClient(server.address, username=ben.username, password=PASSWORD) as bens,
            bens.events() as events,
        ):
            first = await (await anns.send("frist", conversation_id=room))
            await anns.edit(first, "first")
            assert (await until(events, "message_updated")).message_updated.message.content == "first"
            await bens.react(first, "👍")
            await until(events, "reaction_changed")
            await bens.pin(first)
            await until(events, "pin_changed")
            detail = await bens.stored_message(first)
            assert detail == await bens.message(first)
            assert contents(await anns.pinned(room)) == ["first"]
            assert (await anns.open_direct(ben.id)).state.info.conversation_id == room
            await (await anns.forward(first, to=ben.id))
            assert (await anns.receipts(first)).recipient_count == 1

    asyncio.run(main())
