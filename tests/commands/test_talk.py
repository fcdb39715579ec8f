"""The words of `gochat chat`: what can be typed, completed and understood. No server, no terminal."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from gochat.api.common.v1.common_pb2 import Message, UserProfile
from gochat.api.message.v1.message_pb2 import MessageDetail, Pin, Reaction
from gochat.client import FOREVER, ChatError
from gochat.commands.talk import Talk
from gochat.commands.talk.words import COMMANDS, GROUP, UsageError, completions, is_time, shown, until, usage_of, usages


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/un", ["/unreact", "/unpin", "/unread"]),
        ("/group tr", ["transfer"]),
        ("/group ban a", ["Ann", "Ann Lee"]),
        ("/group settings s", ["slow", "search"]),
        ("/list a", ["archived", "all"]),
        ("/mute ", ["off"]),
        ("/open read", ["Readers"]),
        ("/forward #3 R", ["Readers"]),
        ("hello @b", ["@Ben"]),
        ("hello b", []),
        ("/reply #3 b", []),
        ("/nonsense ", []),
    ],
)
def test_completion(line: str, words: list[str]) -> None:
    found = list(completions(line, ["Ann", "Ann Lee", "Ben"], ["Readers", "Writers"]))
    assert [word for word, _, _ in found] == words
    assert {replaced for _, replaced, _ in found} <= {len(line.split(" ")[-1])}


def test_everything_that_is_listed_can_be_done() -> None:
    for name in set(COMMANDS) - {"quit"}:
        assert callable(getattr(Talk, f"_{name}")), name
    for name in GROUP:
        assert callable(getattr(Talk, f"_group_{name}")), name
    listed = [usage.split() for usage, _ in usages()]
    assert {words[0] for words in listed} == {f"/{name}" for name in COMMANDS}
    assert {words[1] for words in listed if words[0] == "/group"} >= set(GROUP)


def test_usage() -> None:
    assert [usage for usage, _ in usage_of("edit", "")] == ["/edit #N TEXT"]
    assert [usage.strip() for usage, _ in usage_of("group", "ban")] == ["/group ban PERSON [TIME] [WHY]"]
    assert len(usage_of("group", "nonsense")) == len(GROUP) + 1


def test_times() -> None:
    now = time.time() * 1000
    assert [round((until(text) - now) / 60_000) for text in ("5m", "8h", "2d")] == [5, 480, 2880]
    assert (until(""), shown(FOREVER), shown(0)) == (FOREVER, "for good", "for good")
    assert shown(until("8h")).startswith("until ")
    for text in ("0h", "h", "8", "8w", "-1h", "999999h", "off"):
        assert not is_time(text)
        with pytest.raises(UsageError):
            until(text)


class Offline:
    """A client whose server is away, with one message in its store."""

    async def messages_before(self, *_: Any, **__: Any) -> None:
        raise ChatError("UNAVAILABLE", "no connection")

    mark_read = messages_before

    async def stored_messages(self, conversation_id: str, *_: Any) -> Sequence[MessageDetail]:
        message = Message(message_id=f"{conversation_id}-000000000007", from_user_id="u1", content="a\x1b[2Jb")
        reactions = [Reaction(reaction="\x07👍", count=2)]
        return [
            MessageDetail(message=message, edited_at=1, mentions_all=True, reactions=reactions, pin=Pin(pinned_at=1))
        ]

    async def profile(self, user_id: str) -> UserProfile:
        return UserProfile(user_id=user_id, nickname="Ann")


def test_without_a_connection_it_shows_what_was_read_before() -> None:
    lines: list[list[tuple[str, str]]] = []
    client: Any = Offline()
    talk = Talk(client, lines.append)
    talk.conversation_id = "g1"
    asyncio.run(talk.run("/history"))
    assert "".join(text for _, text in lines[0]) == "no connection; this is what was read before"
    shown = "".join(text for _, text in lines[1])
    assert shown.endswith("#7 Ann  a\ufffd[2Jb  (edited, pinned, \ufffd👍 2)"), "and nothing moves the cursor"
    assert ("class:mention", "  a\ufffd[2Jb") in lines[1]
