"""Names and how they compare."""

import pytest

from gochat.domain.text import (
    casefold_key,
    excessive_marks,
    hides_letters,
    masked_email,
    normal_name,
    opaque,
    shows_something,
    skeleton,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ÄRGER", "ärger"), ("Straße", "STRASSE"), ("ﬁne", "FINE"), ("Ａｌｉｃｅ", "alice"), ("İ", "i̇"), ("小明", "小明")],
)
def test_names_that_differ_in_case_or_width_are_one_name(one: str, other: str) -> None:
    assert casefold_key(one) == casefold_key(other)


def test_a_name_is_kept_as_typed() -> None:
    assert normal_name("Ａlice") == "Ａlice"
    assert normal_name("น้ำ") == "น้ำ"
    assert normal_name("e\u0301") == "\u00e9"


@pytest.mark.parametrize("name", ["İbrahim", "ibrahim", "IBRAHIM", "İBRAHİM", "i\u0307brahim"])
def test_a_key_has_no_dot_above_the_small_i(name: str) -> None:
    assert casefold_key(name) == "ibrahim"


@pytest.mark.parametrize("name", ["علی\u200cرضا", "ශ්\u200dරී", "❤\ufe0f", "a\u00adb", "\ufeffab"])
def test_a_key_has_nothing_that_does_not_show(name: str) -> None:
    visible = "".join(letter for letter in name if letter not in "\u200c\u200d\ufe0f\u00ad\ufeff")
    assert casefold_key(name) == casefold_key(visible)
    assert skeleton(name) == skeleton(visible)


@pytest.mark.parametrize(
    "name", ["علی\u200cرضا", "ශ්\u200dරී", "র\u200d্য", "❤\ufe0f", "👨\u200d👩\u200d👧", "葛\U000e0100"]
)
def test_joiners_are_taken_where_a_script_needs_them(name: str) -> None:
    assert not hides_letters(name)
    for one in ("a\u200db", "a\u200c", "\u200d", "a\ufe0f", "1\u200d2", "\u3164"):
        assert hides_letters(one)


def test_opaque_strings() -> None:
    """The examples of RFC 8265, 4.3, but for those that are refused."""
    for password in ("correct horse battery staple", "Correct Horse Battery Staple", "πßå", "Jack of ♦s"):
        assert opaque(password) == password
    assert opaque("foo\u1680bar") == "foo bar"
    assert opaque("Ａ") == "Ａ"
    assert opaque("a\u0308") == "ä"


def test_what_shows_something() -> None:
    for name in ("a", "…", "王", "❤", "\u0e01\u0e48", "😀"):
        assert shows_something(name)
    for name in ("", " ", "\u200b", "\u2800", "\u3164 ", "\u0301", "\u2028"):
        assert not shows_something(name)


@pytest.mark.parametrize(
    ("email", "shown"),
    [("alice@example.com", "a***@example.com"), ("a@b", "a***@b"), ("", ""), ('"a@b"@c.org', '"***@c.org')],
)
def test_a_masked_email_shows_one_character(email: str, shown: str) -> None:
    assert masked_email(email) == shown


@pytest.mark.parametrize("other", ["аlice", "ALICE", "Αlice", "ａｌіcе", "alıce"])
def test_names_that_look_the_same_have_one_skeleton(other: str) -> None:
    assert skeleton("alice") == skeleton(other)


def test_names_that_look_different_have_different_skeletons() -> None:
    names = ["alice", "alicia", "a1ice", "алиса", "Αλίκη", "小明", "álice"]
    assert len({skeleton(name) for name in names}) == len(names)


def test_excessive_marks_are_found_but_not_in_living_scripts() -> None:
    assert excessive_marks("\u0301alice")
    assert excessive_marks("a" + "\u0336" * 2)
    assert excessive_marks("a\u0300\u0301\u0302\u0303\u0304")
    for name in ("alice", "", "นที่รัก", "हिन्दी", "Việt", "e\u0301" * 10, "ကျော်", "လျှော့", "བསྒྲུབས", "שָּׁ"):
        assert not excessive_marks(name)
