"""Who sees who is online."""

import time
from contextlib import ExitStack
from typing import Any

import pytest

from gochat.events.presence import CLAIM_TIMEOUT, OFFLINE_DELAY, Presence, Seen
from tests.conftest import Own
from tests.conversations import group
from tests.events.test_signals import two_workers
from tests.harness import Deployment, Person, refused
from tests.rpc.workers import TWO
from tests.streams import Listener, listening

ON, OFF = True, False
FLOOD = 30  # times that all come and go


@pytest.fixture
def presence() -> Presence:
    return Presence("here")


def test_the_last_of_several_streams_counts_and_a_while_later(presence: Presence) -> None:
    assert presence.opened("ann", 1) == ([Seen("ann", ON, 1)], True)
    assert presence.opened("ann", 2) == ([], False)
    presence.closed("ann", 10, 10_000)
    assert presence.left(10 + OFFLINE_DELAY) == ([], []), "another device has one"
    presence.closed("ann", 20, 20_000)
    assert presence.left(20 + OFFLINE_DELAY - 1) == ([], [])
    assert presence.is_online("ann", 20 + OFFLINE_DELAY - 1)
    assert presence.claimed == ["ann"]
    assert presence.left(20 + OFFLINE_DELAY) == ([Seen("ann", OFF, 20_000)], [("ann", 20_000)])
    assert not presence.is_online("ann", 20 + OFFLINE_DELAY)
    assert presence.claimed == []


def test_who_comes_back_soon_was_never_away(presence: Presence) -> None:
    presence.opened("ann", 0)
    for second in range(0, 300, 20):
        presence.closed("ann", second, 0)
        assert presence.left(second + 19) == ([], [])
        assert presence.opened("ann", 0) == ([], True), "others hear that she is connected"
    assert presence.left(1000) == ([], [])


def test_who_has_no_stream_any_more_is_online_for_a_while_and_not_connected(presence: Presence) -> None:
    presence.opened("ann", 0)
    presence.heard("there", ["ann", "ben"], [], 0, 0)
    presence.closed("ann", 10, 0)
    assert presence.is_connected("ann", 10), "in the other process she is"
    presence.heard("there", [], [], 11, 0, left=["ann", "ben"])
    assert (presence.is_online("ann", 12), presence.is_connected("ann", 12)) == (True, False)
    assert (presence.is_online("ben", 12), presence.is_connected("ben", 12)) == (True, False)
    presence.opened("ann", 0)
    presence.heard("there", ["ben"], [], 13, 0)
    assert presence.is_connected("ann", 13)
    assert presence.is_connected("ben", 13)
    assert not presence.is_connected("ben", 13 + CLAIM_TIMEOUT), "that process has died"


def test_who_has_a_stream_anywhere_is_online(presence: Presence) -> None:
    presence.opened("ann", 0)
    assert presence.heard("there", ["ann", "ben"], [], 0, 7) == [Seen("ben", ON, 7)]
    presence.closed("ann", 0, 0)
    assert presence.left(OFFLINE_DELAY) == ([], [("ann", 0)]), "others hear that, but she is still there"
    assert presence.heard("there", [], [("ann", 5), ("ben", 6)], 31, 0) == [Seen("ann", OFF, 5), Seen("ben", OFF, 6)]
    assert presence.heard("there", [], [("ann", 5)], 32, 0) == []


def test_a_process_that_says_no_more_leaves_nobody_online(presence: Presence) -> None:
    presence.heard("there", ["ann", "ben"], [], 0, 0)
    presence.heard("there", ["ben"], [], 15, 0)
    assert presence.expire(CLAIM_TIMEOUT - 1, 0) == []
    heard_ms = 1_000_000
    assert presence.expire(CLAIM_TIMEOUT + 2, heard_ms + 42_000) == [Seen("ann", OFF, heard_ms)]
    assert not presence.is_online("ben", 15 + CLAIM_TIMEOUT), "also before that was looked for"
    assert presence.expire(15 + CLAIM_TIMEOUT, 40_000) == [Seen("ben", OFF, 0)]


def test_what_is_remembered_at_the_end(presence: Presence) -> None:
    presence.opened("ann", 0)
    presence.opened("ben", 0)
    presence.closed("ben", 0, 5)
    assert presence.last_seen(9) == [("ann", 9), ("ben", 5)]


def presence_of(listener: Listener) -> list[tuple[str, bool]]:
    return [(presence.user_id, presence.online) for presence in listener.of_kind("presence")]


def watching(app: Deployment, person: Person, *watched: Person, **more: Any) -> Any:
    return listening(app, person.metadata, presence_user_ids=[each.id for each in watched], **more)


