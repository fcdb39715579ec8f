"""What all that can be typed works on: the open conversation, names, lists, lines that are shown."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar
from zlib import crc32

from gochat.api.event.v1.event_pb2 import ConversationState
from gochat.api.group.v1.group_types_pb2 import MemberDetail
from gochat.api.message.v1.message_pb2 import MessageDetail
from gochat.client import AsyncClient, ChatError, ids
from gochat.client.details import RECALLED
from gochat.commands.talk.words import UsageError, clean

Line = list[tuple[str, str]]
"""(style, text) of each part."""

PAGE = 20
MAX_PAGE = 200
MAX_QUOTED = 40  # characters
ASIDE_TIMEOUT = 5.0  # seconds
_Answer = TypeVar("_Answer")


class Page(Protocol):
    next_page_token: str


_Page = TypeVar("_Page", bound=Page)


async def pages(read: Callable[[str], Awaitable[_Page]]) -> AsyncIterator[_Page]:
    """read: of a page_token."""
    token, is_first = "", True
    while token or is_first:
        page = await read(token)
        yield page
        token, is_first = page.next_page_token, False


async def aside(call: Awaitable[_Answer]) -> _Answer | None:
    """The answer to a call that only makes it better; None where the server is away or takes long."""
    try:
        return await asyncio.wait_for(call, ASIDE_TIMEOUT)
    except (ChatError, TimeoutError):
        return None


class Base:
    """show: prints a line. label, conversation_id: of the conversation that is open; "" for none. seen: how far the
    others have read in it."""

    def __init__(self, client: AsyncClient, show: Callable[[Line], None]) -> None:
        self._client, self._show = client, show
        self.label = self.conversation_id = self.seen = self._me = ""
        self._oldest = ""  # the id of the oldest message that is shown of it
        self._edited: dict[str, int] = {}  # message id -> edited_at, of those that are shown of it
        self._names: dict[str, str] = {}
        self._listed: list[tuple[str, str]] = []  # (conversation_id, user_id) of what was numbered last; one is empty
        self._members: dict[str, MemberDetail] = {}  # of the group that is open, at most MAX_PAGE

    @property
    def _group_id(self) -> str:
        """Raises ChatError."""
        if not self.conversation_id.startswith("g"):
            raise ChatError("FAILED_PRECONDITION", "open a group first")
        return self.conversation_id

    def _here(self) -> str:
        """The conversation that is open. Raises ChatError."""
        if not self.conversation_id:
            raise ChatError("FAILED_PRECONDITION", "open a conversation first: /list, /open NAME, /people NAME")
        return self.conversation_id

    def _message_id(self, rest: str) -> tuple[str, str]:
        """(message id, what follows) of "#3 what follows". Raises ChatError, UsageError."""
        number, _, more = rest.partition(" ")
        number = number.removeprefix("#")
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise UsageError
        return ids.join(self._here(), int(number)), more.strip()

    # What is found by a name or a number.

    async def _find(self, word: str) -> tuple[str, str]:
        """(conversation_id, user_id), of which one is empty. Raises ChatError."""
        if word.isdecimal() and 0 < int(word) <= len(self._listed):
            return self._listed[int(word) - 1]
        for state in await self._client.stored_conversations():
            if (await self._label(state)).casefold() == word.casefold():
                return state.info.conversation_id, ""
        return "", await self._user_id(word)

    async def _user_id(self, name: str) -> str:
        """Raises ChatError."""
        if name.isdecimal() and 0 < int(name) <= len(self._listed) and self._listed[int(name) - 1][1]:
            return self._listed[int(name) - 1][1]
        wanted = name.removeprefix("@")
        if found := self._member_id(wanted):
            return found
        users = (await self._client.search_people(wanted)).users if wanted else []
        for user in users:
            if wanted.casefold() in (user.username.casefold(), user.nickname.casefold()):
                return user.user_id
        raise ChatError("NOT_FOUND", f"nobody is called {clean(name)}")

    async def _user_ids(self, names: Sequence[str]) -> list[str]:
        return [await self._user_id(name) for name in names]

    def _member_id(self, name: str) -> str:
        """Of who is called so in the group that is open; "" for nobody."""
        for user_id, detail in self._members.items():
            if name and name.casefold() in (
                each.casefold() for each in (detail.group_nickname, detail.member.nickname)
            ):
                return user_id
        return ""

    async def _load_members(self) -> None:
        self._members = {}
        if self.conversation_id.startswith("g"):
            page = await aside(self._client.list_members(self.conversation_id, limit=MAX_PAGE))
            for detail in page.members if page else ():
                self._members[detail.member.user_id] = detail
                self._names[detail.member.user_id] = clean(detail.member.nickname)

    def members(self) -> list[str]:
        """Their names, for completion."""
        return [clean(detail.group_nickname or detail.member.nickname) for detail in self._members.values()]

    async def places(self) -> list[str]:
        """The names of conversations, for completion."""
        return [await self._label(state) for state in await self._client.stored_conversations()]

    async def name(self, user_id: str) -> str:
        """As the conversation that is open calls them; "" is the server. Raises ChatError."""
        if not user_id:
            return "the server"
        if (detail := self._members.get(user_id)) and detail.group_nickname:
            return clean(detail.group_nickname)
        return await self._profile_name(user_id)

    async def _profile_name(self, user_id: str) -> str:
        if not self._names.get(user_id):
            profile = await self._client.profile(user_id)
            self._names[user_id] = clean(profile.nickname or profile.username)
        return self._names[user_id]

    async def _label(self, state: ConversationState) -> str:
        if state.info.name or not state.peer_user_id:
            return clean(state.info.name) or "a conversation"
        return await self._profile_name(state.peer_user_id)

    # What is shown.

    def _number(self, label: str, mark: str, more: str, conversation_id: str, user_id: str = "") -> None:
        self._listed.append((conversation_id, user_id))
        self._show(
            [("class:time", f"{len(self._listed):3} "), ("class:where", f"{label}{mark}"), ("", f"  {clean(more)}")]
        )

    def _note(self, text: str) -> None:
        self._show([("class:note", text)])

    async def _show_message(self, detail: MessageDetail, *, is_here: bool = True) -> None:
        message = detail.message
        self._edited[message.message_id] = detail.edited_at
        if detail.HasField("reply"):
            self._note(f"      > {_tag(detail.reply.message_id)}{await self._quoted_reply(detail)}")
        line: Line = [("class:time", time.strftime("%H:%M ", time.localtime(message.created_at / 1000)))]
        if is_here:
            line.append(("class:time", _tag(message.message_id)))
        else:
            state = await self._client.stored_conversation(message.conversation_id)
            if state and (state.info.type == "group" or message.from_user_id == self._me):
                line.append(("class:where", f"[{await self._label(state)}] "))
            else:
                line.append(("class:where", "[to you] "))
        line.append((self._style(message.from_user_id), await self.name(message.from_user_id)))
        if is_here and (title := self._members.get(message.from_user_id, MemberDetail()).title):
            line.append(("class:note", f" ({clean(title)})"))
        if detail.HasField("forwarded"):
            line.append(("class:note", f"  (forwarded from {await self.name(detail.forwarded.from_user_id)})"))
        content = "(taken back)" if message.status == RECALLED else clean(message.content)
        kind = "" if message.message_type in {"text", ""} else f"({clean(message.message_type)}) "
        line.append(("class:mention" if self._is_meant(detail) else "", f"  {kind}{content}"))
        marks = [text for text, is_so in (("edited", detail.edited_at), ("pinned", detail.HasField("pin"))) if is_so]
        marks += [f"{clean(each.reaction)} {each.count}" for each in detail.reactions]
        if marks:
            line.append(("class:note", f"  ({', '.join(marks)})"))
        self._show(line)

    async def _quoted_reply(self, detail: MessageDetail) -> str:
        reply = detail.reply
        content = "(taken back)" if reply.status == RECALLED else quoted(reply.content)
        return f"{await self.name(reply.from_user_id)}: {content}"

    def _is_meant(self, detail: MessageDetail) -> bool:
        """It mentions the user, by name or with all others."""
        is_own = detail.message.from_user_id == self._me
        return not is_own and (detail.mentions_all or self._me in detail.mentioned_user_ids)

    def _style(self, user_id: str) -> str:
        return "class:me" if user_id == self._me else f"class:name{crc32(user_id.encode()) % 4}"


def quoted(content: str) -> str:
    first = clean(content).partition("\n")[0]
    return first if len(first) <= MAX_QUOTED else f"{first[:MAX_QUOTED]}..."


def number_of(message_id: str) -> str:
    return f"#{ids.split(message_id)[1]}"


def _tag(message_id: str) -> str:
    return f"{number_of(message_id)} "
