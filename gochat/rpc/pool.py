"""The threads that calls run on. A call takes one when its request is there, not before.

Some calls take none, which spares the hand-over of the interpreter from thread to thread, more than half of the CPU of
an empty call. Behaviour.place says which: those that are soon done are run where they come in (`at_once`), while every
other call waits, and get a thread only if they take longer after all; and writes are queued for the thread that does
many of them in one transaction.

grpcio's server gives a call its thread first and waits for the request on it: a client that never sends one holds a
thread for as long as it likes, and a client that does costs a thread switch more. This pool does it the other way
round, which took a quarter off the CPU of an empty call (grpcio 1.85). It leans on names inside grpcio; where they are
missing, it is a plain pool, and says so.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc._server as _grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from gochat.context import Call, End, Lane, TooLongError
from gochat.rpc.guard import Place, Visit

PATIENCE = 10.0  # seconds in which a request must have come, after its headers
A_TURN = 0.005  # seconds

log = logging.getLogger(__name__)

_NAMES = (
    *("_unary_response_in_pool", "_receive_message", "_RECEIVE_MESSAGE_TOKEN", "_is_rpc_state_active", "_abort"),
    *("_Context", "_serialize_response", "_status"),
)
ABLE = all(hasattr(_grpc, name) for name in _NAMES)
if not ABLE:
    log.warning("this grpcio is not one that the pool knows: calls hold a thread while their request is on its way")


class CallPool(ThreadPoolExecutor):
    """busy: whoever holds it needs the interpreter. What comes in waits for him, but no longer than A_TURN."""

    def __init__(self, threads: int, name: str, busy: threading.Lock) -> None:
        self._busy = busy
        super().__init__(threads, thread_name_prefix=name)
        self.most = threads
        self._awaited: deque[_Awaited] = deque()

    @property
    def waiting(self) -> int:
        """Calls whose request is there and that no thread has taken."""
        return self._work_queue.qsize()

    @property
    def busy_threads(self) -> int:
        return len(self._threads) - self._idle_semaphore._value

    def submit(self, run: Any, /, *args: Any, **kwargs: Any) -> Any:
        """run(*args), where that is the answer to a unary call: once its request has come."""
        if not ABLE or args[0] is not _grpc._unary_response_in_pool:
            return super().submit(run, *args, **kwargs)
        respond, event, state, behaviour, _, deserializer, serializer = args
        self._cancel_overdue()
        call = _Awaited(event, state, time.monotonic() + PATIENCE)
        receive = _grpc._receive_message(state, event.call, deserializer)

        def answer(behaviour: Any, take: Callable[[], Any]) -> None:
            try:
                run(respond, event, state, behaviour, take, deserializer, serializer)
            finally:
                call.done()

        def queue(place: Place) -> None:
            if (request := call.take()) is None:
                call.done()
                return
            visit = behaviour.visit(request, _grpc._Context(event, state, deserializer))

            def end(error: Exception | None) -> None:
                if error is not None:
                    visit.fail(error)
                if visit.failed:
                    answer(lambda _, __: visit.answer(), lambda: request)
                    return
                try:  # what grpcio does with a response, without all that it does around
                    data = _grpc._serialize_response(event, state, visit.answer(), serializer)
                    if data is not None:
                        _grpc._status(event, state, data)
                finally:
                    call.done()

            if visit.welcome:
                place(visit, end)
            else:
                end(None)

        def arrived(batch: Any) -> Any:
            if self._busy.acquire(timeout=A_TURN):
                self._busy.release()
            finished = receive(batch)
            call.arrived = True
            if place := getattr(behaviour, "place", None):
                try:
                    queue(place)
                except Exception:  # else grpcio's one thread would end
                    log.exception("a call was not run")
                    event.call.cancel()
                    call.done()
            elif getattr(behaviour, "inline", False):
                answer(behaviour, call.take)
            else:
                try:
                    super(CallPool, self).submit(answer, behaviour, call.take)
                except RuntimeError:  # the server has stopped
                    call.done()
            return finished

        with state.condition:
            event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), arrived)
            state.due.add(_grpc._RECEIVE_MESSAGE_TOKEN)
        self._awaited.append(call)
        return call

    def _cancel_overdue(self) -> None:
        """Called with each new call, since without any nobody is held up. grpcio calls submit on one thread."""
        while self._awaited and (self._awaited[0].arrived or self._awaited[0].until < time.monotonic()):
            call = self._awaited.popleft()
            if not call.arrived:
                call.event.call.cancel()

    def at_once(self, visit: Visit, end: End) -> None:
        """A place that is where it is called; what takes too long is run anew, on a thread of this pool."""
        call = visit.call
        try:
            _run(visit, end, Call(call.caller, call.request_id, call.deadline, call.actor, call.peer, Lane.INLINE))
        except TooLongError:
            self.on_thread(visit, end)

    def on_thread(self, visit: Visit, end: End) -> None:
        super().submit(_run, visit, end, visit.call)


def _run(visit: Visit, end: End, call: Call) -> None:
    try:
        visit.run(call)
    except TooLongError:
        raise
    except Exception as error:  # noqa: BLE001 - it is told
        end(error)
    else:
        end(None)


class _Awaited:
    """A call whose request is on its way; to grpcio the future of its answer, of which it asks this much."""

    __slots__ = ("_when_done", "arrived", "event", "state", "until")

    def __init__(self, event: Any, state: Any, until: float) -> None:
        self.event = event
        self.state = state
        self.until = until
        self.arrived = False
        self._when_done: Callable[[Any], None] | None = None

    def add_done_callback(self, when_done: Callable[[Any], None]) -> None:
        self._when_done = when_done

    def done(self) -> None:
        """After add_done_callback: its request comes in through the thread that has called submit. Counts once, also
        where an answer failed after it."""
        when_done, self._when_done = self._when_done, None
        if when_done:
            when_done(self)

    def take(self) -> Any:
        """The request; None where there is none, after which grpcio leaves the call be."""
        with self.state.condition:
            request, self.state.request = self.state.request, None
            if request is None and _grpc._is_rpc_state_active(self.state):
                text = b"a unary call has one request message"
                _grpc._abort(self.state, self.event.call, cygrpc.StatusCode.invalid_argument, text)
            return request
