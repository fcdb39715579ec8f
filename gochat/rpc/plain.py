"""The same services on the public `grpc.server`: with a grpcio whose private names were not tested, or when asked for.

What it cannot do is grpcio's own: a call holds a thread from its headers on, so requests that do not arrive hold
threads, and calls that are soon done wait for one; so does each Watch and each reflection stream, of which there are
therefore STREAM_THREADS, and each health check, of which there are CHECK_THREADS; an answer that its client does not
read costs memory until the connection ends; and nobody sees whether its loop stands still. Calls cost two to three
times the CPU.
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
from gochat.serving.endpoints import MAX_WAITING, NO_MESSAGE, TOO_LARGE, Status, StreamEndpoint, Unary
from gochat.serving.executors import CONTROL_THREADS, HASHING_THREADS, SEARCH_THREADS, here, start

STREAM_THREADS = 16
CHECK_THREADS = 4
LOOK_INTERVAL = 0.1  # seconds between two looks of a stream for what there is to send


T = TypeVar("T")


class PlainServer:
    """Behind the same face as ServingLoop."""

    def __init__(
        self, options: Any, threads: int, endpoints: Mapping[str, Unary | StreamEndpoint], admission: Admission
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
            if isinstance(endpoint, Unary):
                behaviour = _unary(endpoint, admission, recording)
                behaviour.experimental_thread_pool = pools.get(endpoint.method.rule.cost, self._calls)
                handler = grpc.unary_unary_rpc_method_handler(behaviour)
            else:
                behaviour = _stream(endpoint)
                behaviour.experimental_thread_pool = streams if endpoint.max_per_connection else checks
                handler = grpc.stream_stream_rpc_method_handler(behaviour)
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))

    def listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """The port. Raises RuntimeError."""
        if credentials:
            return self._server.add_secure_port(address, credentials)
        return self._server.add_insecure_port(address)

    @property
    def turns(self) -> int:
        """grpcio's loop cannot be asked whether it stands still."""
        return int(time.monotonic() - self._started)

    def start(self) -> None:
        self._server.start()

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.numbers."""
        return (
            self._calls.statistics("call", "calls")
            | self._hashing.statistics("hash", "hashes")
            | self._searches.statistics("search", "searches")
        )

    def drain(self, grace: float, kill: float) -> bool:
        return bool(self._server.stop(grace).wait(grace + kill))

    def wake(self) -> None:
        """Streams look by themselves."""


class _CountedPool(ThreadPoolExecutor):
    """Knows how many calls wait for its threads, and how many run on them."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, name)
        self._most = threads
        self._counting = threading.Lock()
        self._waiting = self._busy = 0

    def submit(self, work: Callable[..., T], /, *given: Any, **named: Any) -> "Future[T]":
        with self._counting:
            self._waiting += 1
        return super().submit(self._run, work, *given, **named)

    def _run(self, work: Callable[..., T], *given: Any, **named: Any) -> T:
        with self._counting:
            self._waiting -= 1
            self._busy += 1
        try:
            return work(*given, **named)
        finally:
            with self._counting:
                self._busy -= 1

    def statistics(self, one: str, many: str) -> dict[str, int]:
        """one, many: what the calls are called in gochat.monitoring.numbers."""
        return {f"{many}_waiting": self._waiting, f"{many}_on_threads": self._busy, f"{one}_threads": self._most}


def _unary(
    unary: Unary, admission: Admission, recording: threading.Lock
) -> Callable[[bytes, grpc.ServicerContext], bytes | None]:
    cost = unary.method.rule.cost

    def behaviour(data: bytes, context: grpc.ServicerContext) -> bytes | None:
        answers: list[Answer] = []
        remaining = context.time_remaining()
        with recording:
            call = ServerCall(
                admission,
                unary.method,
                unary.counts,
                data,
                context.invocation_metadata(),
                context.peer(),
                math.inf if remaining is None else remaining,
                _Here(answers),
            )
        start(call, Lane.CONTROL if cost is Cost.CONTROL else Lane.POOLED, here, admission.tokens, _now)
        ((message, status, text, trailing),) = answers
        with recording:
            call.record_outcome(context.is_active())
        context.set_trailing_metadata(trailing)
        if status:
            context.abort(STATUS_BY_NUMBER[status], text)
        return message

    return behaviour


class _Here:
    """The Transport of a call that runs on the thread that waits for it."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers

    def on_done(self, call: ServerCall) -> None:
        self._answers.append(call.answer())

    def on_wait(self) -> None:
        """It does not."""

    def refusal(self, call: ServerCall) -> ChatError | None:  # noqa: ARG002 - of the Transport
        return None


def _now(work: Callable[[], None]) -> bool:
    work()
    return True


def _stream(endpoint: StreamEndpoint) -> Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]:
    def behaviour(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        stream, first = endpoint.open(), True
        while first or stream.asks:
            data = next(requests, None)
            if data is None:
                return _end(context, NO_MESSAGE if first else Status(0))
            if len(data) > endpoint.max_request:
                return _end(context, TOO_LARGE)
            first = False
            stream.receive(data)
            while stream.ended is None and not stream.asks and context.is_active():
                while (message := stream.next()) is not None:
                    yield message
                time.sleep(LOOK_INTERVAL if stream.ended is None else 0)
            while (message := stream.next()) is not None:
                yield message
            if stream.ended is not None:
                return _end(context, stream.ended)
        return None

    return behaviour


def _end(context: grpc.ServicerContext, status: Status) -> None:
    if status.code:
        context.abort(STATUS_BY_NUMBER[status.code], status.message)
