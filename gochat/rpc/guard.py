"""What stands between the wire and a handler: request id, authentication, access, parsing, error mapping.

The order of a call: name it (request id) so that any answer can be traced; authenticate before a byte of the request
is parsed; refuse who has no access or calls too often; parse; then the bound method checks the form and runs the
handler.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from gochat import logs
from gochat.context import LONGEST_DEADLINE, NOBODY, Call, Caller, End, entered
from gochat.domain.access import Access, Rate
from gochat.domain.tokens import CALLING, BadTokenError, Tokens
from gochat.errors import ChatError, denied, internal, invalid, unauthorized
from gochat.rpc.bind import Method
from gochat.rpc.metrics import CANCELLED, DEADLINE_EXCEEDED, OK, Counts, Metrics
from gochat.rpc.status import DETAILS_KEY, STATUS_BY_NUMBER, to_status
from gochat.rpc.throttle import Throttle

log = logging.getLogger(__name__)

AUTHORIZATION = "authorization"
REQUEST_ID = "x-request-id"
ERROR_MODE = "x-gochat-error-mode"
FORWARDED_FOR = "x-forwarded-for"
ACTOR = "x-gochat-actor"
"""What the logic half tells the repo half, for the audit log: user id, role and network address, with | between."""

REASONS = frozenset({"NO_TOKEN", "BAD_TOKEN", "NOT_A_SERVICE"})
"""The reasons with which a caller is turned away here, before any handler."""


class Guard:
    """error_mode: "status" or "body", for callers who do not ask for one."""

    def __init__(self, tokens: Tokens, throttle: Throttle, metrics: Metrics, error_mode: str = "status") -> None:
        self.tokens = tokens
        self.throttle = throttle
        self.error_mode = error_mode
        self._metrics = metrics

    def wrap(self, method: Method) -> "Behaviour":
        return Behaviour(self, method, self._metrics.of(method.path))


class Behaviour:
    """What a grpcio server runs for a method, from request bytes to response message. place: where, see pool.py."""

    place: "Place | None" = None
    experimental_thread_pool: Any = None  # grpcio's name for: which threads, if not the server's

    def __init__(self, guard: Guard, method: Method, counts: Counts) -> None:
        self._made_of = guard, method, counts

    def __call__(self, data: bytes, context: grpc.ServicerContext) -> Any:
        visit = self.visit(data, context)
        if visit.welcome:
            try:
                visit.run(visit.call)
            except Exception as error:  # noqa: BLE001 - it is the answer
                visit.fail(error)
        return visit.answer()

    def visit(self, data: bytes, context: grpc.ServicerContext) -> "Visit":
        return Visit(*self._made_of, data, context)


class Visit:
    """A call: admitted when it is made, then run, if it is welcome, then answered.

    Whoever lets it run catches what it raises and says so with `fail`; or finds its response elsewhere.
    """

    __slots__ = (
        *("_context", "_counts", "_error", "_guard", "_headers", "_method", "_size", "_started", "_throttled"),
        *("call", "request", "response", "welcome"),
    )

    def __init__(
        self, guard: Guard, method: Method, counts: Counts, data: bytes, context: grpc.ServicerContext
    ) -> None:
        self._guard, self._method, self._counts, self._context = guard, method, counts, context
        self._size = len(data)
        self._started = time.monotonic()
        counts.start()
        metadata = context.invocation_metadata()
        self._headers = headers = {key: value for key, value in metadata if isinstance(value, str)}
        remaining = context.time_remaining()
        deadline = self._started + min(LONGEST_DEADLINE, remaining if remaining is not None else LONGEST_DEADLINE)
        peer = guard.throttle.address(context.peer(), headers.get(FORWARDED_FOR, ""))
        self.call = Call(NOBODY, _request_id(headers), deadline, NOBODY, peer)
        self._error: ChatError | None = None
        self._throttled = self.welcome = False
        try:
            self._admit(data, metadata)
        except Exception as error:  # noqa: BLE001 - it is the answer
            self.fail(error)

    def _admit(self, data: bytes, metadata: Any) -> None:
        call, rate, throttle = self.call, self._method.rule.rate, self._guard.throttle
        caller = _authenticate(self._guard.tokens, self._method.rule.access, metadata)
        self.call = Call(caller, call.request_id, call.deadline, *_origin(caller, call.peer, self._headers))
        throttle.admit(rate, caller, call.peer)
        self._throttled = True
        self.request = _parse(self._method, data)
        if rate is Rate.SENDS:
            throttle.admit_sends(caller, len(self.request.messages))
        self.welcome = True

    @property
    def failed(self) -> bool:
        return self._error is not None

    def run(self, call: Call) -> None:
        """As which call it is run. Raises what the handler raises. May be repeated if it had no effect."""
        with entered(call):
            self.response = self._method(self.request)

    def fail(self, error: Exception) -> None:
        if isinstance(error, ChatError):
            self._error = _without_frames(error)
        else:
            with entered(self.call):
                log.error("%s failed", self._method.path, exc_info=error)
            self._error = internal()

    def answer(self) -> Any:
        """The response message; or aborts the call, as grpcio wants it, by an exception of its own."""
        error, context, method = self._error, self._context, self._method
        if self._throttled:
            self._guard.throttle.done(method.rule.rate, self.call.peer, error)
        in_body = error is not None and self._headers.get(ERROR_MODE, self._guard.error_mode) == "body"
        self._tell(in_body)
        # Trailing, not initial: metadata sent before the answer would switch off the client's retries.
        trailing: tuple[tuple[str, str | bytes], ...] = ((REQUEST_ID, self.call.request_id),)
        if error is None:
            context.set_trailing_metadata(trailing)
            return self.response
        if in_body:
            context.set_trailing_metadata(trailing)
            return method.response_class(error=error.body())
        details = to_status(error, self.call.request_id).SerializeToString()
        context.set_trailing_metadata((*trailing, (DETAILS_KEY, details)))
        context.abort(STATUS_BY_NUMBER[error.status], error.message)
        return None

    def _tell(self, in_body: bool) -> None:
        """Metrics and log."""
        error, ended = self._error, time.monotonic()
        status = OK if error is None or in_body else error.status
        if not self._context.is_active():  # the client has left, and knows why
            status = DEADLINE_EXCEEDED if ended >= self.call.deadline else CANCELLED
        self._counts.end(status, error.code if error else 0, ended - self._started, self._size)
        logs.call(self._method.path, error, self._started, self.call)


Place = Callable[[Visit, End], None]
"""Has a welcome visit run, here or elsewhere, and end called when that is done."""


def _authenticate(tokens: Tokens, access: Access, metadata: Any) -> Caller:
    if access is Access.ANYONE:
        return NOBODY
    given = [value for key, value in metadata if key == AUTHORIZATION]
    if len(given) != 1 or not isinstance(given[0], str) or given[0][:7].lower() != "bearer ":
        raise unauthorized("send the metadata authorization: Bearer <access token>, once", "NO_TOKEN")
    try:
        caller = tokens.verify(given[0][7:], *CALLING).caller
    except BadTokenError as bad:
        raise unauthorized(str(bad), "BAD_TOKEN") from None
    if access is Access.SERVICE and not caller.privileged:
        raise denied("this service takes tokens of role service or admin only", "NOT_A_SERVICE")
    return caller


def _request_id(headers: Mapping[str, str]) -> str:
    """The caller's, if it is fit for a log line; else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _is_word(given) else f"{random.getrandbits(128):032x}"


def _origin(caller: Caller, peer: str, headers: Mapping[str, str]) -> tuple[Caller, str]:
    """Who stands behind the call and where. Only a service is believed when it says that it calls for another."""
    if caller.role == "service" and _is_word(told := headers.get(ACTOR, "")) and told.count("|") == 2:
        user_id, role, peer = told.split("|")
        return Caller(user_id, role), peer
    return caller, peer


def _is_word(text: str) -> bool:
    return 0 < len(text) <= 128 and text.isascii() and text.isprintable()


def _parse(method: Method, data: bytes) -> Any:
    try:
        return method.request_class.FromString(data)
    except DecodeError:
        raise invalid("request", f"is not a {method.request_class.DESCRIPTOR.name}", "MALFORMED") from None


def _without_frames(error: ChatError) -> ChatError:
    """A traceback holds its frames and so the call, which would not end before garbage is collected."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__context__
    return error
