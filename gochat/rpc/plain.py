"""The same services on the public `grpc.server`: for a grpcio whose private names were not tested, or if configured.

Its limits are grpcio's. A call holds a thread from its headers on, so requests that do not arrive hold threads, and
short calls wait for one. Each health Watch and each reflection stream holds a thread too, so there are STREAM_THREADS
of them at most, and CHECK_THREADS health checks; and each stream of events, of which there are MAX_SUBSCRIBED. An
answer that its client does not read costs memory until the connection ends, and a stream that it does not read its
thread. Nothing notices if grpcio's loop stands still. Calls cost two to three times the CPU.

Threads: grpcio runs each call from beginning to end on one thread of a pool, which waits for whatever the call waits
for. So nothing here is shared between threads but the metrics of RPCs, whose updates are under one lock (`recording`),
the counters of a _CountedPool, under another, and the event that wakes the thread of a Subscription.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import grpc

from gochat.context import Lane
from gochat.domain.access import Cost
from gochat.errors import ChatError
from gochat.rpc.status import STATUS_BY_NUMBER
from gochat.serving.acting import LookUpNeeded
from gochat.serving.admission import Admission
from gochat.serving.call import Answer, ServerCall
from gochat.serving.endpoints import (
    FAILED,
    MAX_WAITING,
    NO_MESSAGE,
    OK,
    TOO_LARGE,
    TOO_MANY_STREAMS,
    Status,
    StreamEndpoint,
    Subscription,
    UnaryEndpoint,
)
from gochat.serving.executors import (
    CONTROL_THREADS,
    FETCHING_THREADS,
    HASHING_THREADS,
    SEARCH_THREADS,
    execute_here,
    start,
)

STREAM_THREADS = 16
CHECK_THREADS = 4
MAX_SUBSCRIBED = 100  # streams of Subscriptions
REFUSING_THREADS = 2  # that find that there are so many already
POLL_INTERVAL = 0.1  # seconds between two checks of a stream for a message to send

log = logging.getLogger(__name__)

T = TypeVar("T")


class PlainServer:
    """Has the same methods as ServingLoop."""

    def __init__(
        self, options: Any, threads: int, endpoints: Mapping[str, UnaryEndpoint | StreamEndpoint], admission: Admission
    ) -> None:
        self._started = time.monotonic()
        recording = threading.Lock()
        self._calls = _CountedPool(threads, "call")
        self._hashing, self._searches = _CountedPool(HASHING_THREADS, "hash"), _CountedPool(SEARCH_THREADS, "search")
        self._fetching = _CountedPool(FETCHING_THREADS, "fetch")
        pools = {
            Cost.FETCH: self._fetching,
            Cost.HASH: self._hashing,
            Cost.SEARCH: self._searches,
            Cost.CONTROL: ThreadPoolExecutor(CONTROL_THREADS, "control"),
        }
        streams, checks = ThreadPoolExecutor(STREAM_THREADS, "stream"), ThreadPoolExecutor(CHECK_THREADS, "check")
        self._subscribed = _Subscribed()
        self._server = grpc.server(self._calls, options=options, maximum_concurrent_rpcs=MAX_WAITING)
        for path, endpoint in endpoints.items():
            _, service, name = path.split("/")
            behaviour: Any
            handler: grpc.RpcMethodHandler[bytes, bytes]
            if isinstance(endpoint, UnaryEndpoint) and endpoint.method.streams:
                behaviour = self._subscribed.behaviour(endpoint, admission, recording)
                behaviour.experimental_thread_pool = self._subscribed.pool
                handler = grpc.unary_stream_rpc_method_handler(behaviour)
            elif isinstance(endpoint, UnaryEndpoint):
                behaviour = _unary(endpoint, admission, recording)
                behaviour.experimental_thread_pool = pools.get(endpoint.method.rule.cost, self._calls)
                handler = grpc.unary_unary_rpc_method_handler(behaviour)
            else:
                behaviour = _stream(endpoint)
                behaviour.experimental_thread_pool = streams if endpoint.max_per_connection else checks
                handler = grpc.stream_stream_rpc_method_handler(behaviour)
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Returns the port. Raises RuntimeError."""
        if credentials:
            return self._server.add_secure_port(address, credentials)
        return self._server.add_insecure_port(address)

    @property
    def checks(self) -> int:
        """Always grows, since whether grpcio's loop stands still cannot be seen."""
        return int(time.monotonic() - self._started)

    def start(self) -> None:
        self._server.start()

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.families."""
        return (
            self._calls.statistics("call", "calls")
            | self._hashing.statistics("hash", "hashes")
            | self._searches.statistics("search", "searches")
            | self._fetching.statistics("fetch", "fetches")
            | {"streams_open": self._subscribed.open}
        )

    def drain(self, grace: float, kill: float) -> bool:
        return bool(self._server.stop(grace).wait(grace + kill))

    def wake(self) -> None:
        """Does nothing: each stream polls."""


class _CountedPool(ThreadPoolExecutor):
    """Counts the calls that wait for its threads and those that run on them."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, name)
        self._threads_max = threads
        self._counting = threading.Lock()
        self._waiting = self._active = 0

    def submit(self, work: Callable[..., T], /, *given: Any, **named: Any) -> "Future[T]":
        with self._counting:
            self._waiting += 1
        return super().submit(self._run, work, *given, **named)

    def _run(self, work: Callable[..., T], *given: Any, **named: Any) -> T:
        with self._counting:
            self._waiting -= 1
            self._active += 1
        try:
            return work(*given, **named)
        finally:
            with self._counting:
                self._active -= 1

    def statistics(self, one: str, many: str) -> dict[str, int]:
        """one, many: singular and plural of the calls in the names of gochat.monitoring.families."""
        return {
            f"{many}_waiting": self._waiting,
            f"{many}_on_threads": self._active,
            f"{one}_threads": self._threads_max,
        }


