"""What a stream keeps of what it is given, and what the hub has read lately. The log is nowhere near."""

import threading

from gochat.api.event.v1 import event_pb2
from gochat.domain.changes import pieces_of
from gochat.events.counters import Counters
from gochat.events.feeding import CHUNK
from gochat.events.recent import MAX_RECENT, Recent
from gochat.events.stream import Stream
from gochat.internal.change.v1 import change_pb2 as pb
from tests.events.test_hub import ANN, EPOCH, Taker


def test_nothing_follows_the_goodbye() -> None:
    stream = Stream(ANN, "ann", lambda _: None, Counters())
    stream.say(pb.Position(epoch=EPOCH))
    threads = [threading.Thread(target=stream.end, args=(event_pb2.Goodbye.REASON_RECONNECT,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.say()
    stream.drop()
    taker = Taker(stream)
    taker.take()
    assert taker.payloads == ["None", "goodbye"]


def test_the_size_of_what_is_queued_stays_right_when_it_is_dropped() -> None:
    stream = Stream(ANN, "ann", lambda _: None, Counters())
    taking = threading.Thread(target=lambda: [stream.next() for _ in range(20_000)])
    taking.start()
    for number in range(20_000):
        stream.add(b"x" * 100)
        if number % 50 == 0:
            stream.drop()
    taking.join()
    stream.drop()
    assert stream._added == stream._taken
    assert not stream.is_full


def test_a_piece_of_a_backlog_moves_the_cursor_where_all_that_follows_is_newer() -> None:
    goal = pb.Position(epoch=EPOCH, at=900)

    def moved(*positions: int) -> list[int | None]:
        pieces = pieces_of([pb.Change(position=each) for each in positions], goal, CHUNK)
        assert [change.position for changes, _ in pieces for change in changes] == [*positions]
        return [position and position.at for _, position in pieces]

    in_order = range(10, 10 + 2 * CHUNK + 1)
    assert moved(*in_order) == [10 + CHUNK, 10 + 2 * CHUNK, 900]
    late = 10 + CHUNK + 5  # a transaction that drew an id early and has a high position, and the other way round
    swapped = [{10 + CHUNK - 1: late, late: 10 + CHUNK - 1}.get(each, each) for each in in_order]
    assert moved(*swapped) == [None, 10 + 2 * CHUNK, 900]
    assert moved() == []


def test_recent_changes_are_complete_from_a_position_on() -> None:
    recent = Recent()
    recent.begin(5)

    def change(at: int) -> pb.Change:
        return pb.Change(position=at)

    recent.add(5, [change(6), change(5)])
    recent.add(7, [])
    recent.add(9, [change(9), change(11)])
    assert recent.since(4) is None

    def since(at: int) -> list[int]:
        return [each.position for each in recent.since(at) or ()]

    assert since(5) == [6, 5, 9, 11], "in the order in which they were read"
    assert since(6) == [6, 9, 11]
    assert since(8) == [9, 11]
    assert since(12) == []
    recent.add(12, [change(12)] * MAX_RECENT)
    assert recent.since(11) is None, "dropped, with all of that read"
    assert len(recent.since(12) or ()) == MAX_RECENT
    recent.begin(20)
    assert recent.since(12) is None
