"""The terminal of `gochat chat`: a line to type on, above it what is said, as it is said."""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style

from gochat.client import AsyncClient, ChatError, Outgoing
from gochat.client.aio import AsyncEvents
from gochat.commands.talk import Line, Talk, clean, completions

STYLE = Style.from_dict(
    {
        "time": "ansibrightblack",
        "note": "ansibrightblack",
        "error": "ansired",
        "me": "ansigreen bold",
        "name0": "ansicyan bold",
        "name1": "ansimagenta bold",
        "name2": "ansiyellow bold",
        "name3": "ansiblue bold",
        "where": "ansiyellow",
        "mention": "bold ansiblack bg:ansiyellow",
        "bottom-toolbar": "noreverse ansibrightblack",
    }
)
TYPING_INTERVAL, TYPING_EXPIRY = 3.0, 6.0  # seconds


def show(line: Line) -> None:
    print_formatted_text(FormattedText(line), style=STYLE)


class TalkCompleter(Completer):
    """Commands and what may follow them, people after an @, conversations to open."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        return []  # prompt_toolkit asks the next one where it runs in asyncio

    async def get_completions_async(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002
    ) -> AsyncGenerator[Completion, None]:
        line = document.current_line_before_cursor
        places = []
        if line.startswith(("/open", "/forward")):
            with suppress(ChatError):  # of a name that is not known yet
                places = await self._talk.places()
        for word, replaced, does in completions(line, self._talk.members(), places):
            yield Completion(word, -replaced, display_meta=does)


class Terminal:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._talk = Talk(client, show)
        self._waiting: list[Outgoing] = []
        self._types: dict[str, float] = {}  # name of who types here -> when that expires
        self._said_typing = 0.0
        self._tasks = set[asyncio.Task[None]]()
        self._events: AsyncEvents | None = None
        self._session: PromptSession[str] = PromptSession(
            completer=TalkCompleter(self._talk),
            complete_while_typing=False,
            bottom_toolbar=self._status,
            erase_when_done=True,
            refresh_interval=1.0,
            style=STYLE,
        )
        self._session.default_buffer.on_text_changed += lambda _: self._on_typing()

    async def run(self) -> None:
        """Until the user leaves. Raises ChatError."""
        await self._talk.begin()
        async with self._client.events(typing=True) as events:
            self._events = events
            with patch_stdout():
                listening = asyncio.create_task(self._listen(events))
                typing = asyncio.create_task(self._read())
                await asyncio.wait({listening, typing}, return_when=asyncio.FIRST_COMPLETED)
                for task in (listening, typing):
                    task.cancel()
                with suppress(asyncio.CancelledError):
                    await typing
                with suppress(asyncio.CancelledError):
                    await listening

    async def _read(self) -> None:
        show([("class:note", "/help lists what can be typed; Ctrl-D leaves")])
        await self._talk.run("/list")
        while True:
            try:
                text = await self._session.prompt_async(lambda: f"{self._talk.label}> ")
            except EOFError:
                return
            except KeyboardInterrupt:
                if not self._session.default_buffer.text:
                    return
                continue
            if not text.strip():
                continue
            if text.split()[0] in {"/quit", "/q"}:
                return
            try:
                if outgoing := await self._talk.run(text.strip()):
                    self._waiting.append(outgoing)
                    self._background(self._report(outgoing))
            except ChatError as error:
                show([("class:error", error.message)])

    async def _listen(self, events: AsyncEvents) -> None:
        async for event in events:
            if event.HasField("typing"):
                if event.conversation_id == self._talk.conversation_id:
                    name = await self._talk.name(event.typing.user_id)
                    self._types[name] = time.monotonic() + TYPING_EXPIRY if event.typing.typing else 0
            else:
                with suppress(ChatError):  # of a call that only makes it prettier
                    await self._talk.show_event(event)
            self._session.app.invalidate()

    async def _report(self, outgoing: Outgoing) -> None:
        """Says so if it cannot be sent."""
        try:
            await outgoing
        except ChatError as error:
            if outgoing.status == "failed":
                show([("class:error", f"not sent: {clean(outgoing.request.content)} ({error.message})")])
        self._waiting.remove(outgoing)
        self._session.app.invalidate()

    def _on_typing(self) -> None:
        text, now = self._session.default_buffer.text, time.monotonic()
        conversation_id = self._talk.conversation_id
        if conversation_id and text and text[0] != "/" and now - self._said_typing >= TYPING_INTERVAL:
            self._said_typing = now
            self._background(self._client.set_typing(conversation_id))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            with suppress(ChatError):
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _status(self) -> str:
        now = time.monotonic()
        types = ", ".join(name for name, until in self._types.items() if until > now)
        parts = [f"{types} is typing" if types else "", self._talk.seen]
        if self._events and not self._events.is_connected:
            parts.append("no connection, trying again")
        if self._waiting:
            parts.append(f"{len(self._waiting)} waiting to be sent")
        return "  ".join(part for part in parts if part) or " "


async def converse(client: AsyncClient) -> None:
    """Raises ChatError."""
    await Terminal(client).run()
