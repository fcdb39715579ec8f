"""What stands between the wire and a handler: request id, authentication, access, parsing, error mapping.

The order of a call: name it (request id) so that any answer can be traced; authenticate before a byte of the request
is parsed; refuse who has no access or calls too often; parse; then the bound method checks the form and runs the
handler.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from gochat.context import LONGEST_DEADLINE, NOBODY, Call, Caller, current, entered
from gochat.domain import ids
from gochat.domain.access import Access, Rate
from gochat.domain.tokens import CALLING, BadTokenError, Tokens
from gochat.errors import ChatError, denied, internal, invalid, unauthorized
from gochat.rpc.bind import Method
from gochat.rpc.metrics import CANCELLED, DEADLINE_EXCEEDED, OK, Metrics
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
        self._tokens = tokens
        self._throttle = throttle
        self._metrics = metrics
        self._error_mode = error_mode

    def wrap(self, method: Method) -> Callable[[bytes, grpc.ServicerContext], Any]:
        """The behaviour that a grpcio server runs for this method, from request bytes to response message."""
        counts = self._metrics.of(method.path)

        def behaviour(data: bytes, context: grpc.ServicerContext) -> Any:
            started = time.monotonic()
            counts.start()
            metadata = context.invocation_metadata()
            headers = {key: value for key, value in metadata if isinstance(value, str)}
            request_id = _request_id(headers)
            remaining = context.time_remaining()
            deadline = started + min(LONGEST_DEADLINE, remaining if remaining is not None else LONGEST_DEADLINE)
            peer = self._throttle.address(context.peer(), headers.get(FORWARDED_FOR, ""))
            error: ChatError | None = None
            response: Any = None
            with entered(Call(NOBODY, request_id, deadline, NOBODY, peer)):
                try:
                    response = self._respond(method, data, metadata, headers)
                except ChatError as raised:
                    error = _without_frames(raised)
                except Exception:
                    log.exception("%s failed", method.path)
                    error = internal()
                ended = time.monotonic()
                log.debug("%s %s %.1f ms", method.path, error.reason if error else "OK", (ended - started) * 1e3)
            in_body = headers.get(ERROR_MODE, self._error_mode) == "body"
            status = OK if error is None or in_body else error.status
            if not context.is_active():  # the client has left, and knows why
                status = DEADLINE_EXCEEDED if ended >= deadline else CANCELLED
            counts.end(status, error.code if error else 0, ended - started, len(data))
            return self._answer(method, context, request_id, response, error, in_body)

        return behaviour

    def _respond(self, method: Method, data: bytes, metadata: Any, headers: Mapping[str, str]) -> Any:
        call, rate = current(), method.rule.rate
        caller = self._authenticate(method, metadata)
        self._throttle.admit(rate, caller, call.peer)
        try:
            request = _parse(method, data)
            if rate is Rate.SENDS:
                self._throttle.admit_sends(caller, len(request.messages))
            actor, origin = _origin(caller, call.peer, headers)
            with entered(Call(caller, call.request_id, call.deadline, actor, origin)):
                response = method(request)
        except ChatError as error:
            self._throttle.done(rate, call.peer, error)
            raise
        self._throttle.done(rate, call.peer, None)
        return response

    def _authenticate(self, method: Method, metadata: Any) -> Caller:
        access = method.rule.access
        if access is Access.ANYONE:
            return NOBODY
        given = [value for key, value in metadata if key == AUTHORIZATION]
        if len(given) != 1 or not isinstance(given[0], str) or given[0][:7].lower() != "bearer ":
            raise unauthorized("send the metadata authorization: Bearer <access token>, once", "NO_TOKEN")
        try:
            caller = self._tokens.verify(given[0][7:], *CALLING).caller
        except BadTokenError as bad:
            raise unauthorized(str(bad), "BAD_TOKEN") from None
        if access is Access.SERVICE and not caller.privileged:
            raise denied("this service takes tokens of role service or admin only", "NOT_A_SERVICE")
        return caller

    def _answer(
        self,
        method: Method,
        context: grpc.ServicerContext,
        request_id: str,
        response: Any,
        error: ChatError | None,
        in_body: bool,
    ) -> Any:
        # Trailing, not initial: metadata sent before the answer would switch off the client's retries.
        trailing: tuple[tuple[str, str | bytes], ...] = ((REQUEST_ID, request_id),)
        if error is None:
            context.set_trailing_metadata(trailing)
            return response
        if in_body:
            context.set_trailing_metadata(trailing)
            return method.response_class(error=error.body())
        details = to_status(error, request_id).SerializeToString()
        context.set_trailing_metadata((*trailing, (DETAILS_KEY, details)))
        context.abort(STATUS_BY_NUMBER[error.status], error.message)
        return None


def _request_id(headers: Mapping[str, str]) -> str:
    """The caller's, if it is fit for a log line; else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _is_word(given) else ids.new_secret()


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
