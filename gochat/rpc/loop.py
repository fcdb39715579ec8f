"""The serving loop: one thread polls grpcio's completion queue and owns the state of every call and stream (calls.py).

Nothing on that thread waits. What it runs itself (admission, reads by index) is soon done; everything else runs on an
executor's thread, which hands its answer over to the loop. Requests that do not arrive and answers that are not taken
are ended by timers, which are looked at between two operations.

Answers are gathered as long as more is there to be done, and then sent together: so clients send their next requests
together too, and fewer reads of their connections carry the same calls.

Functions marked *loop* run on the thread that serves, of which there is one at a time. A read that runs inline may have
to wait for a disk after all. Then the watchdog lets another thread serve: the one that waits is inside of a tag, so it
is not polling, and when it comes back it has answered its call and sees that it does not serve any more (`_serve`).
"""

import logging
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import TypeVar

import grpc

from gochat import logs
from gochat.rpc import grpcio_internals as core
from gochat.rpc.calls import StreamCall, UnaryCall
from gochat.rpc.process import shut_down_connections, waits_for_a_device
from gochat.rpc.state import OpenStream, State
from gochat.serving.connections import Connection
from gochat.serving.endpoints import LATE, SILENT, STOPPING, StreamEndpoint, Unary
from gochat.serving.executors import Inline

MAX_GATHERING = 0.002  # seconds that an answer waits for others, to be sent with them
POLL_INTERVAL = 0.1  # seconds between two looks at the timers; less than the 0.2 of grpcio_internals
FORGET_INTERVAL = 1.0  # seconds between two looks for connections that are not used
MAX_ENDED = 100  # calls that are ended at one look at the timers
MAX_CLOSED = 20  # connections, likewise
MAX_PUMPED = 100  # streams that are asked for what there is to send between two operations
MAX_INLINE = 0.005  # seconds that a call may hold up all others
WATCH_INTERVAL = 0.005  # seconds between two looks of the watchdog while calls come in
IDLE_WATCH_INTERVAL = 0.05  # the same while none do
LAST_WORDS_TIMEOUT = 1.0  # seconds to write what was logged before the process is ended
STANDSTILL_TIMEOUT = 20.0  # seconds of running time without a look at the timers, after which the process is of no use

log = logging.getLogger(__name__)

T = TypeVar("T")


