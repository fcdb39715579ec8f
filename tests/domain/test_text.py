"""Names and how they compare."""

import pytest

from gochat.domain.text import folded, masked_email, normal_name


@pytest.mark.parametrize(
    ("one", "other"),
    [("ÄRGER", "ärger"), ("Straße", "STRASSE"), ("ﬁne", "FINE"), ("Ａｌｉｃｅ", "alice"), ("İ", "i̇"), ("小明", "小明")],
)
def test_names_that_differ_in_case_or_width_are_one_name(one: str, other: str) -> None:
    assert folded(one) == folded(other)


def test_a_kept_name_keeps_its_case() -> None:
    assert normal_name("Ａlice") == "Alice"


@pytest.mark.parametrize(
    ("email", "shown"),
    [("alice@example.com", "a***@example.com"), ("a@b", "a***@b"), ("", ""), ('"a@b"@c.org', '"***@c.org')],
)
def test_a_masked_email_shows_one_character(email: str, shown: str) -> None:
    assert masked_email(email) == shown
