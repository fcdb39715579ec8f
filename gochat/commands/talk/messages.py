"""What is typed of messages."""

import re
from collections.abc import Sequence

from gochat.client import ALL, Outgoing
from gochat.commands.talk.base import Base, aside, number_of, pages
from gochat.commands.talk.words import UsageError, clean

MANAGERS = {"owner", "admin"}


class OfMessages(Base):
    async def _say(self, text: str, reply_to: str = "") -> Outgoing:
        here = self._here()
        return await self._client.send(
            text, conversation_id=here, reply_to=reply_to, mentions=await self._mentions(text)
        )

    async def _mentions(self, text: str) -> Sequence[str]:
        """Of the people here whose names follow an @ in this text."""
        if "@" not in text or not self.conversation_id.startswith("g"):
            return ()
        state = await self._client.stored_conversation(self.conversation_id)
        if "@all" in text.split() and state and state.role in MANAGERS:
            return ALL
        starts = [match.end() for match in re.finditer(r"(?<!\S)@(?=\S)", text)]
        found = [await aside(self._mentioned(text[start:].casefold())) for start in starts]
        return list(dict.fromkeys(user_id for user_id in found if user_id))

    async def _mentioned(self, text: str) -> str:
        """Whose name this begins with, as a user id: in the group, or a username. "" for nobody's."""
        names = {name.casefold(): name for name in self.members() if name}
        for name in sorted(names, key=len, reverse=True):
            if text.startswith(name) and not text[len(name) : len(name) + 1].isalnum():
                return self._member_id(names[name])
        username = text.split()[0].rstrip(".,:;!?")
        for user in (await self._client.search_people(username)).users if username else []:
            if user.username.casefold() == username:
                return (await self._client.member(self.conversation_id, user.user_id)).member.user_id
        return ""

    async def _reply(self, rest: str) -> Outgoing:
        message_id, text = self._message_id(rest)
        if not text:
            raise UsageError
        return await self._say(text, message_id)

    async def _forward(self, rest: str) -> Outgoing:
        message_id, where = self._message_id(rest)
        if not where:
            raise UsageError
        conversation_id, user_id = await self._find(where)
        outgoing = await self._client.forward(message_id, conversation_id=conversation_id, to=user_id)
        self._note(f"{number_of(message_id)} goes to {clean(where)}")
        return outgoing

    async def _edit(self, rest: str) -> None:
        message_id, text = self._message_id(rest)
        if not text:
            raise UsageError
        await self._client.edit(message_id, text, await self._mentions(text))

    async def _versions(self, rest: str) -> None:
        message_id, _ = self._message_id(rest)
        async for page in pages(lambda token: self._client.versions(message_id, token)):
            for version in page.versions:
                self._show([("class:note", "was  "), ("", clean(version.content))])
            if not page.versions:
                self._note(f"{number_of(message_id)} was not edited")

    async def _recall(self, rest: str) -> None:
        await self._client.recall(self._message_id(rest)[0])

    async def _delete(self, rest: str) -> None:
        await self._client.delete(self._message_id(rest)[0])

    async def _react(self, rest: str) -> None:
        message_id, reaction = self._message_id(rest)
        if not reaction:
            raise UsageError
        await self._client.react(message_id, reaction)

    async def _unreact(self, rest: str) -> None:
        message_id, reaction = self._message_id(rest)
        if not reaction:
            raise UsageError
        await self._client.unreact(message_id, reaction)

    async def _reactions(self, rest: str) -> None:
        message_id, _ = self._message_id(rest)
        async for page in pages(lambda token: self._client.reactions(message_id, token)):
            for each in page.reactions:
                name = await self.name(each.user_id)
                self._show([(self._style(each.user_id), name), ("", f"  {clean(each.reaction)}")])
            if not page.reactions:
                self._note(f"nobody reacted to {number_of(message_id)}")

    async def _receipts(self, rest: str) -> None:
        found = await self._client.receipts(self._message_id(rest)[0])
        for receipt in found.receipts:
            status = {2: "has received it", 3: "has read it"}.get(receipt.status, "has not received it")
            self._show(
                [(self._style(receipt.user_id), await self.name(receipt.user_id)), ("class:note", f"  {status}")]
            )
        self._note(f"{found.read_count} of {found.recipient_count} have read it, {found.delivered_count} received it")

    async def _pin(self, rest: str) -> None:
        await self._client.pin(self._message_id(rest)[0])

    async def _unpin(self, rest: str) -> None:
        await self._client.unpin(self._message_id(rest)[0])

    async def _pinned(self, _: str) -> None:
        details = await self._client.pinned(self._here())
        for detail in details:
            await self._show_message(detail)
        if not details:
            self._note("nothing is pinned here")