def test_presence_is_told_as_it_is_and_then_each_change(app: Deployment) -> None:
    ann, ben, cem, stranger = app.people(4)
    group(ann, ben, cem)
    before = time.time() * 1000
    with (
        listening(app, cem.metadata),
        listening(app, stranger.metadata),
        watching(app, ann, ben, cem, stranger, ann) as listener,
    ):
        listener.until(lambda each: len(presence_of(each)) == 3)
        assert sorted(presence_of(listener)) == sorted([(ann.id, ON), (ben.id, OFF), (cem.id, ON)])
        (seen,) = [each.last_active_at for each in listener.of_kind("presence") if each.user_id == ben.id]
        assert before - 60_000 < seen < before, "he has signed in"
        with listening(app, ben.metadata), listening(app, ben.metadata):
            listener.until(lambda each: presence_of(each)[3:] == [(ben.id, ON)])
        with listening(app, ben.metadata):
            pass
        ben.send(ann.id, "marker")
        listener.until(lambda each: "marker" in each.contents)
        assert presence_of(listener)[3:] == [(ben.id, ON)], "neither a second device nor a new connection is a change"


def test_who_shares_no_conversation_any_more_is_watched_no_more(app: Deployment) -> None:
    ann, ben = app.people(2)
    room = group(ann, ben)
    with watching(app, ben, ann) as listener:
        listener.until(lambda each: presence_of(each) == [(ann.id, OFF)])
        ben.LeaveGroup(group_id=room)
        listener.until(lambda each: "member_left" in each.kinds)
        time.sleep(0.5)  # the change is delivered a moment before those who are watched are looked at
        with listening(app, ann.metadata):
            app.person().send(ben.id, "marker")
            listener.until(lambda each: "marker" in each.contents)
        assert presence_of(listener) == [(ann.id, OFF)]


def test_a_service_watches_whom_it_likes(app: Deployment) -> None:
    ann, ben = app.people(2)
    with watching(app, ann, ben), listening(app, app.service, presence_user_ids=[ann.id, ben.id]) as listener:
        listener.until(lambda each: sorted(presence_of(each)) == sorted([(ann.id, ON), (ben.id, OFF)]))
    with listening(app, app.service, user_id=ben.id), watching(app, ben, ben):
        pass  # a service that looks at what ben sees is not ben


def test_at_most_200_are_watched(app: Deployment) -> None:
    ann = app.person()
    with refused("INVALID_ARGUMENT", "presence_user_ids"):
        ann.Subscribe(presence_user_ids=[f"u{number}" for number in range(201)]).next()


def test_presence_crosses_workers_and_ends_with_the_one_that_had_the_stream(own: Own) -> None:
    """The one test that waits as long as users do. What else depends on time is tested above, by the clock."""
    app = own("postgres", env=TWO)
    ann, ben = app.people(2)
    group(ann, ben)
    with two_workers(app) as (one, other), watching(app, ann, ben, channel=other) as listener:
        listener.until(lambda each: presence_of(each) == [(ben.id, OFF)])
        with listening(app, ben.metadata, channel=one):
            listener.until(lambda each: presence_of(each)[1:] == [(ben.id, ON)])
            with watching(app, ann, ben, channel=other) as later:
                later.until(lambda each: presence_of(each) == [(ben.id, ON)])
        left_at = time.time() * 1000
        listener.until(lambda each: presence_of(each)[2:] == [(ben.id, OFF)], seconds=OFFLINE_DELAY + 10)
        assert abs(listener.of_kind("presence")[-1].last_active_at - left_at) < 5000
        assert time.time() * 1000 - left_at >= OFFLINE_DELAY * 1000 - 500


def test_a_flood_of_comings_and_goings_is_one_change_of_each(own: Own) -> None:
    """Of people who come back to another worker each time. What is sent meanwhile comes, once and in order."""
    app = own("postgres", env=TWO)
    ann, *others = app.people(5)
    room = group(ann, *others)
    with two_workers(app) as channels, watching(app, ann, *others) as listener:
        for number in range(FLOOD):
            with ExitStack() as streams:
                for each in others:
                    streams.enter_context(listening(app, each.metadata, channel=channels[number % 2]))
                others[number % 4].send(room, f"{number}")
        listener.until(lambda each: len(each.contents) == FLOOD)
        assert listener.contents == [f"{number}" for number in range(FLOOD)]
        for each in others:
            assert [online for user_id, online in presence_of(listener) if user_id == each.id] == [OFF, ON]


def test_when_somebody_was_last_seen_survives_a_restart(own: Own, mode: str) -> None:
    app = own(mode)
    ann, ben = app.people(2)
    group(ann, ben)
    with listening(app, ben.metadata):
        time.sleep(0.1)
        stopped_at = time.time() * 1000
        assert set(app.stop()) == {0}
    app.start()
    with listening(app, ann.metadata, presence_user_ids=[ben.id]) as listener:
        listener.until(lambda each: presence_of(each) == [(ben.id, OFF)])
        assert abs(listener.of_kind("presence")[0].last_active_at - stopped_at) < 1000
