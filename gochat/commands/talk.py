"""What can be typed in `gochat chat`, and what it shows of an event. Nothing here knows the terminal."""

import time
import unicodedata
from collections.abc import Callable, Sequence
from zlib import crc32

from gochat.api.common.v1.common_pb2 import Message
from gochat.api.event.v1.event_pb2 import ConversationState, Event
from gochat.client import AsyncClient, ChatError, Outgoing

Line = list[tuple[str, str]]
"""(style, text) of each part."""

PAGE = 20
SEARCHED_PAGES = 10  # of 200 messages
RECALLED = 4  # of Message.status
COMMANDS = {
    "list": ("[ALL]", "your conversations, with what is unread"),
    "open": ("NUMBER|NAME", "talk in a conversation, or with a person"),
    "history": ("[NUMBER]", "earlier messages"),
    "people": ("NAME", "find people"),
    "search": ("WORDS", "find conversations, and messages in this one"),
    "group": ("new NAME [PERSON...] | add PERSON... | remove PERSON | members | leave", "groups"),
    "hide": ("", "hide this conversation until there is a newer message"),
    "help": ("", "this"),
    "quit": ("", "leave, as Ctrl-D does"),
}


def clean(text: str) -> str:
    """Without what would move the cursor, change colours or turn the direction of a terminal."""
    return "".join(
        each
        if each == "\n" or each in "\u200c\u200d" or unicodedata.category(each) not in {"Cc", "Cf", "Cs"}
        else "\ufffd"
        for each in text
    )


