"""The serving loop: one thread polls grpcio's completion queue and owns the state of every call and stream (calls.py).

Nothing on that thread waits. What it runs itself (admission, reads by index) is soon done; everything else runs on an
executor, which answers from its own thread. Requests that do not arrive and answers that are not taken are ended by
timers, which are looked at between two operations.

Answers made on that thread are gathered as long as more is there to be done, and then sent together: so clients send
their next requests together too, and fewer reads and writes of their connections carry the same calls.

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
from gochat.rpc.process import shut_down_connection, waits_for_a_device
from gochat.rpc.state import State
from gochat.serving.endpoints import LATE, SILENT, StreamEndpoint, Unary

MAX_GATHER = 0.002  # seconds that an answer waits for others, to be sent with them
POLL_INTERVAL = 0.1  # seconds between two looks at the timers; less than the 0.2 of grpcio_internals
FORGET_INTERVAL = 1.0  # seconds between two looks for connections that are not used
MAX_ENDED = 100  # calls that are ended at one look at the timers
MAX_INLINE = 0.005  # seconds that a call may hold up all others
WATCH_INTERVAL = 0.005  # seconds between two looks of the watchdog while calls come in
IDLE_WATCH_INTERVAL = 0.05  # the same while none do
LAST_WORDS_TIMEOUT = 1.0  # seconds to write what was logged before the process is ended
STANDSTILL = 20.0  # seconds of running time without a look at the timers, after which the process is of no use

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
        self._over = threading.Event()
        self._unresponsive: deque[str] = deque()  # peers whose connections the watchdog is to shut down

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """The port. Raises RuntimeError."""
        return self._server.listen(address, credentials)

    @property
    def dropped(self) -> int:
        """Calls ended for what their clients left undone."""
        return self._state.dropped

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
        for stream in list(self._state.streams)[:1]:
            core.wake(stream.call, self._pump)

    def _serve_on_new_thread(self) -> None:
        threading.Thread(target=self._serve, name="serving", daemon=True).start()

    def _serve(self) -> None:
        """*loop*, until another thread has taken over."""
        poll, state = self._server.poll, self._state
        replaced, answers = state.executors.inline.replaced, state.answers
        state.serving, self._native_id = threading.get_ident(), threading.get_native_id()
        while not self._over.is_set():
            event = poll(0 if answers else time.time() + POLL_INTERVAL)
            try:
                if event.tag is not None:
                    event.tag(event)
                if replaced and threading.get_ident() in replaced:
                    replaced.discard(threading.get_ident())
                    return
                if answers and (event.tag is None or time.monotonic() - state.gathered_at > MAX_GATHER):
                    state.send_answers()
                if (now := time.monotonic()) >= self._look_at:
                    self._look(now)
            except Exception:
                log.exception("the serving loop failed at an operation")
                if isinstance(call := getattr(event.tag, "__self__", None), UnaryCall | StreamCall):
                    call.call.cancel()
                    state.calls.pop(call, None)
                del call
            del event  # it keeps the call, and so the stream of its connection
            if self._down and not state.calls:
                self._server.close()
                self._over.set()

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
        """*loop* At the timers."""
        self._look_at = now + POLL_INTERVAL
        self.turns += 1
        state = self._state
        if len(late := _due(state.half_open, now)) == MAX_ENDED:
            self._look_at = 0.0  # there may be more; between two looks others have their turn
        for call in late:
            state.give_up(call, LATE)
        state.thin_out(now)
        for stream in _due(state.asked, now):
            state.dropped += 1
            stream.refuse(SILENT)
        for connection in state.connections.stuck(now):
            log.warning("a connection takes no answers: closed, peer %s", connection.peer)
            connection.owes_since = now
            self._unresponsive.append(connection.peer)
            for each in [each for each in state.calls if each.connection is connection]:
                state.dropped += 1
                each.call.cancel()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_INTERVAL
            state.connections.forget(now)
        if self._draining and not self._shutting_down:
            self._shutting_down = True
            self._server.shut_down(self._is_down)
            self._pump()
        if self._cancelling and not self._cancelled:
            self._cancelled = True
            self._server.cancel_all_calls()

    def _is_down(self, event: core.Event) -> None:  # noqa: ARG002 - a tag
        """*loop*"""
        self._down = True

    def _pump(self, event: core.Event = None) -> None:  # noqa: ARG002 - a tag
        """*loop*"""
        for stream in list(self._state.streams):
            stream.pump()

    def _waits_for_a_device(self) -> bool:
        return waits_for_a_device(self._native_id)

    def _watch(self) -> None:
        """On the watchdog's thread. It counts its own looks and not time, since a process that was stopped, or slept
        with its machine, is not to blame for that."""
        seen, looks_without_turn = self.turns, 0.0
        inline, calls_seen = self._state.executors.inline, 0
        while not self._over.is_set():
            interval = WATCH_INTERVAL if inline.executed != calls_seen else IDLE_WATCH_INTERVAL
            calls_seen = inline.executed
            time.sleep(interval)
            if inline.take_over(MAX_INLINE, self._waits_for_a_device):
                self.taken_over += 1
                self._serve_on_new_thread()
            while self._unresponsive:
                shut_down_connection(self._unresponsive.popleft())
            if self.turns != seen:
                seen, looks_without_turn = self.turns, 0.0
            elif (looks_without_turn := looks_without_turn + interval) > STANDSTILL:
                _end_process()


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
