"""The threads that calls run on. A call takes one when its request is there, not before.

A call whose behaviour is `inline` takes none: it is answered where it comes in, which spares the hand-over of the
interpreter from thread to thread, more than half of the CPU of an empty call. Every other call waits meanwhile, so that
is for what is done in tens of microseconds whoever asks.

grpcio's server gives a call its thread first and waits for the request on it: a client that never sends one holds a
thread for as long as it likes, and a client that does costs a thread switch more. This pool does it the other way
round, which took a quarter off the CPU of an empty call (grpcio 1.85). It leans on names inside grpcio; where they are
missing, it is a plain pool, and says so.
"""

import logging
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc._server as _grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

PATIENCE = 10.0  # seconds in which a request must have come, after its headers

log = logging.getLogger(__name__)

_NAMES = ("_unary_response_in_pool", "_receive_message", "_RECEIVE_MESSAGE_TOKEN", "_is_rpc_state_active", "_abort")
ABLE = all(hasattr(_grpc, name) for name in _NAMES)
if not ABLE:
    log.warning("this grpcio is not one that the pool knows: calls hold a thread while their request is on its way")


class CallPool(ThreadPoolExecutor):
    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self.most = threads
        self._awaited: deque[_Awaited] = deque()

    @property
    def waiting(self) -> int:
        """Calls whose request is there and that no thread has taken."""
        return self._work_queue.qsize()

    def submit(self, run: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """run(*args), where that is the answer to a unary call: once its request has come."""
        if not ABLE or args[0] is not _grpc._unary_response_in_pool:
            return super().submit(run, *args, **kwargs)
        respond, event, state, behaviour, _, deserializer, serializer = args
        self._cancel_overdue()
        call = _Awaited(event, state, time.monotonic() + PATIENCE)
        receive = _grpc._receive_message(state, event.call, deserializer)

        def answer() -> None:
            try:
                run(respond, event, state, behaviour, call.take, deserializer, serializer)
            finally:
                call.done.set_result(None)

        def arrived(batch: Any) -> Any:
            finished = receive(batch)
            call.arrived = True
            if getattr(behaviour, "inline", False):
                answer()
                return finished
            try:
                super(CallPool, self).submit(answer)
            except RuntimeError:  # the server has stopped
                call.done.set_result(None)
            return finished

        with state.condition:
            event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), arrived)
            state.due.add(_grpc._RECEIVE_MESSAGE_TOKEN)
        self._awaited.append(call)
        return call.done

    def _cancel_overdue(self) -> None:
        """Called with each new call, since without any nobody is held up. grpcio calls submit on one thread."""
        while self._awaited and (self._awaited[0].arrived or self._awaited[0].until < time.monotonic()):
            call = self._awaited.popleft()
            if not call.arrived:
                call.event.call.cancel()


class _Awaited:
    """A call whose request is on its way."""

    __slots__ = ("arrived", "done", "event", "state", "until")

    def __init__(self, event: Any, state: Any, until: float) -> None:
        self.event = event
        self.state = state
        self.until = until
        self.arrived = False
        self.done: Future[None] = Future()

    def take(self) -> Any:
        """The request; None where there is none, after which grpcio leaves the call be."""
        with self.state.condition:
            request, self.state.request = self.state.request, None
            if request is None and _grpc._is_rpc_state_active(self.state):
                text = b"a unary call has one request message"
                _grpc._abort(self.state, self.event.call, cygrpc.StatusCode.invalid_argument, text)
            return request
