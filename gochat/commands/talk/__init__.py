"""What can be typed in `gochat chat`, and what it shows of an event. Nothing here knows the terminal."""

from gochat.client import Outgoing
from gochat.commands.talk.base import Line
from gochat.commands.talk.events import OfEvents
from gochat.commands.talk.groups import OfGroups
from gochat.commands.talk.messages import OfMessages
from gochat.commands.talk.words import COMMANDS, UsageError, clean, completions, usage_of, usages

__all__ = ["Line", "Talk", "clean", "completions"]


class Talk(OfMessages, OfGroups, OfEvents):
    async def begin(self) -> None:
        """Raises ChatError."""
        self._me = await self._client.user_id()
        await self._client.state()

    async def run(self, text: str) -> Outgoing | None:
        """A command, or a message to who is there. Returns what is to be sent. Raises ChatError."""
        if not text.startswith("/") or text.startswith("//"):
            return await self._say(text.removeprefix("/"))
        word, _, rest = text[1:].partition(" ")
        found = [name for name in COMMANDS if name.startswith(word)]
        if word not in COMMANDS and len(found) != 1:
            self._note(f"there is no /{clean(word)}; /help lists what there is")
            return None
        name = word if word in COMMANDS else found[0]
        try:
            outgoing: Outgoing | None = await getattr(self, f"_{name}")(rest.strip())
        except UsageError:
            for usage, does in usage_of(name, rest.partition(" ")[0]):
                self._show([("class:where", usage.strip()), ("", f"  {does}")])
            return None
        return outgoing

    async def _help(self, _: str) -> None:
        for usage, does in usages():
            self._show([("class:where", usage), ("", f"  {does}")])
        self._note("#N is the number before a message; @NAME mentions a member of a group, @all everybody")
        self._note("anything else is sent; a message that begins with / begins with //")
