"""One unary call without its transport: admitted, run by an executor, answered, recorded.

The order: give it a request id, so that any answer can be traced; authenticate the caller before a byte of the request
is parsed; check access and rate limits; parse; check those limits that depend on the request; then the bound method
checks the form and runs the handler.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2

from gochat import logs
from gochat.context import MAX_DEADLINE, NOBODY, Call, Lane, entered
from gochat.domain.access import Rate
from gochat.errors import ChatError, deadline_exceeded, internal, invalid, unavailable
from gochat.headers import ACT_AS, ACTOR, ERROR_MODE, FORWARDED_FOR, REQUEST_ID, STATUS_DETAILS
from gochat.serving import external
from gochat.serving.acting import LookUpNeeded
from gochat.serving.admission import Admission, Metadata, actor_and_address, request_id, without_tracebacks
from gochat.serving.binding import Method
from gochat.serving.metrics import RpcMetrics
from gochat.serving.status import to_status

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What the transport sends.

    data: the serialised response, or None for a status alone. trailing: the trailing metadata. (Without data a client
    may retry the call: gRPC then sends a response of trailing metadata only.)
    """

    data: bytes | None
    status: int
    message: str
    trailing: tuple[tuple[str, str | bytes], ...]


class Transport(Protocol):
    """What a call needs from its transport. The thread that has the call calls these, so any thread may."""

    def on_done(self, call: "ServerCall") -> None:
        """Sends `call.answer()`, then calls `call.record_outcome`, also where the client has left."""

    def on_wait(self) -> None:
        """The call is about to wait for a thread: from now on the transport watches whether the client leaves."""

    def skip_error(self, call: "ServerCall") -> ChatError | None:
        """The error for a call that need not be run any more, such as when its client has left; else None."""


class Codec(Protocol):
    """How the messages of a call are written. Its functions are called by the thread that has the call."""

    def parse(self, kind: type[Message], data: bytes) -> Message:
        """Raises ChatError."""

    def serialise(self, message: Message) -> bytes: ...


class Protobuf:
    """The binary format."""

    def parse(self, kind: type[Message], data: bytes) -> Message:
        try:
            return kind.FromString(data)
        except DecodeError:
            raise invalid("request", f"is not a {kind.DESCRIPTOR.name}", "MALFORMED") from None

    def serialise(self, message: Message) -> bytes:
        return message.SerializeToString()


PROTOBUF = Protobuf()