class ServingLoop:
    """endpoints: by path."""

    def __init__(self, server: core.Server, endpoints: Mapping[str, Unary | StreamEndpoint], state: State) -> None:
        self._server, self._state = server, state
        self._endpoints = {path.encode(): endpoint for path, endpoint in endpoints.items()}
        self.turns = 0  # looks at the timers: who counts them sees whether the loop stands still
        self.taken_over = 0  # by another thread
        self._look_at = self._forget_at = 0.0
        self._draining = self._cancelling = False  # asked for by drain
        self._shutting_down = self._cancelled = self._down = False  # done by the loop
        self._native_id = 0
        self._unserved = False
        self._to_pump: deque[OpenStream] = deque()
        self._over = threading.Event()
        self._unresponsive: deque[str] = deque()  # peers whose connections the watchdog is to shut down

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """The port. Raises RuntimeError."""
        return self._server.listen(address, credentials)

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.numbers."""
        return self._state.executors.statistics() | {
            "calls_dropped": self._state.dropped,
            "serving_threads_replaced": self.taken_over,
        }

    def start(self) -> None:
        self._server.start()
        self._server.request_call(self._accept)
        self._serve_on_new_thread()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def drain(self, grace: float, kill: float) -> bool:
        """Takes no new calls, gives running ones `grace` seconds, cancels the rest and waits for `kill` seconds. False
        where calls still run then. By the main thread, once."""
        self._draining = True
        if self._over.wait(grace):
            return True
        self._cancelling = True
        return self._over.wait(kill)

    def wake(self) -> None:
        """Has every stream asked for what there is to send. By any thread."""
        with self._state.waking:
            for stream in list(self._state.streams)[:1]:
                core.wake(stream.call, self._pump)

    def _serve_on_new_thread(self) -> None:
        threading.Thread(target=self._serve, name="serving", daemon=True).start()

    def _serve(self) -> None:
        """*loop*, until another thread has taken over."""
        poll, state, me = self._server.poll, self._state, threading.get_ident()
        replaced, answers = state.executors.inline.replaced, state.answers
        state.serving, self._native_id = me, threading.get_native_id()
        over = self._over.is_set
        while not over():
            event = poll(0 if answers or self._to_pump else time.time() + POLL_INTERVAL)
            try:
                if event.tag is not None:
                    event.tag(event)
            except Exception:
                log.exception("the serving loop failed at an operation")
                if isinstance(call := getattr(event.tag, "__self__", None), UnaryCall | StreamCall):
                    call.call.cancel()
                del call
            if replaced and me in replaced:
                replaced.discard(me)
                return
            try:
                self._between(event.tag is None)
            except Exception:
                log.exception("the serving loop failed between two operations")
            del event  # it keeps the call, and so the stream of its connection
            if self._down and not state.calls:
                with state.waking:
                    self._server.close()
                self._over.set()

    def _between(self, idle: bool) -> None:
        """*loop* What is done between two operations. idle: none is ready."""
        now, state = time.monotonic(), self._state
        if state.answers and (idle or now - state.gathered_at > MAX_GATHERING):
            state.send_answers()
        for _ in range(min(MAX_PUMPED, len(self._to_pump))):
            self._to_pump.popleft().pump()
        if now >= self._look_at:
            self._look(now)

    def _accept(self, event: core.Event) -> None:
        """*loop* A new call, or none any more."""
        if not event.success:
            return
        if not self._shutting_down:
            self._server.request_call(self._accept)
        state = self._state
        connection = state.connections.of(event.call.peer(), time.monotonic())
        endpoint = self._endpoints.get(event.call_details.method)
        call: UnaryCall | StreamCall
        if isinstance(endpoint, Unary):
            call = UnaryCall(state, connection, event, endpoint)
        else:
            call = StreamCall(state, connection, event, endpoint)
        state.calls[call] = None
        call.begin()

    def _look(self, now: float) -> None:
        """*loop* At the timers. What is more than MAX_ENDED has its turn at the next look."""
        self._look_at = now + POLL_INTERVAL
        self.turns += 1
        state = self._state
        if len(late := _due(state.half_open, now)) == MAX_ENDED:
            self._look_at = now  # after one operation of others
        for call in late:
            state.give_up(call, LATE)
        state.thin_out(now, MAX_ENDED)
        for stream in _due(state.asked, now):
            state.dropped += 1
            stream.refuse(SILENT)
        if stuck := state.connections.stuck(now)[:MAX_CLOSED]:
            self._close(stuck, now)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_INTERVAL
            state.connections.forget(now)
        if self._draining and not self._shutting_down:
            self._shutting_down = True
            self._server.shut_down(self._is_down)
            self._pump()
            for stream in list(state.asked):
                stream.refuse(STOPPING)
        if self._cancelling and not self._cancelled:
            self._cancelled = True
            self._server.cancel_all_calls()

    def _close(self, connections: list[Connection], now: float) -> None:
        """*loop* They take no answers."""
        log.warning("connections take no answers: closed, peers %s", ", ".join(each.peer for each in connections))
        for connection in connections:
            connection.owed_since = now
            self._unresponsive.append(connection.peer)
        for call in [each for each in self._state.calls if each.connection in connections]:
            self._state.dropped += 1
            call.call.cancel()

    def _is_down(self, event: core.Event) -> None:  # noqa: ARG002 - a tag
        """*loop*"""
        self._down = True

    def _pump(self, event: core.Event = None) -> None:  # noqa: ARG002 - a tag
        """*loop*"""
        self._to_pump.extend(self._state.streams)

    def _waits_for_a_device(self) -> bool:
        return waits_for_a_device(self._native_id)

    def _watch(self) -> None:
        """On the watchdog's thread, which survives whatever fails. It counts its own looks and not time, since a
        process that was stopped, or slept with its machine, is not to blame for that."""
        seen, without_turn, failing = -1, 0.0, False
        inline, executed = self._state.executors.inline, 0
        while not self._over.is_set():
            interval = WATCH_INTERVAL if inline.executed != executed else IDLE_WATCH_INTERVAL
            executed = inline.executed
            time.sleep(interval)
            try:
                self._help(inline)
                failing = False
            except Exception:
                if not failing:
                    log.exception("the watchdog failed")
                failing = True
            if self.turns != seen:
                seen, without_turn = self.turns, 0.0
            elif (without_turn := without_turn + interval) > STANDSTILL_TIMEOUT:
                _end_process()

    def _help(self, inline: Inline) -> None:
        """On the watchdog's thread: what the loop cannot do itself."""
        if inline.take_over(MAX_INLINE, self._waits_for_a_device):
            self.taken_over += 1
            self._unserved = True
        if self._unserved:  # until there is a thread to be had
            self._serve_on_new_thread()
            self._unserved = False
        if peers := {self._unresponsive.popleft() for _ in range(len(self._unresponsive))}:
            shut_down_connections(peers)


def _due(deadlines: "dict[T, float]", now: float) -> "list[T]":
    """At most MAX_ENDED. deadlines: in their order."""
    found = []
    for key, until in islice(deadlines.items(), MAX_ENDED):
        if until > now:
            break
        found.append(key)
    return found


def _end_process() -> None:
    """Whoever runs the process starts another one; a server that does not serve keeps its port and its clients."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.name == "serving" and thread.ident in frames:
            log.critical("the serving loop stands still:\n%s", "".join(traceback.format_stack(frames[thread.ident])))
    logs.flush(LAST_WORDS_TIMEOUT)
    os._exit(1)
