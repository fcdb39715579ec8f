"""ChatError, the one exception that handlers raise, and the table that maps it to gRPC statuses and response bodies."""

import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from google.rpc import code_pb2

from gochat.api.common.v1 import common_pb2

DOMAIN = "gochat"
RETRY_AFTER = "retry_after_ms"
MAX_CAUSES = 20  # exceptions of a chain that are looked at: a chain may be circular

# The table of the specification, "错误码映射": business code -> gRPC status.
STATUS_OF = MappingProxyType(
    {
        common_pb2.ERROR_CODE_NONE: code_pb2.OK,
        common_pb2.ERROR_CODE_INVALID_PARAMS: code_pb2.INVALID_ARGUMENT,
        common_pb2.ERROR_CODE_UNAUTHORIZED: code_pb2.UNAUTHENTICATED,
        common_pb2.ERROR_CODE_PERMISSION_DENIED: code_pb2.PERMISSION_DENIED,
        common_pb2.ERROR_CODE_NOT_FOUND: code_pb2.NOT_FOUND,
        common_pb2.ERROR_CODE_INTERNAL_ERROR: code_pb2.INTERNAL,
        common_pb2.ERROR_CODE_DUPLICATE_OPERATION: code_pb2.ALREADY_EXISTS,
        common_pb2.ERROR_CODE_RATE_LIMIT: code_pb2.RESOURCE_EXHAUSTED,
    }
)


@dataclass(eq=False)
class ChatError(Exception):
    """An error as its caller sees it.

    code: the business code. message: one sentence for people, with nothing internal in it.
    reason: UPPER_SNAKE_CASE, stable, for programs. fields: request field -> the rule it broke; or facts of denied().
    status: the gRPC status if it is not that of the table: UNAVAILABLE, DEADLINE_EXCEEDED or ABORTED.
    retry_after: seconds after which a call that met a rate limit may be tried again.
    """

    code: common_pb2.ErrorCode.ValueType
    message: str
    reason: str
    fields: dict[str, str] = field(default_factory=dict)
    status: int = 0
    retry_after: float = 0

    def __post_init__(self) -> None:
        super().__init__(self.message)
        self.status = self.status or STATUS_OF[self.code]

    @property
    def retry_ms(self) -> int:
        return math.ceil(self.retry_after * 1000)

    @property
    def details(self) -> dict[str, str]:
        """The `details` of Error and ErrorResponse in common.proto."""
        retry = {RETRY_AFTER: str(self.retry_ms)} if self.retry_after else {}
        return {**self.fields, "reason": self.reason, **retry}  # also where a field has that name

    def body(self) -> common_pb2.Error:
        return common_pb2.Error(code=self.code, message=self.message, details=self.details)

    def renamed(self, old: str, new: str) -> "ChatError":
        """The same error for a caller in whose request the field has another name."""
        fields = {new if name == old else name: rule for name, rule in self.fields.items()}
        return replace(self, message=self.message.replace(old, new), fields=fields)


def invalid(name: str, rule: str, reason: str = "INVALID_FIELD") -> ChatError:
    """A request field that breaks a rule; the message names both."""
    return ChatError(common_pb2.ERROR_CODE_INVALID_PARAMS, f"{name} {rule}", reason, {name: rule})


def unauthorized(message: str, reason: str) -> ChatError:
    return ChatError(common_pb2.ERROR_CODE_UNAUTHORIZED, message, reason)


def denied(message: str, reason: str, **facts: str) -> ChatError:
    """facts: what there is to know beside the reason, by their names in `details`."""
    return ChatError(common_pb2.ERROR_CODE_PERMISSION_DENIED, message, reason, facts)


def not_found(what: str, name: str = "") -> ChatError:
    """what: the noun that is missing, such as "user". name: the request field that named it."""
    fields = {name: f"names no {what}"} if name else {}
    return ChatError(common_pb2.ERROR_CODE_NOT_FOUND, f"{what} not found", f"{what.upper()}_NOT_FOUND", fields)


def duplicate(message: str, reason: str, name: str = "") -> ChatError:
    return ChatError(common_pb2.ERROR_CODE_DUPLICATE_OPERATION, message, reason, {name: message} if name else {})


def limited(message: str, reason: str, retry_after: float) -> ChatError:
    return ChatError(common_pb2.ERROR_CODE_RATE_LIMIT, message, reason, retry_after=retry_after)


def overloaded(message: str) -> ChatError:
    """The server is overloaded, or the client does not take its answers."""
    return limited(message, "BUSY", 1.0)


def internal(reason: str = "INTERNAL") -> ChatError:
    """Does not name the cause, which is in the log under the request id."""
    return ChatError(common_pb2.ERROR_CODE_INTERNAL_ERROR, "internal error", reason)


def unavailable(message: str, reason: str = "UNAVAILABLE") -> ChatError:
    return ChatError(common_pb2.ERROR_CODE_INTERNAL_ERROR, message, reason, status=code_pb2.UNAVAILABLE)


def aborted(message: str, reason: str) -> ChatError:
    """Others were quicker."""
    return ChatError(common_pb2.ERROR_CODE_INTERNAL_ERROR, message, reason, status=code_pb2.ABORTED)


def deadline_exceeded() -> ChatError:
    return ChatError(
        common_pb2.ERROR_CODE_INTERNAL_ERROR,
        "the deadline passed before the call was done",
        "DEADLINE_EXCEEDED",
        status=code_pb2.DEADLINE_EXCEEDED,
    )
