"""The same services on the public `grpc.server`: for a grpcio whose private names were not tested, or if configured.

Its limits are grpcio's. A call holds a thread from its headers on, so requests that do not arrive hold threads, and
short calls wait for one. Each health Watch and each reflection stream holds a thread too, so there are STREAM_THREADS
of them at most, and CHECK_THREADS health checks. An answer that its client does not read costs memory until the
connection ends. Nothing notices if grpcio's loop stands still. Calls cost two to three times the CPU.

Threads: grpcio runs each call from beginning to end on one thread of a pool, which waits for whatever the call waits
for. So nothing here is shared between threads but the metrics of RPCs, whose updates are under one lock (`recording`),
and the counters of a _CountedPool, under another.
"""

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
from gochat.serving.admission import Admission
from gochat.serving.call import Answer, ServerCall
from gochat.serving.endpoints import MAX_WAITING, NO_MESSAGE, TOO_LARGE, Status, StreamEndpoint, UnaryEndpoint
from gochat.serving.executors import CONTROL_THREADS, HASHING_THREADS, SEARCH_THREADS, execute_here, start

STREAM_THREADS = 16
CHECK_THREADS = 4
POLL_INTERVAL = 0.1  # seconds between two checks of a stream for a message to send

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
        pools = {
            Cost.HASH: self._hashing,
            Cost.SEARCH: self._searches,
            Cost.CONTROL: ThreadPoolExecutor(CONTROL_THREADS, "control"),
        }
        streams, checks = ThreadPoolExecutor(STREAM_THREADS, "stream"), ThreadPoolExecutor(CHECK_THREADS, "check")
        self._server = grpc.server(self._calls, options=options, maximum_concurrent_rpcs=MAX_WAITING)
        for path, endpoint in endpoints.items():
            _, service, name = path.split("/")
            behaviour: Any
            handler: grpc.RpcMethodHandler[bytes, bytes]
            if isinstance(endpoint, UnaryEndpoint):
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
    cost = endpoint.method.rule.cost

    def behaviour(data: bytes, context: grpc.ServicerContext) -> bytes | None:
        answers: list[Answer] = []
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
        start(call, Lane.CONTROL if cost is Cost.CONTROL else Lane.POOLED, execute_here, admission.tokens, _run_now)
        ((message, status, text, trailing),) = answers
        with recording:
            call.record_outcome(context.is_active())
        context.set_trailing_metadata(trailing)
        if status:
            context.abort(STATUS_BY_NUMBER[status], text)
        return message

    return behaviour


class _DirectTransport:
    """The Transport of a call that is run by the thread that waits for its answer."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers

    def on_done(self, call: ServerCall) -> None:
        self._answers.append(call.answer())

    def on_wait(self) -> None:
        """Never happens: the call has its thread already."""

    def skip_error(self, call: ServerCall) -> ChatError | None:  # noqa: ARG002 - of the Transport
        return None


def _run_now(work: Callable[[], None]) -> bool:
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
