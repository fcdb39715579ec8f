"""What an export holds, in the form that the server takes."""

import pytest

from gochat.domain.forms import rules
from gochat.imports.fitting import MAX_CONTENT, email_of, key_of, line_of, pieces_of


@pytest.mark.parametrize("name", ["a", "x" * 200, "é" * 100, "line\nbreak", "a b", "", "\x7f"])
def test_a_key_is_an_external_id_and_one_name_has_one(name: str) -> None:
    key = key_of("slack:", name)
    rules.external_id("external_id", key)
    assert key.startswith("slack:")
    assert key == key_of("slack:", name)
    assert key != key_of("slack:", name + "x")


@pytest.mark.parametrize("text", ["a", "x" * MAX_CONTENT, "x" * (MAX_CONTENT + 1), "€" * 20_000, "x" + "😀" * 10_000])
def test_the_pieces_of_a_text_are_all_of_it_and_fit(text: str) -> None:
    pieces = list(pieces_of(text))
    assert "".join(pieces) == text
    assert all(0 < len(each.encode()) <= MAX_CONTENT for each in pieces)
    assert len(pieces) <= len(text.encode()) // (MAX_CONTENT - 3) + 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Ann", "Ann"),
        (" a\nb\u2028c ", "a b c"),
        ("\u202eevil", "evil"),
        ("\u200b\u200d", ""),
        ("", ""),
        ("x" * 70, "x" * 64),
    ],
)
def test_a_name_is_one_line_that_shows_something(text: str, line: str) -> None:
    assert line_of(text, 64) == line
    rules.line(64)("nickname", line_of(text, 64))


def test_what_is_no_address_is_none() -> None:
    assert [email_of(each) for each in ("a@example.com", "nobody", "a@b@c", "", "a@\0")] == ["a@example.com", *[""] * 4]
