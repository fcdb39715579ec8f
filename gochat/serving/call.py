"""One unary call without its transport: admitted, run by an executor, answered, recorded.

The order: name it (request id) so that any answer can be traced; authenticate before a byte of the request is parsed;
refuse who has no access or calls too often; parse; then the bound method checks the form and runs the handler.
"""

import logging
import time
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError
from google.rpc import code_pb2

from gochat import logs
from gochat.context import LONGEST_DEADLINE, NOBODY, Call, Lane, entered
from gochat.domain.access import Rate
from gochat.errors import ChatError, deadline_exceeded, internal, invalid
from gochat.headers import ACTOR, ERROR_MODE, FORWARDED_FOR, REQUEST_ID, STATUS_DETAILS
from gochat.serving.admission import Admission, Metadata, origin, request_id, without_frames
from gochat.serving.binding import Method
from gochat.serving.metrics import Counts
from gochat.serving.status import to_status

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What the transport sends. data: the response message, None where the status says it all. trailing: metadata that
    follows it; a client retries only what was answered with trailing metadata alone."""

    data: bytes | None
    status: int
    message: str
    trailing: tuple[tuple[str, str | bytes], ...]


class Transport(Protocol):
    """What a call needs of its transport. Called by any thread."""

    def on_done(self, call: "ServerCall") -> None:
        """Takes `answer()` and, once that was sent or cannot be, calls `record_outcome`."""

    def on_wait(self) -> None:
        """The call is going to wait for a thread: it is worth knowing whether its client leaves meanwhile."""

    def refusal(self, call: "ServerCall") -> ChatError | None:
        """Why the call is not worth being run any more."""


class ServerCall:
    """One thread at a time has it: the transport's until the executor takes it, the executor's until on_done returns,
    the transport's again."""

    __slots__ = (
        *("_admission", "_counts", "_data", "_error", "_headers", "_items", "_metadata", "_peer", "_sent", "_started"),
        *("_throttled", "_until", "call", "method", "request", "response", "transport"),
    )
    call: Call
    request: Any
    response: Any

    def __init__(
        self,
        admission: Admission,
        method: Method,
        counts: Counts,
        data: bytes,
        metadata: Metadata,
        peer: str,
        remaining: float,
        transport: Transport,
    ) -> None:
        """peer: of the connection, such as ipv4:192.0.2.1:5000. remaining: seconds until the client's deadline."""
        self._admission, self.method, self._counts, self.transport = admission, method, counts, transport
        self._data, self._metadata, self._peer = data, metadata, peer
        self._headers = dict(metadata)
        self._started = now = time.monotonic()
        self._until = now + (remaining if remaining < LONGEST_DEADLINE else LONGEST_DEADLINE)
        self._error: ChatError | None = None
        self._throttled = False
        self._sent = self._items = 0
        counts.start()

    def admit(self, lane: Lane) -> None:
        """lane: in which it will be run. Raises ChatError, and UnknownKeyError: to be admitted again where other keys
        may be looked for."""
        rule, admission, headers = self.method.rule, self._admission, self._headers
        peer = admission.throttle.address(self._peer, headers.get(FORWARDED_FOR, ""))
        identity = request_id(headers)
        self.call = Call(NOBODY, identity, self._until, NOBODY, peer, lane)  # of a caller who is refused
        caller = admission.authenticate(rule.access, headers, self._metadata)
        actor, address = origin(caller, peer, headers) if ACTOR in headers else (caller, peer)
        self.call = Call(caller, identity, self._until, actor, address, lane)
        admission.throttle.admit(rule.rate, caller, address)
        self._throttled = True
        try:
            self.request = self.method.request_class.FromString(self._data)
        except DecodeError:
            name = self.method.request_class.DESCRIPTOR.name
            raise invalid("request", f"is not a {name}", "MALFORMED") from None
        if rule.rate is Rate.SENDS:
            admission.throttle.admit_sends(caller, len(self.request.messages))

    def run(self, call: Call) -> None:
        """As which call it is run: `call`, or the same in another lane. Raises what the handler raises. May be repeated
        if it had no effect."""
        with entered(call):
            self.response = self.method(self.request)

    def done(self, error: Exception | None = None) -> None:
        """Once, by the executor: `response` is there, or the error says why not."""
        if error is not None:
            self._fail(error)
        self.transport.on_done(self)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, ChatError):
            self._error = without_frames(error)
            return
        with entered(self.call):
            log.error("%s failed", self.method.path, exc_info=error)
        self._error = internal()

    def answer(self) -> Answer:
        """For the transport, in on_done."""
        try:
            return self._answer()
        except Exception as error:  # noqa: BLE001 - a response that cannot be written is an answer too
            self._fail(error)
            return self._answer()

    def withhold(self, error: ChatError) -> Answer:
        """The answer in place of one that the transport cannot keep; nothing was changed by the call."""
        self._error, self._sent, self._items = error, 0, 0
        return self._answer()

    def _answer(self) -> Answer:
        error, identity = self._error, self.call.request_id
        if error is None:
            data = self.response.SerializeToString()
            self._sent = len(data)
            if self._counts.items:
                self._items = len(getattr(self.response, self._counts.items))
            self.request = self.response = None  # while the client takes its time, one copy is enough
            return Answer(data, code_pb2.OK, "", ((REQUEST_ID, identity),))
        if self._in_body:
            data = self.method.response_class(error=error.body()).SerializeToString()
            self._sent = len(data)
            return Answer(data, code_pb2.OK, "", ((REQUEST_ID, identity),))
        details = to_status(error, identity).SerializeToString()
        return Answer(None, error.status, error.message, ((REQUEST_ID, identity), (STATUS_DETAILS, details)))

    @property
    def _in_body(self) -> bool:
        return bool(self._headers.get(ERROR_MODE, self._admission.error_mode) == "body")

    def record_outcome(self, delivered: bool) -> None:
        """Metrics, rate limits and the log, once the call is over. delivered: the client was sent the answer."""
        error, call, ended = self._error, self.call, time.monotonic()
        if self._throttled:
            self._admission.throttle.done(self.method.rule.rate, call.peer, error)
        if not delivered:  # the client has left, and knows why
            status = code_pb2.DEADLINE_EXCEEDED if ended >= call.deadline else code_pb2.CANCELLED
        else:
            status = code_pb2.OK if error is None or self._in_body else error.status
        seconds = ended - self._started
        self._counts.end(status, error.code if error else 0, seconds, len(self._data), self._sent, self._items)
        logs.call(self.method.path, error, self._started, call)

    def refusal(self) -> ChatError | None:
        """Why a call that has waited for its turn need not be run any more."""
        return deadline_exceeded() if self.call.remaining() <= 0 else self.transport.refusal(self)
