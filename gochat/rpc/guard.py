"""What stands between the wire and a handler: request id, authentication, access, parsing, error mapping.

The order of a call: name it (request id) so that any answer can be traced; authenticate before a byte of the request
is parsed; refuse who has no access; parse; then the bound method checks the form and runs the handler.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from gochat.context import LONGEST_DEADLINE, NOBODY, Call, Caller, entered
from gochat.domain import ids
from gochat.domain.policy import Access
from gochat.domain.tokens import ACCESS, BadTokenError, Tokens
from gochat.errors import ChatError, denied, internal, invalid, unauthorized
from gochat.rpc.bind import Method
from gochat.rpc.status import DETAILS_KEY, STATUS_BY_NUMBER, to_body, to_status

log = logging.getLogger(__name__)

AUTHORIZATION = "authorization"
REQUEST_ID = "x-request-id"
ERROR_MODE = "x-gochat-error-mode"
REASONS = frozenset({"NO_TOKEN", "BAD_TOKEN", "NOT_A_SERVICE"})
"""The reasons with which a caller is turned away here, before any handler."""


@dataclass(frozen=True)
class Guard:
    """error_mode: "status" or "body", for callers who do not ask for one."""

    tokens: Tokens
    error_mode: str = "status"

    def wrap(self, method: Method) -> Callable[[bytes, grpc.ServicerContext], Any]:
        """The behaviour that a grpcio server runs for this method, from request bytes to response message."""

        def behaviour(data: bytes, context: grpc.ServicerContext) -> Any:
            metadata = context.invocation_metadata()
            headers = {key: value for key, value in metadata if isinstance(value, str)}
            request_id = _request_id(headers)
            started = time.monotonic()
            error: ChatError | None = None
            response: Any = None
            remaining = context.time_remaining()
            deadline = started + min(LONGEST_DEADLINE, remaining if remaining is not None else LONGEST_DEADLINE)
            with entered(Call(NOBODY, request_id, deadline)):
                try:
                    caller = self._admit(method, metadata)
                    request = _parse(method, data)
                    with entered(Call(caller, request_id, deadline)):
                        response = method(request)
                except ChatError as raised:
                    error = raised
                except Exception:
                    log.exception("%s failed", method.path)
                    error = internal()
                log.debug(
                    "%s %s %.1f ms", method.path, error.reason if error else "OK", (time.monotonic() - started) * 1e3
                )
            return self._answer(method, context, headers, request_id, response, error)

        return behaviour

    def _admit(self, method: Method, metadata: Any) -> Caller:
        if method.access is Access.ANYONE:
            return NOBODY
        given = [value for key, value in metadata if key == AUTHORIZATION]
        if len(given) != 1 or not isinstance(given[0], str) or given[0][:7].lower() != "bearer ":
            raise unauthorized("send the metadata authorization: Bearer <access token>, once", "NO_TOKEN")
        try:
            caller = self.tokens.verify(given[0][7:], ACCESS).caller
        except BadTokenError as bad:
            raise unauthorized(str(bad), "BAD_TOKEN") from None
        if method.access is Access.SERVICE and not caller.privileged:
            raise denied("this service takes tokens of role service or admin only", "NOT_A_SERVICE")
        return caller

    def _answer(
        self,
        method: Method,
        context: grpc.ServicerContext,
        headers: Mapping[str, str],
        request_id: str,
        response: Any,
        error: ChatError | None,
    ) -> Any:
        # Trailing, not initial: metadata sent before the answer would switch off the client's retries.
        trailing: tuple[tuple[str, str | bytes], ...] = ((REQUEST_ID, request_id),)
        if error is None:
            context.set_trailing_metadata(trailing)
            return response
        if headers.get(ERROR_MODE, self.error_mode) == "body":
            context.set_trailing_metadata(trailing)
            return method.response_class(error=to_body(error))
        details = to_status(error, request_id).SerializeToString()
        context.set_trailing_metadata((*trailing, (DETAILS_KEY, details)))
        context.abort(STATUS_BY_NUMBER[error.status], error.message)
        return None


def _request_id(headers: Mapping[str, str]) -> str:
    """The caller's, if it is fit for a log line; else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if 0 < len(given) <= 128 and given.isascii() and given.isprintable() else ids.new_secret()


def _parse(method: Method, data: bytes) -> Any:
    try:
        return method.request_class.FromString(data)
    except DecodeError:
        raise invalid("request", f"is not a {method.request_class.DESCRIPTOR.name}", "MALFORMED") from None
