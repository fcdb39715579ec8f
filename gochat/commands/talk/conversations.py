"""What is typed of conversations: finding, opening, reading, and how one keeps them."""

import time
from contextlib import suppress

from gochat.api.event.v1.event_pb2 import ConversationSettings, ConversationState
from gochat.client import ChatError
from gochat.commands.talk.base import MAX_PAGE, PAGE, Base, aside
from gochat.commands.talk.words import OFF, UsageError, clean, shown, until

SEARCHED_PAGES = 10  # of 200 messages


class OfConversations(Base):
    async def _list(self, rest: str) -> None:
        if rest not in {"", "unread", "mentions", "archived", "all"}:
            raise UsageError
        found = await aside(
            self._client.list_conversations(limit=MAX_PAGE, mentioned=True)
        )  # only the server counts them
        of_found = found.conversations if found else ()
        mentions = {each.state.info.conversation_id: each.unread_mentions for each in of_found}
        listed = []
        for state in await self._client.stored_conversations():
            conversation_id = state.info.conversation_id
            settings = await self._client.stored_settings(conversation_id)
            is_in = {
                "": not settings.archived,
                "unread": state.info.unread_count > 0 or settings.marked_unread,
                "mentions": conversation_id in mentions,
                "archived": settings.archived,
                "all": True,
            }
            if is_in[rest]:
                listed.append((state, settings))
        listed.sort(key=lambda each: -each[1].pinned_at)  # of those that are not pinned the order stays
        self._listed = []
        for state, settings in listed if rest == "all" else listed[:PAGE]:
            mark = _mark(state, settings, mentions.get(state.info.conversation_id, 0))
            said = clean(state.info.last_message.content).partition("\n")[0][:40]
            self._number(await self._label(state), mark, said, state.info.conversation_id)
        if len(self._listed) < len(listed):
            self._note(f"and {len(listed) - len(self._listed)} more: /list all")
        elif not listed:
            self._note("none" if rest else "no conversation yet: /people NAME finds somebody to talk to")

    async def _people(self, rest: str) -> None:
        found = await self._client.search_people(rest)
        self._listed = []
        for user in found.users:
            self._names[user.user_id] = clean(user.nickname or user.username)
            self._number(self._names[user.user_id], "", f"@{user.username}", "", user.user_id)
        self._note(f"{found.pagination.total} found; /open NUMBER talks to one of them")

    async def _search(self, rest: str) -> None:
        wanted = rest.casefold()
        if not wanted:
            raise UsageError
        self._listed = []
        for state in await self._client.stored_conversations():
            if wanted in (label := await self._label(state)).casefold():
                self._number(label, "", "", state.info.conversation_id)
        before, pages = "", SEARCHED_PAGES if self.conversation_id else 0
        for _ in range(pages):
            page = await self._client.messages_before(self.conversation_id, before=before, limit=MAX_PAGE)
            for detail in page.messages:
                if wanted in detail.message.content.casefold():
                    await self._show_message(detail)
            if not (page.has_more and page.messages):
                break
            before = page.messages[-1].message.message_id
        else:
            if pages:
                self._note("older messages were not searched")

    async def _open(self, rest: str) -> None:
        if not rest:
            raise UsageError
        conversation_id, user_id = await self._find(rest)
        if user_id:
            conversation_id = (await self._client.open_direct(user_id)).state.info.conversation_id
            label = await self.name(user_id)
        else:
            state = await self._client.stored_conversation(conversation_id)
            state = state or (await self._client.conversation(conversation_id)).state
            label = await self._label(state)
        await self._enter(conversation_id, label)
        await self._history("")

    async def _enter(self, conversation_id: str, label: str) -> None:
        self.conversation_id, self.label, self.seen, self._oldest = conversation_id, label, "", ""
        self._edited = {}
        await self._load_members()
        self._note(f"— {label} —")

    def _leave(self) -> None:
        self.conversation_id = self.label = self.seen = ""
        self._members = {}

    async def _history(self, rest: str) -> None:
        here = self._here()
        limit = min(int(rest), MAX_PAGE) if rest.isdecimal() and int(rest) else PAGE
        try:
            page = await self._client.messages_before(here, before=self._oldest, limit=limit)
            details, has_more = list(page.messages), page.has_more
        except ChatError as error:
            if not error.is_transient:
                raise
            details, has_more = list(await self._client.stored_messages(here, self._oldest, limit)), False
            self._note("no connection; this is what was read before")
        if has_more:
            self._note("/history shows earlier ones")
        for detail in reversed(details):
            await self._show_message(detail)
        if details:
            if not self._oldest:
                with suppress(ChatError):
                    await self._client.mark_read(details[0].message.message_id)
            self._oldest = details[-1].message.message_id
        elif self._oldest:
            self._note("there are no earlier ones")

    # How one keeps a conversation.

    async def _mute(self, rest: str) -> None:
        muted_until = 0 if rest == OFF else until(rest)
        await self._client.update_settings(self._here(), muted_until=muted_until)
        self._note(f"{self.label} is muted {shown(muted_until)}" if muted_until else f"{self.label} is not muted")

    async def _top(self, rest: str) -> None:
        is_on = _is_on(rest)
        await self._client.update_settings(self._here(), pinned=is_on)
        self._note(f"{self.label} is {'' if is_on else 'not '}at the top of your list")

    async def _archive(self, rest: str) -> None:
        is_on = _is_on(rest)
        await self._client.update_settings(self._here(), archived=is_on)
        self._note(f"{self.label} is {'' if is_on else 'not '}archived")

    async def _unread(self, _: str) -> None:
        await self._client.update_settings(self._here(), marked_unread=True)
        self._note(f"{self.label} is marked as unread")

    async def _hide(self, _: str) -> None:
        await self._client.hide(self._here())
        self._leave()


def _is_on(rest: str) -> bool:
    if rest not in {"", OFF}:
        raise UsageError
    return not rest


def _mark(state: ConversationState, settings: ConversationSettings, mentions: int) -> str:
    """What stands behind the name of a conversation."""
    unread = str(state.info.unread_count or ("unread" if settings.marked_unread else ""))
    counts = ", ".join(part for part in (unread, f"@{mentions}" if mentions else "") if part)
    is_muted = settings.muted_until > time.time() * 1000
    kept = {"top": settings.pinned_at, "muted": is_muted, "archived": settings.archived}
    words = ", ".join(word for word, is_so in kept.items() if is_so)
    return (f" ({counts})" if counts else "") + (f" [{words}]" if words else "")
