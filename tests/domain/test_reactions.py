"""What is a reaction, and the sum of them that a message carries."""

import pytest

from gochat.api.message.v1 import message_pb2 as pb
from gochat.domain import reactions
from gochat.domain.limits import MAX_REACTIONS
from gochat.errors import ChatError

EMOJI = (
    *("👍", "👍🏽", "❤", "❤️", "☺️", "♥", "⚽", "🇩🇪", "1️⃣", "#️⃣", "*⃣", "ℹ️", "㊗️", "🫡", "🪿", "🧑‍🚀", "🧑🏿‍🚀"),
    *("👨‍👩‍👧‍👦", "👩🏽‍❤️‍💋‍👨🏾", "🏳️‍🌈", "🏴‍☠️", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"),
)
NONE = (
    *(
        "",
        "a",
        "1",
        "#",
        "👍👍",
        "👍 ",
        " 👍",
        "👍a",
        "🇩",
        "🇩🇪🇫🇷",
        "\ufe0f",
        "\u200d",
        "👍\u200d",
        "\u200d👍",
        "🏽\u0301",
    ),
    *(
        "é",
        "中",
        "→",
        ":",
        "::",
        ":a",
        "a:",
        ":A:",
        ":a b:",
        ":é:",
        f":{'a' * 33}:",
        ":a::b:",
        "<b>",
        "\0",
        "👍\0",
        "👍\n",
    ),
    *("👍" + "\u200d👍" * 7, "\u202e", "👍\ufe0f\ufe0f"),
)


@pytest.mark.parametrize("text", EMOJI)
def test_an_emoji_is_a_reaction(text: str) -> None:
    assert reactions.is_reaction(text)
    assert len(text.encode()) <= 128


@pytest.mark.parametrize("text", [":a:", ":+1:", ":ship-it_2:", f":{'a' * 32}:"])
def test_a_short_code_is_a_reaction(text: str) -> None:
    assert reactions.is_reaction(text)


@pytest.mark.parametrize("text", NONE)
def test_nothing_else_is(text: str) -> None:
    assert not reactions.is_reaction(text)


def test_a_sum_comes_back_as_it_was_stored() -> None:
    summed = reactions.loads("")
    assert not summed.reactions
    for number in range(200):
        reactions.add(summed, "👍", f"u{number}")
    stored = reactions.dumps(summed)
    assert stored.isascii()
    (one,) = reactions.loads(stored).reactions
    assert (one.count, list(one.user_ids)) == (200, [f"u{number}" for number in range(reactions.FIRST)])
    reactions.remove(summed, "👍", ["u1"])
    assert summed.reactions[0] == pb.Reaction(reaction="👍", count=199, user_ids=["u1"])
    reactions.remove(summed, "👍", [])
    assert reactions.dumps(summed) == ""


def test_a_sum_has_so_many_kinds() -> None:
    summed = pb.MessageDetail()
    for number in range(MAX_REACTIONS):
        reactions.add(summed, f":{number}:", "u1")
    reactions.add(summed, ":7:", "u2")
    with pytest.raises(ChatError):
        reactions.add(summed, "👍", "u2")
    assert len(summed.reactions) == MAX_REACTIONS


def test_one_emoji_has_one_spelling_on_a_message() -> None:
    summed = pb.MessageDetail()
    reactions.add(summed, "❤️", "u1")
    assert reactions.spelling(summed, "❤") == "❤️"
    assert reactions.spelling(summed, "👍") == "👍"
