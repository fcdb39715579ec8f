"""The serving loop: one thread polls grpcio's completion queue and owns the state of every call and stream (calls.py).

Four kinds of threads meet here:

- The *serving thread* runs the methods marked "Serving thread:". It never waits. What it runs itself (admission, reads
  by index) soon ends; everything else runs on threads of executors. There is one serving thread at a time, so the
  state of calls needs no locks.
- *Executor threads* run handlers. They hand an answer over by `State.answer`, which wakes the serving thread.
- The *watchdog* does what the serving thread cannot: it replaces a serving thread that waits for a disk, shuts down
  connections, and ends the process if the loop stands still.
- The *main thread* calls `start` and `drain`, and any thread may call `wake`. They set flags that the serving thread
  reads, or wake it.

How a serving thread is replaced: a read that runs inline may have to wait for a disk after all. The watchdog notices
that by Inline.take_over and starts another serving thread. The first one is inside of a tag meanwhile, so it neither
polls nor touches other calls; when it comes back it hands its answer over like an executor's thread
(`State.serving_thread` is another by then), finds itself in `Inline.replaced`, and ends (`_serve`).

Requests that do not arrive and answers that are not taken are ended by timers, which are checked between two
operations. Answers are collected while more operations are ready, for MAX_ANSWER_DELAY at most, and then sent together:
clients then send their next requests together too, and fewer reads of their connections carry the same calls.

Calls that open streams by reads wait in grpcio until others of them have been opened: when all clients come back at
once, they cost the loop nothing meanwhile, and other calls do not queue behind them.

Streams are pumped a few at a time, when no operation is ready. Each that is pumped soon adds one, and grpcio reads from
connections only when none is left: a message to thousands of streams would else keep out all calls until it was sent.
"""

import logging
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from functools import partial
from itertools import islice
from typing import TypeVar

import grpc

from gochat import logs
from gochat.rpc import grpcio_internals as core
from gochat.rpc.calls import StreamCall, UnaryCall
from gochat.rpc.process import shut_down_connections, waits_for_a_device
from gochat.rpc.state import State
from gochat.rpc.subscribing import SubscribeCall
from gochat.serving.connections import Connection
from gochat.serving.endpoints import REQUEST_LATE, STOPPING, STREAM_IDLE, StreamEndpoint, UnaryEndpoint
from gochat.serving.inline import Inline

MAX_ANSWER_DELAY = 0.002  # seconds that an answer waits for others, to be sent with them
POLL_INTERVAL = 0.1  # seconds between two checks of the timers; less than the 0.2 of grpcio_internals
FORGET_INTERVAL = 1.0  # seconds between two searches for connections that are not used
MAX_ENDED = 100  # calls that are ended at one check of the timers
MAX_CLOSED = 20  # connections that are closed at one check of the timers
MAX_PUMPED = 16  # streams that are pumped at a time
MAX_PUMP_DELAY = 0.002  # seconds that streams wait for a moment in which no operation is ready
MAX_QUEUED_OPENINGS = 4  # streams that wait for a thread which opens them; the others wait in grpcio
MAX_INLINE = 0.005  # seconds that a call may hold up all others
WATCH_INTERVAL = 0.005  # seconds between two checks of the watchdog while calls come in
IDLE_WATCH_INTERVAL = 0.05  # the same while none do
FLUSH_TIMEOUT = 1.0  # seconds to write what was logged before the process is ended
STANDSTILL_TIMEOUT = 20.0  # seconds, of the process running, without a check of the timers: then the process is ended

log = logging.getLogger(__name__)

T = TypeVar("T")