class ServerCall:
    """One unary call. It has no lock, since one thread at a time has it: the transport's until the executor has taken
    it, the executor's until `on_done` returns, then the transport's again. Each hands it over through a queue or a
    lock."""

    __slots__ = (
        *(
            "_admission",
            "_codec",
            "_data",
            "_deadline",
            "_error",
            "_headers",
            "_items",
            "_metadata",
            "_metrics",
            "_peer",
        ),
        *("_sent", "_started", "_throttled", "_user_ids", "call", "method", "request", "response", "transport"),
    )
    call: Call
    request: Any
    response: Any

    def __init__(
        self,
        admission: Admission,
        method: Method,
        metrics: RpcMetrics,
        data: bytes,
        metadata: Metadata,
        peer: str,
        remaining: float,
        transport: Transport,
        codec: Codec = PROTOBUF,
    ) -> None:
        """peer: the connection's, such as ipv4:192.0.2.1:5000. remaining: seconds until the client's deadline."""
        self._admission, self.method, self._metrics, self.transport = admission, method, metrics, transport
        self._data, self._codec, self._metadata, self._peer = data, codec, metadata, peer
        self._headers = dict(metadata)
        self._started = now = time.monotonic()
        self._deadline = now + (remaining if remaining < MAX_DEADLINE else MAX_DEADLINE)
        self._error: ChatError | None = None
        self._throttled = False
        self._user_ids: Mapping[str, str] | None = None
        self._sent = self._items = 0
        metrics.call_started()

    def admit(self, lane: Lane) -> None:
        """lane: the one it will run in. Raises ChatError; and LookUpNeeded, after which it is to be admitted again."""
        rule, admission, headers = self.method.rule, self._admission, self._headers
        peer = admission.throttle.address(self._peer, headers.get(FORWARDED_FOR, ""))
        identity = request_id(headers)
        self.call = Call(NOBODY, identity, self._deadline, NOBODY, peer, lane)  # for the log, if the caller is refused
        caller = admission.authenticate(rule.access, headers, self._metadata)
        actor, address, acted_by = caller, peer, ""
        if ACT_AS in headers:
            acted_by = caller.role
            caller = actor = admission.users.acted_for(rule.access, caller, headers, self._metadata)
        elif ACTOR in headers:
            actor, address, acted_by = actor_and_address(caller, peer, headers)
        self.call = Call(caller, identity, self._deadline, actor, address, lane, acted_by=acted_by)
        if rule.rate is not Rate.SIGN_IN:
            admission.throttle.admit(rule.rate, caller, address)
            self._throttled = True
        self.request = self._codec.parse(self.method.request_class, self._data)
        if self.method.takes_external_ids and caller.privileged:
            self._put_user_ids()
        if rule.rate is Rate.SENDS:
            admission.throttle.admit_sends(caller, len(self.request.messages))
        elif rule.rate is Rate.SIGN_IN:
            delay = admission.throttle.admit_sign_in(address, self.request.device_id)
            self.call, self._throttled = replace(self.call, address_delay=delay), True

    def _put_user_ids(self) -> None:
        """In place of external ids, once they were looked up."""
        if names := external.wanted(self.request):
            if self._user_ids is None:
                error = unavailable("the users could not be looked up")
                raise LookUpNeeded("names", lambda: self._look_up(names), error)
            external.put(self.request, self._user_ids)

    def _look_up(self, names: set[str]) -> None:
        self._user_ids = self._admission.users.ids_of(names)

    def run(self, call: Call) -> None:
        """Runs the handler; raises what it raises. call: `self.call`, or a copy of it in another lane. May be repeated
        after a run that had no effect."""
        with entered(call):
            self.response = self.method(self.request)

    def done(self, error: Exception | None = None) -> None:
        """Called once, by the executor: `response` is set, or the error says why not."""
        if error is not None:
            self._fail(error)
        self.transport.on_done(self)

    @property
    def failed(self) -> bool:
        """Is its answer an error?"""
        return self._error is not None

    def _fail(self, error: Exception) -> None:
        if isinstance(error, ChatError):
            self._error = without_tracebacks(error)
            return
        with entered(self.call):
            log.error("%s failed", self.method.path, exc_info=error)
        self._error = internal()

    def answer(self) -> Answer:
        """Called by the transport, in on_done."""
        try:
            return self._answer()
        except Exception as error:  # noqa: BLE001 - a response that cannot be serialised is answered as INTERNAL
            self._fail(error)
            return self._answer()

    def withhold(self, error: ChatError) -> Answer:
        """An error in place of an answer that the transport has no memory for. Only for a call that changed nothing."""
        self._error, self._sent, self._items = error, 0, 0
        return self._answer()

    def _answer(self) -> Answer:
        error, identity = self._error, self.call.request_id
        if error is None:
            data = self._codec.serialise(self.response)
            self._sent = len(data)
            if self._metrics.items:
                self._items = len(getattr(self.response, self._metrics.items))
            self.request = self.response = None  # the serialised copy is enough while a slow client reads
            return Answer(data, code_pb2.OK, "", ((REQUEST_ID, identity),))
        if self._in_body:
            data = self._codec.serialise(self.method.response_class(error=error.body()))
            self._sent = len(data)
            return Answer(data, code_pb2.OK, "", ((REQUEST_ID, identity),))
        details = to_status(error, identity).SerializeToString()
        return Answer(None, error.status, error.message, ((REQUEST_ID, identity), (STATUS_DETAILS, details)))

    @property
    def _in_body(self) -> bool:
        return self.method.has_error and self._headers.get(ERROR_MODE, self._admission.error_mode) == "body"

    def record_outcome(self, delivered: bool) -> None:
        """Metrics, rate limits and the log, once the call is over. delivered: the answer was sent to the client."""
        error, call, ended = self._error, self.call, time.monotonic()
        if self._throttled:
            self._admission.throttle.refund(self.method.rule.rate, call.peer, error, delayed=call.address_delay > 0)
        if not delivered:  # the client has left: its deadline passed, or it cancelled
            status = code_pb2.DEADLINE_EXCEEDED if ended >= call.deadline else code_pb2.CANCELLED
        else:
            status = code_pb2.OK if error is None or self._in_body else error.status
        seconds = ended - self._started
        self._metrics.call_ended(status, error.code if error else 0, seconds, len(self._data), self._sent, self._items)
        logs.call(self.method.path, error, self._started, call)

    def skip_error(self) -> ChatError | None:
        """The error for a call that need not be run after it has waited in a queue; else None."""
        return deadline_exceeded() if self.call.remaining() <= 0 else self.transport.skip_error(self)


Executor = Callable[[ServerCall], None]
"""Has an admitted call run, on this thread or another, and its `done` called."""
