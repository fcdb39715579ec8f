"""When very many streams are opened at once: they wait in grpcio, and others do not wait for them."""

import threading
import time

from gochat.serving.executors import OPENING_THREADS
from tests.attacks.hostile import called, numbers
from tests.rpc.test_loop import SUBSCRIBE
from tests.rpc.test_subscribing import Served
from tests.waiting import eventually


def test_calls_do_not_queue_behind_streams_that_are_opened() -> None:
    served = Served(queues=True)
    served.gate = threading.Event()
    clients = [served.raw() for _ in range(8)]
    for client in clients:
        client.send(called(numbers(100), SUBSCRIBE, metadata=served.service))
    eventually(lambda: served.executors.openings.active == OPENING_THREADS)
    assert all(served.validate() for _ in range(20))
    assert served.state.connections.waiting < 100  # of 800: the others wait in grpcio
    served.gate.set()
    eventually(lambda: len(served.sources) == 800)
    for client in clients:
        client.close()
    eventually(served.is_empty)
    assert served.loop.drain(5, 5)


def test_streams_that_wait_to_be_opened_do_not_hold_up_a_drain() -> None:
    served = Served(queues=True)
    served.gate = threading.Event()
    client = served.raw()
    client.send(called(numbers(100), SUBSCRIBE, metadata=served.service))
    eventually(lambda: served.executors.openings.active == OPENING_THREADS)
    threading.Timer(0.5, served.gate.set).start()
    started = time.monotonic()
    assert served.loop.drain(0.5, 5)
    assert time.monotonic() - started < 3
    client.close()