class Talk:
    """show: prints a line. label, conversation_id: of the conversation that is open; "" for none."""

    def __init__(self, client: AsyncClient, show: Callable[[Line], None]) -> None:
        self._client, self._show = client, show
        self.label = self.conversation_id = self._me = ""
        self._oldest = ""  # the id of the oldest message that is shown of it
        self._names: dict[str, str] = {}
        self._listed: list[tuple[str, str]] = []  # (conversation_id, user_id) of what was numbered last; one is empty

    async def begin(self) -> None:
        """Raises ChatError."""
        self._me = await self._client.user_id()
        await self._client.state()

    async def run(self, text: str) -> Outgoing | None:
        """A command, or a message to who is there. Raises ChatError."""
        if not text.startswith("/") or text.startswith("//"):
            if not self.conversation_id:
                self._note("open a conversation first: /list, /open NAME, /people NAME")
                return None
            return await self._client.send(text.removeprefix("/"), conversation_id=self.conversation_id)
        word, _, rest = text[1:].partition(" ")
        found = [name for name in COMMANDS if name.startswith(word)]
        if word not in COMMANDS and len(found) != 1:
            self._note(f"there is no /{clean(word)}; /help lists what there is")
            return None
        await getattr(self, f"_{word if word in COMMANDS else found[0]}")(rest.strip())
        return None

    # Commands.

    async def _help(self, _: str) -> None:
        for name, (arguments, text) in COMMANDS.items():
            self._show([("class:where", f"/{name} {arguments}".strip()), ("", f"  {text}")])
        self._note("anything else is sent; a message that begins with / begins with //")

    async def _list(self, rest: str) -> None:
        states = await self._client.stored_conversations()
        shown = states if rest else states[:PAGE]
        self._listed = []
        for state in shown:
            last = state.info.last_message
            unread = f" ({state.info.unread_count})" if state.info.unread_count else ""
            said = clean(last.content).partition("\n")[0][:40]
            await self._number(await self._label(state), unread, said, state.info.conversation_id)
        if not states:
            self._note("no conversation yet: /people NAME finds somebody to talk to")
        elif len(shown) < len(states):
            self._note(f"and {len(states) - len(shown)} more: /list all")

    async def _people(self, rest: str) -> None:
        found = await self._client.search_people(rest)
        self._listed = []
        for user in found.users:
            self._names[user.user_id] = clean(user.nickname or user.username)
            await self._number(self._names[user.user_id], "", f"@{user.username}", "", user.user_id)
        self._note(f"{found.pagination.total} found; /open NUMBER talks to one of them")

    async def _search(self, rest: str) -> None:
        wanted = rest.casefold()
        if not wanted:
            return self._note("/search WORDS")
        self._listed = []
        for state in await self._client.stored_conversations():
            if wanted in (label := await self._label(state)).casefold():
                await self._number(label, "", "", state.info.conversation_id)
        before, pages = "", SEARCHED_PAGES if self.conversation_id else 0
        for _ in range(pages):
            page = await self._client.history(self.conversation_id, before=before, limit=200)
            for message in page.messages:
                if wanted in message.content.casefold():
                    await self._show_message(message)
            if not page.has_more:
                break
            before = page.messages[-1].message_id
        else:
            if pages:
                self._note("older messages were not searched")
        return None

    async def _open(self, rest: str) -> None:
        if not rest:
            return self._note("/open NUMBER or /open NAME")
        conversation_id, user_id = await self._find(rest)
        if user_id:
            conversation_id = (await self._client.open_conversation(user_id)).conversation_id
            self._names.setdefault(user_id, "")
            label = await self.name(user_id)
        elif conversation_id:
            state = await self._client.stored_conversation(conversation_id)
            label = await self._label(state) if state else ""
        else:
            return self._note(f"nobody and nothing is called {clean(rest)}")
        self.conversation_id, self.label, self._oldest = conversation_id, label, ""
        self._note(f"— {label} —")
        await self._history("")
        return None

    async def _find(self, word: str) -> tuple[str, str]:
        """(conversation_id, user_id); both empty if there is none."""
        if word.isdecimal() and 0 < int(word) <= len(self._listed):
            return self._listed[int(word) - 1]
        for state in await self._client.stored_conversations():
            if (await self._label(state)).casefold() == word.casefold():
                return state.info.conversation_id, ""
        return "", await self._user_id(word)

    async def _user_id(self, name: str) -> str:
        if name.isdecimal() and 0 < int(name) <= len(self._listed) and self._listed[int(name) - 1][1]:
            return self._listed[int(name) - 1][1]
        wanted = name.removeprefix("@").casefold()
        users = (await self._client.search_people(wanted)).users
        exact = [user for user in users if wanted in (user.username.casefold(), user.nickname.casefold())]
        return exact[0].user_id if exact else ""

    async def _history(self, rest: str) -> None:
        if not self.conversation_id:
            return self._note("open a conversation first")
        limit = min(int(rest), 200) if rest.isdecimal() and int(rest) else PAGE
        page = await self._client.history(self.conversation_id, before=self._oldest, limit=limit)
        if page.has_more:
            self._note("/history shows earlier ones")
        for message in reversed(page.messages):
            await self._show_message(message)
        if page.messages:
            if not self._oldest:
                await self._client.mark_read(page.messages[0].message_id)
            self._oldest = page.messages[-1].message_id
        return None

    async def _group(self, rest: str) -> None:
        act, *names = rest.split() or [""]
        if act == "new" and names:
            members = await self._user_ids(names[1:])
            made = await self._client.create_group(names[0], members)
            self.conversation_id, self.label, self._oldest = made.group_id, clean(made.name), ""
            self._note(f"— {self.label} —")
        elif act in {"add", "remove", "members", "leave"} and not self.conversation_id.startswith("g"):
            self._note("open a group first")
        elif act == "add" and names:
            added = await self._client.add_members(self.conversation_id, await self._user_ids(names))
            self._note(f"{len(added)} added")
        elif act == "remove" and names:
            for user_id in await self._user_ids(names):
                await self._client.remove_member(self.conversation_id, user_id)
        elif act == "members":
            for member in (await self._client.members(self.conversation_id, limit=200)).members:
                self._show([(_style(member.user_id), clean(member.nickname)), ("class:note", f"  {member.role}")])
        elif act == "leave":
            await self._client.leave_group(self.conversation_id)
            self.conversation_id = self.label = ""
        else:
            self._note(f"/group {COMMANDS['group'][0]}")

    async def _user_ids(self, names: Sequence[str]) -> list[str]:
        found = [await self._user_id(name) for name in names]
        for name, user_id in zip(names, found, strict=True):
            if not user_id:
                raise ChatError("NOT_FOUND", f"nobody is called {clean(name)}")
        return found

    async def _hide(self, _: str) -> None:
        if self.conversation_id:
            await self._client.hide(self.conversation_id)
            self.conversation_id = self.label = ""

    # What happens.

    async def show_event(self, event: Event) -> None:
        """Shows what a person wants to know of an event. Raises ChatError."""
        is_here = event.conversation_id == self.conversation_id
        if event.HasField("message_sent"):
            message = event.message_sent.message
            await self._show_message(message, is_here=is_here)
            if message.from_user_id != self._me:
                await self._client.acknowledge([message.message_id])
                if is_here:
                    await self._client.mark_read(message.message_id)
        elif event.HasField("message_updated") and event.message_updated.message.status == RECALLED and is_here:
            self._note(f"{await self.name(event.message_updated.message.from_user_id)} took back a message")
        elif event.HasField("member_joined") and is_here:
            self._note(f"{await self.name(event.member_joined.member.user_id)} is here now")
        elif event.HasField("member_left") and is_here:
            self._note(f"{await self.name(event.member_left.user_id)} is gone")
        elif event.HasField("group_updated") and is_here:
            self.label = clean(event.group_updated.group.name)

    async def _show_message(self, message: Message, *, is_here: bool = True) -> None:
        line: Line = [("class:time", time.strftime("%H:%M ", time.localtime(message.created_at / 1000)))]
        if not is_here:
            state = await self._client.stored_conversation(message.conversation_id)
            if state and (state.info.type == "group" or message.from_user_id == self._me):
                line.append(("class:where", f"[{await self._label(state)}] "))
            else:
                line.append(("class:where", "[to you] "))
        style = "class:me" if message.from_user_id == self._me else _style(message.from_user_id)
        line.append((style, await self.name(message.from_user_id)))
        content = "(taken back)" if message.status == RECALLED else clean(message.content)
        kind = "" if message.message_type in {"text", ""} else f"({clean(message.message_type)}) "
        self._show([*line, ("", f"  {kind}{content}")])

    async def name(self, user_id: str) -> str:
        """Raises ChatError."""
        if not self._names.get(user_id):
            profile = await self._client.profile(user_id)
            self._names[user_id] = clean(profile.nickname or profile.username)
        return self._names[user_id]

    async def _label(self, state: ConversationState) -> str:
        if state.info.name or not state.peer_user_id:
            return clean(state.info.name) or "a conversation"
        return await self.name(state.peer_user_id)

    async def _number(self, label: str, mark: str, more: str, conversation_id: str, user_id: str = "") -> None:
        self._listed.append((conversation_id, user_id))
        self._show(
            [("class:time", f"{len(self._listed):3} "), ("class:where", f"{label}{mark}"), ("", f"  {clean(more)}")]
        )

    def _note(self, text: str) -> None:
        self._show([("class:note", text)])


def _style(user_id: str) -> str:
    return f"class:name{crc32(user_id.encode()) % 4}"
