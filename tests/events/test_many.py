"""Streams by the hundred and by the thousand: that they end in time, leave nothing behind, and do not wait for one."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from gochat.api.event.v1.event_pb2 import Goodbye
from gochat.events.hub import MAX_RETRY_AFTER
from tests.attacks.hostile import reset
from tests.conftest import Own
from tests.conversations import group
from tests.harness import as_service
from tests.processes import Process, memory
from tests.streams import NARROW, RawStreams, scaled
from tests.waiting import eventually, polled

MANY = {"GOCHAT_EVENTS_STREAMS_PER_USER": "1000"}
OPENINGS = scaled(1000, 10_000)
SENDS = scaled(270, 1000)  # more than are queued for a stream
READERS = scaled(199, 499)


def open_streams(process: Process) -> float:
    return process.metrics()("gochat_streams_open")


def test_a_stopping_server_says_goodbye_to_thousands_of_streams_in_time(own: Own) -> None:
    app = own(env=MANY | {"GOCHAT_SERVER_GRACE": "10"})
    (process,) = app.processes
    clients = [RawStreams(app.address, each.metadata) for each in app.people(2)]
    streams = [client.open(1000) for client in clients]
    assert open_streams(process) == 2000
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(process.stop)
        for client in clients:
            with suppress(AssertionError):  # the connection is closed after the last stream
                client.until(lambda client=client: len(client.raw.ended) == 1000)
        assert stopping.result() == 0, "not by force"
    goodbyes = list[Goodbye]()
    for client, opened in zip(clients, streams, strict=True):
        assert Counter(client.raw.ended.values()) == {"UNAVAILABLE": 1000}
        goodbyes += [client.responses(stream)[-1].goodbye for stream in opened]
    assert {each.reason for each in goodbyes} == {Goodbye.REASON_RECONNECT}
    tenths = Counter(min(9, each.retry_after_ms * 10 // MAX_RETRY_AFTER) for each in goodbyes)
    assert all(100 < tenths[tenth] < 300 for tenth in range(10)), "about 200 of them in each tenth of the time"


def test_thousands_of_openings_and_closings_leave_nothing_behind(own: Own) -> None:
    app = own(env=MANY | {"GOCHAT_EVENTS_STREAMS": "400"})  # more than are open at a time: none counts that is closed
    (process,) = app.processes
    people = app.people(2)
    group(*people)

    def held() -> int:
        return sum(len(os.listdir(f"/proc/{process.pid}/{kind}")) for kind in ("task", "fd"))

    def open_and_close(number: int) -> None:
        """Half of them one by one, the others with their connection."""
        for first in range(0, number, 200):
            client = RawStreams(app.address, people[first // 200 % 2].metadata)
            closed, left = client.open(100), client.open(100)
            client.raw.send(reset(closed))
            eventually(lambda left=left: open_streams(process) == len(left))
            client.raw.close()
            eventually(lambda: open_streams(process) == 0)

    open_and_close(600)
    before, size = held(), memory(process.pid)
    open_and_close(OPENINGS)
    few = 10  # threads that read the database for the first time meanwhile, which opens it
    assert polled(held, lambda now: now - before < few) - before < few
    assert memory(process.pid) - size < 8 * 1024, "KiB"


def test_one_who_takes_nothing_delays_none_of_a_group_of_500(own: Own) -> None:
    """Each message has reached all others before the next is sent, while nothing moves in one of the streams."""
    app = own(env=MANY)
    (process,) = app.processes
    ann, ben, cem = app.people(3)
    room = group(ann, ben, cem)
    readers, stalled = RawStreams(app.address, ben.metadata), RawStreams(app.address, cem.metadata, NARROW)
    streams, (stream,) = readers.open(READERS), stalled.open()
    assert open_streams(process) == READERS + 1
    service = as_service(app)
    for number in range(1, SENDS + 1):
        service.logic.SendMessage(conversation_id=room, from_user_id=ann.id, content=f"{number}")
        readers.until(lambda number=number: all(len(readers.messages[each]) > number for each in streams))
    stalled.read(0.1)
    assert len(stalled.messages[stream]) == 1
    expected = [f"{number}" for number in range(1, SENDS + 1)]
    assert all(readers.contents(each) == expected for each in streams[::100])
    # It may have been cut off since; what it has missed is there for its cursor.
    again = RawStreams(app.address, cem.metadata)
    (resumed,) = again.open(cursor=stalled.responses(stream)[0].cursor)
    again.until(lambda: len(again.contents(resumed)) >= SENDS)
    assert again.contents(resumed) == expected
