"""What a person wants to know of an event, live."""

import time

from gochat.api.event.v1.event_pb2 import Event, JoinRequestChanged
from gochat.api.group.v1.group_types_pb2 import MemberDetail
from gochat.api.message.v1.message_pb2 import MessageDetail
from gochat.client import ChatError
from gochat.client.details import RECALLED
from gochat.commands.talk.base import number_of, quoted
from gochat.commands.talk.conversations import OfConversations
from gochat.commands.talk.words import clean, shown

_REQUESTS = {
    JoinRequestChanged.STATE_REQUESTED: "asks to join: /requests",
    JoinRequestChanged.STATE_ACCEPTED: "is let in",
    JoinRequestChanged.STATE_DECLINED: "is not let in",
    JoinRequestChanged.STATE_WITHDRAWN: "does not ask to join any more",
}
_ELSEWHERE = {"message_sent", "join_request_changed", "profile_updated"}
"""Shown of conversations that are not open, too."""


class OfEvents(OfConversations):
    async def show_event(self, event: Event) -> None:
        """Raises ChatError."""
        kind = event.WhichOneof("event") or ""
        show = getattr(self, f"_on_{kind}", None)
        if show and (kind in _ELSEWHERE or (event.conversation_id and event.conversation_id == self.conversation_id)):
            await show(event)

    async def _on_message_sent(self, event: Event) -> None:
        message, is_here = event.message_sent.message, event.conversation_id == self.conversation_id
        is_shown = is_here and message.message_id in self._edited  # it was in the history already
        if not is_shown and (is_here or not await self._is_muted(event.conversation_id)):
            await self._show_message(await self._whole(message.message_id), is_here=is_here)
        if message.from_user_id != self._me:
            await self._client.acknowledge([message.message_id])
            if is_here:
                await self._client.mark_read(message.message_id)

    async def _is_muted(self, conversation_id: str) -> bool:
        return (await self._client.stored_settings(conversation_id)).muted_until > time.time() * 1000

    async def _whole(self, message_id: str) -> MessageDetail:
        """Asks for it where what it answers, or comes from, is not stored."""
        detail = await self._client.stored_message(message_id)
        if detail:
            metadata = detail.message.metadata
            lacks = "reply_to" in metadata and not detail.HasField("reply")
            if not (lacks or ("forwarded_from" in metadata and not detail.HasField("forwarded"))):
                return detail
        try:
            return await self._client.message(message_id)
        except ChatError:
            if not detail:
                raise
            return detail

    async def _on_message_updated(self, event: Event) -> None:
        message, edited_at = event.message_updated.message, event.message_updated.edited_at
        if message.status == RECALLED:
            self._note(f"{await self.name(event.actor_id)} took back {number_of(message.message_id)}")
        elif edited_at > self._edited.get(message.message_id, 0):
            self._note(f"{await self.name(event.actor_id)} edited {number_of(message.message_id)}")
            await self._show_message(await self._whole(message.message_id))

    async def _on_message_deleted(self, event: Event) -> None:
        self._note(f"{number_of(event.message_deleted.message_id)} is deleted")

    async def _on_reaction_changed(self, event: Event) -> None:
        changed = event.reaction_changed
        name, number = await self.name(changed.user_id), number_of(changed.message_id)
        reaction = clean(changed.reaction)
        self._note(
            f"{name} reacted {reaction} to {number}" if changed.added else f"{name} took {reaction} off {number}"
        )

    async def _on_pin_changed(self, event: Event) -> None:
        message_id = event.pin_changed.message_id
        act = "pinned" if event.pin_changed.HasField("pin") else "unpinned"
        stored = await self._client.stored_message(message_id)
        content = f": {quoted(stored.message.content)}" if stored else ""
        self._note(f"{await self.name(event.actor_id)} {act} {number_of(message_id)}{content}")

    async def _on_read(self, event: Event) -> None:
        if event.read.user_id != self._me:
            self.seen = f"read up to {number_of(event.read.message_id)}"

    async def _on_profile_updated(self, event: Event) -> None:
        profile = event.profile_updated.profile
        self._names[profile.user_id] = clean(profile.nickname or profile.username)

    async def _on_conversation_hidden(self, _: Event) -> None:
        self._leave()

    # Groups.

    async def _on_member_joined(self, event: Event) -> None:
        await self._load_members()
        self._note(f"{await self.name(event.member_joined.member.user_id)} is here now")

    async def _on_member_left(self, event: Event) -> None:
        name = await self.name(event.member_left.user_id)
        if event.member_left.user_id == self._me:
            self._note(f"you are no longer in {self.label}")
            self._leave()
        else:
            await self._load_members()
            self._note(f"{name} is gone")

    async def _on_member_updated(self, event: Event) -> None:
        member = event.member_updated.member
        known = self._members.setdefault(member.user_id, MemberDetail())
        if known.member.role != member.role:
            self._note(f"{await self.name(member.user_id)} is {member.role} now")
        known.member.CopyFrom(member)

    async def _on_member_detail_updated(self, event: Event) -> None:
        detail = event.member_detail_updated.member
        user_id = detail.member.user_id
        before, name = self._members.get(user_id), await self.name(user_id)
        self._members[user_id] = detail
        if before is None or before.muted_until != detail.muted_until:
            is_muted = detail.muted_until > time.time() * 1000
            if is_muted or before:
                self._note(
                    f"{name} may not write {shown(detail.muted_until)}" if is_muted else f"{name} may write again"
                )
        if before and before.title != detail.title:
            self._note(f"{name} has the title {clean(detail.title)}" if detail.title else f"{name} has no title")
        if before and before.group_nickname != detail.group_nickname:
            self._note(f"{name} is called {await self.name(user_id)} here")

    async def _on_group_updated(self, event: Event) -> None:
        if self.label != (label := clean(event.group_updated.group.name)):
            self.label = label
            self._note(f"the group is called {label} now")

    async def _on_group_settings_updated(self, event: Event) -> None:
        self._note(f"{await self.name(event.actor_id)} changed the settings: /group settings")

    async def _on_group_dissolved(self, _: Event) -> None:
        self._note(f"{self.label} is dissolved")
        self._leave()

    async def _on_join_request_changed(self, event: Event) -> None:
        changed = event.join_request_changed
        if changed.user_id == self._me:
            label = clean((await self._client.group(event.conversation_id)).name)
            if changed.state == JoinRequestChanged.STATE_ACCEPTED:
                self._note(f"you are let into {label}: /open {label}")
            elif changed.state == JoinRequestChanged.STATE_DECLINED:
                self._note(f"you are not let into {label}")
        elif text := _REQUESTS.get(changed.state):
            state = await self._client.stored_conversation(event.conversation_id)
            where = f"[{await self._label(state)}] " if state else ""
            self._note(f"{where}{await self.name(changed.user_id)} {text}")