class ServingLoop:
    """endpoints: by path."""

    def __init__(
        self, server: core.Server, endpoints: Mapping[str, UnaryEndpoint | StreamEndpoint], state: State
    ) -> None:
        self._server, self._state = server, state
        self._endpoints = {path.encode(): endpoint for path, endpoint in endpoints.items()}
        self._to_request = [  # methods of which the next call is to be requested
            path
            for path, each in endpoints.items()
            if isinstance(each, UnaryEndpoint) and each.executor == state.executors.openings.execute
        ]
        for path in self._to_request:
            server.register(path)
        self.checks = 0  # of the timers; a number that stays the same shows that the loop stands still
        self.takeovers = 0  # serving threads that were replaced
        self._check_at = self._forget_at = self._pumped_at = 0.0
        self._draining = self._cancelling = False  # set by drain
        self._shutting_down = self._cancelled = self._is_shut_down = False  # set by the serving thread
        self._native_id = 0  # of the serving thread
        self._thread_missing = False  # a serving thread is still to be started
        self._over = threading.Event()
        self._unresponsive: deque[str] = deque()  # peers whose connections the watchdog is to shut down

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Returns the port. Raises RuntimeError."""
        return self._server.listen(address, credentials)

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.families."""
        return self._state.executors.statistics() | {
            "calls_dropped": self._state.dropped,
            "streams_open": self._state.connections.subscribed,
            "serving_threads_replaced": self.takeovers,
        }

    def start(self) -> None:
        self._server.start()
        self._server.request_call(self._on_call)
        self._start_serving_thread()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def drain(self, grace: float, kill: float) -> bool:
        """Takes no new calls, gives running ones `grace` seconds, cancels the rest and waits for `kill` seconds. False
        where calls still run then. Called once, by the main thread."""
        self._draining = True
        if self._over.wait(grace):
            return True
        self._cancelling = True
        return self._over.wait(kill)

    def wake(self) -> None:
        """Has the loop pump every stream. Any thread may call this."""
        with self._state.wake_lock:
            for stream in list(self._state.streams)[:1]:
                core.wake(stream.call, self._pump_all)

    def _start_serving_thread(self) -> None:
        threading.Thread(target=self._serve, name="serving", daemon=True).start()

    def _serve(self) -> None:
        """Serving thread: runs the loop until it is over or another thread has taken over."""
        poll, state, me = self._server.poll, self._state, threading.get_ident()
        replaced, answers = state.executors.inline.replaced, state.answers
        state.serving_thread, self._native_id = me, threading.get_native_id()
        over = self._over.is_set
        while not over():
            event = poll(0 if answers or state.to_pump else time.time() + POLL_INTERVAL)
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
                self._between_operations(event.tag is None)
            except Exception:
                log.exception("the serving loop failed between two operations")
            del event  # it refers to the call, and so keeps the stream of its connection open
            if self._is_shut_down and not state.calls:
                with state.wake_lock:
                    state.is_closed = True
                    self._server.close()
                self._over.set()

    def _between_operations(self, idle: bool) -> None:
        """Serving thread: sends answers, pumps streams, checks the timers. idle: no operation was ready."""
        now, state = time.monotonic(), self._state
        if state.answers and (idle or now - state.first_answer_at > MAX_ANSWER_DELAY):
            state.send_answers()
        if state.to_pump and (idle or now - self._pumped_at > MAX_PUMP_DELAY):
            self._pumped_at = now
            state.pump_streams(MAX_PUMPED)
        if self._to_request and state.executors.openings.queued < MAX_QUEUED_OPENINGS and not self._shutting_down:
            path = self._to_request.pop()
            self._server.request_call_of(path, partial(self._on_opening, path))
        if now >= self._check_at:
            self._check_timers(now)

    def _on_call(self, event: core.Event) -> None:
        """Serving thread: a new call has come in; or the server shuts down, and none will."""
        if not event.success:
            return
        if not self._shutting_down:
            self._server.request_call(self._on_call)
        self._begin(event, self._endpoints.get(event.call_details.method))

    def _on_opening(self, path: str, event: core.Event) -> None:
        """Serving thread: a call that opens a stream has come in; the next one is requested when there is room for
        it."""
        if event.success:
            self._to_request.append(path)
            self._begin(event, self._endpoints[path.encode()])

    def _begin(self, event: core.Event, endpoint: UnaryEndpoint | StreamEndpoint | None) -> None:
        state = self._state
        connection = state.connections.of(event.call.peer(), time.monotonic())
        call: UnaryCall | StreamCall
        if isinstance(endpoint, UnaryEndpoint):
            kind = SubscribeCall if endpoint.method.streams else UnaryCall
            call = kind(state, connection, event, endpoint)
        else:
            call = StreamCall(state, connection, event, endpoint)
        state.calls[call] = None
        call.begin()

    def _check_timers(self, now: float) -> None:
        """Serving thread: ends what is overdue, MAX_ENDED calls at a time so that other calls are not held up."""
        self._check_at = now + POLL_INTERVAL
        self.checks += 1
        state = self._state
        if len(late := _due(state.half_open, now)) == MAX_ENDED:
            self._check_at = now  # again after the next operation
        for call in late:
            state.give_up(call, REQUEST_LATE)
        state.drop_excess(now, MAX_ENDED)
        for stream in _due(state.idle, now):
            state.dropped += 1
            stream.refuse(STREAM_IDLE)
        if unresponsive := state.connections.unresponsive(now)[:MAX_CLOSED]:
            self._close(unresponsive, now)
        for subscribed in _due(state.sending, now):
            state.dropped += 1
            subscribed.call.cancel()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_INTERVAL
            state.connections.forget_idle(now)
        if self._draining and not self._shutting_down:
            self._shutting_down = True
            self._server.shut_down(self._on_shut_down)
            self._pump_all()
            for stream in list(state.idle):
                stream.refuse(STOPPING)
        if self._cancelling and not self._cancelled:
            self._cancelled = True
            self._server.cancel_all_calls()

    def _close(self, connections: list[Connection], now: float) -> None:
        """Serving thread: cancels the calls of connections that take no answers, and has the watchdog shut them
        down."""
        log.warning("connections take no answers: closed, peers %s", ", ".join(each.peer for each in connections))
        for connection in connections:
            connection.pending_since = now
            self._unresponsive.append(connection.peer)
        for call in [each for each in self._state.calls if each.connection in connections]:
            self._state.dropped += 1
            call.call.cancel()

    def _on_shut_down(self, event: core.Event) -> None:  # noqa: ARG002 - a tag
        """Serving thread: the server has ended all calls."""
        self._is_shut_down = True

    def _pump_all(self, event: core.Event = None) -> None:  # noqa: ARG002 - a tag
        """Serving thread: has every stream pumped between the next operations."""
        self._state.to_pump.extend(self._state.streams)

    def _watch(self) -> None:
        """Watchdog: runs until the loop is over, whatever fails. It adds up its own intervals instead of reading the
        clock, so that a process that was stopped, or slept with its machine, is not taken for one that stands still."""
        seen, standstill, failing = -1, 0.0, False
        inline, executed = self._state.executors.inline, 0
        while not self._over.is_set():
            interval = WATCH_INTERVAL if inline.executed != executed else IDLE_WATCH_INTERVAL
            executed = inline.executed
            time.sleep(interval)
            try:
                self._assist(inline)
                failing = False
            except Exception:
                if not failing:
                    log.exception("the watchdog failed")
                failing = True
            if self.checks != seen:
                seen, standstill = self.checks, 0.0
            elif (standstill := standstill + interval) > STANDSTILL_TIMEOUT:
                _end_process()

    def _assist(self, inline: Inline) -> None:
        """Watchdog: does what the serving thread cannot do itself."""
        if inline.take_over(MAX_INLINE, self._serving_thread_waits):
            self.takeovers += 1
            self._thread_missing = True
        if self._thread_missing:  # tried again until the system has a thread for it
            self._start_serving_thread()
            self._thread_missing = False
        if peers := {self._unresponsive.popleft() for _ in range(len(self._unresponsive))}:
            shut_down_connections(peers)

    def _serving_thread_waits(self) -> bool:
        return waits_for_a_device(self._native_id)


def _due(deadlines: "dict[T, float]", now: float) -> "list[T]":
    """The first keys whose time has come, at most MAX_ENDED. deadlines: in the order of their times."""
    found = []
    for key, until in islice(deadlines.items(), MAX_ENDED):
        if until > now:
            break
        found.append(key)
    return found


def _end_process() -> None:
    """Ends the process with code 1, so that whatever supervises it starts another one. A server that stands still would
    keep its port and its clients."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.name == "serving" and thread.ident in frames:
            log.critical("the serving loop stands still:\n%s", "".join(traceback.format_stack(frames[thread.ident])))
    logs.flush(FLUSH_TIMEOUT)
    os._exit(1)