def _unary(
    endpoint: UnaryEndpoint, admission: Admission, recording: threading.Lock
) -> Callable[[bytes, grpc.ServicerContext], bytes | None]:
    def behaviour(data: bytes, context: grpc.ServicerContext) -> bytes | None:
        call, answer = _run(endpoint, admission, recording, data, context)
        assert answer is not None
        with recording:
            call.record_outcome(context.is_active())
        return _send(context, answer)

    return behaviour


def _run(
    endpoint: UnaryEndpoint, admission: Admission, recording: threading.Lock, data: bytes, context: grpc.ServicerContext
) -> tuple[ServerCall, Answer | None]:
    """The call, once it has run, and its answer; None where that is a Subscription."""
    answers: list[Answer | None] = []
    remaining = context.time_remaining()
    with recording:
        call = ServerCall(
            admission,
            endpoint.method,
            endpoint.metrics,
            data,
            context.invocation_metadata(),
            context.peer(),
            math.inf if remaining is None else remaining,
            _DirectTransport(answers),
        )
    lane = Lane.CONTROL if endpoint.method.rule.cost is Cost.CONTROL else Lane.POOLED
    start(call, lane, execute_here, _run_now)
    (answer,) = answers
    return call, answer


def _send(context: grpc.ServicerContext, answer: Answer) -> bytes | None:
    """The message of the answer; raises what grpcio takes for an error."""
    message, status, text, trailing = answer
    context.set_trailing_metadata(trailing)
    if status:
        context.abort(STATUS_BY_NUMBER[status], text)
    return message


class _Subscribed:
    """The streams of Subscriptions, each with a thread of the pool. open: how many there are."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(MAX_SUBSCRIBED + REFUSING_THREADS, "subscribed")
        self.open = 0
        self._counting = threading.Lock()

    def behaviour(
        self, endpoint: UnaryEndpoint, admission: Admission, recording: threading.Lock
    ) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
        def behaviour(data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            with self._counting:
                self.open += (is_free := self.open < MAX_SUBSCRIBED)
            if not is_free:
                _end(context, TOO_MANY_STREAMS)
            try:
                call, answer = _run(endpoint, admission, recording, data, context)
                with recording:
                    call.record_outcome(context.is_active())
                if answer is not None:
                    _send(context, answer)
                    return
                subscription = call.response
                del call
                yield from _messages(subscription, context, endpoint.method.path)
            finally:
                with self._counting:
                    self.open -= 1

        return behaviour


def _messages(subscription: Subscription, context: grpc.ServicerContext, path: str) -> Iterator[bytes]:
    """grpcio takes the next message once the one before was sent, and drops this generator, which closes it, when the
    client has left. The event is cleared before the Subscription is asked, so that no wake is missed."""
    woken = threading.Event()
    subscription.wake = woken.set
    status: Status | None = None
    try:
        left = not context.add_callback(woken.set)
        while status is None and not left:
            woken.clear()
            while (message := subscription.next()) is not None:
                yield message
            status = subscription.over
            if status is None:
                woken.wait()
                left = not context.is_active()
    except Exception:
        log.exception("%s failed", path)
        status = FAILED
    finally:
        subscription.wake = _do_nothing
        subscription.closed()
    _end(context, status or OK)


def _do_nothing() -> None:
    pass


class _DirectTransport:
    """The Transport of a call that is run by the thread that waits for its answer: None for a Subscription."""

    def __init__(self, answers: list[Answer | None]) -> None:
        self._answers = answers

    def on_done(self, call: ServerCall) -> None:
        self._answers.append(None if call.method.streams and not call.failed else call.answer())

    def on_wait(self) -> None:
        """Never happens: the call has its thread already."""

    def skip_error(self, call: ServerCall) -> ChatError | None:  # noqa: ARG002 - of the Transport
        return None


def _run_now(_: LookUpNeeded, work: Callable[[], None]) -> bool:
    work()
    return True


def _stream(endpoint: StreamEndpoint) -> Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]:
    def behaviour(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        stream, first = endpoint.open(), True
        while first or stream.wants_request:
            data = next(requests, None)
            if data is None:
                return _end(context, NO_MESSAGE if first else Status(0))
            if len(data) > endpoint.max_request:
                return _end(context, TOO_LARGE)
            first = False
            stream.receive(data)
            while stream.ended is None and not stream.wants_request and context.is_active():
                while (message := stream.next()) is not None:
                    yield message
                time.sleep(POLL_INTERVAL if stream.ended is None else 0)
            while (message := stream.next()) is not None:
                yield message
            if stream.ended is not None:
                return _end(context, stream.ended)
        return None

    return behaviour


def _end(context: grpc.ServicerContext, status: Status) -> None:
    if status.code:
        context.abort(STATUS_BY_NUMBER[status.code], status.message)
