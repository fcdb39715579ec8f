"""Identifiers."""

import re

from gochat.domain import ids

KEY = b"k"


def test_ids_are_url_safe_and_differ() -> None:
    made = [make() for make in (ids.new_user, ids.new_group, ids.new_session) for _ in range(100)]
    made.append(ids.single("a", "b", KEY))
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[0-9a-z]{26,27}", name) for name in made)


def test_user_ids_are_ordered_by_time(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    made = []
    for now in (1, 1_000, 1_700_000_000_000, 1_700_000_000_001):
        monkeypatch.setattr(ids, "now_ms", lambda now=now: now)
        made.append(ids.new_user())
    assert made == sorted(made)


def test_a_one_to_one_conversation_has_one_id_from_both_sides() -> None:
    assert ids.single("a", "b", KEY) == ids.single("b", "a", KEY) != ids.single("a", "b", b"other")
    assert (
        len(
            {ids.single("a", "b", KEY), ids.single("a", "c", KEY), ids.single("ab", "", KEY), ids.single("b", "c", KEY)}
        )
        == 4
    )


def test_message_ids_sort_by_sequence_and_are_read_back() -> None:
    made = [ids.message("g1", seq) for seq in (1, 9, 10, 99, 100, 10**11)]
    assert made == sorted(made)
    assert [ids.parse_message(name) for name in made[:2]] == [("g1", 1), ("g1", 9)]


def test_text_that_is_no_message_id_is_none() -> None:
    for text in ("", "-", "g1", "g1-", "g1-1", "g1-00000000001x", "g1-٠٠٠٠٠٠٠٠٠٠٠١", "g1-0000000000001"):
        assert ids.parse_message(text) is None
