"""Names and how they compare."""

import pytest

from gochat.domain.text import casefold_key, excessive_marks, masked_email, normal_name, skeleton


@pytest.mark.parametrize(
    ("one", "other"),
    [("ÄRGER", "ärger"), ("Straße", "STRASSE"), ("ﬁne", "FINE"), ("Ａｌｉｃｅ", "alice"), ("İ", "i̇"), ("小明", "小明")],
)
def test_names_that_differ_in_case_or_width_are_one_name(one: str, other: str) -> None:
    assert casefold_key(one) == casefold_key(other)


def test_a_kept_name_keeps_its_case() -> None:
    assert normal_name("Ａlice") == "Alice"


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
    assert excessive_marks("a" + "\u0336" * 4)
    for name in ("alice", "", "นที่รัก", "हिन्दी", "Việt", "e\u0301" * 10):
        assert not excessive_marks(name)
