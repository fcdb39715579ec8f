"""ChatError, the one exception that a client raises for whatever a server or the way to it did."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from google.rpc import status_pb2

from gochat.api.common.v1 import common_pb2

STATUS_DETAILS = "grpc-status-details-bin"
RETRY_AFTER = "retry_after_ms"
_IN_LIST = re.compile(r"^messages\[\d+\]\.")
TRANSIENT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED"})
"""Codes of errors that may be gone when the same is tried again."""

_OF_TRANSPORT = {"CANCELLED", "INTERNAL", "UNKNOWN"}
"""Codes that mean a broken connection where no error of GoChat's comes with them; a server that stops cancels calls."""

_CODE_OF = {
    common_pb2.ERROR_CODE_INVALID_PARAMS: "INVALID_ARGUMENT",
    common_pb2.ERROR_CODE_UNAUTHORIZED: "UNAUTHENTICATED",
    common_pb2.ERROR_CODE_PERMISSION_DENIED: "PERMISSION_DENIED",
    common_pb2.ERROR_CODE_NOT_FOUND: "NOT_FOUND",
    common_pb2.ERROR_CODE_INTERNAL_ERROR: "INTERNAL",
    common_pb2.ERROR_CODE_DUPLICATE_OPERATION: "ALREADY_EXISTS",
    common_pb2.ERROR_CODE_RATE_LIMIT: "RESOURCE_EXHAUSTED",
}


@dataclass(eq=False)
class ChatError(Exception):
    """code: the name of the gRPC status, such as "NOT_FOUND" or "UNAVAILABLE".

    message: one sentence for people. reason: UPPER_SNAKE_CASE and stable, for programs, such as "GROUP_FULL"; empty
    where no server answered. fields: request field -> the rule it broke. retry_after: seconds after which a call that
    met a rate limit may be tried again; else 0. request_id: by which the server's operator finds the call in the log.
    """

    code: str
    message: str
    reason: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    retry_after: float = 0
    request_id: str = ""

    def __post_init__(self) -> None:
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.code} {self.reason}: {self.message}" if self.reason else f"{self.code}: {self.message}"

    @property
    def is_transient(self) -> bool:
        return self.code in TRANSIENT


def from_rpc_error(error: grpc.RpcError) -> ChatError:
    assert isinstance(error, grpc.Call)
    packed = dict(error.trailing_metadata() or ()).get(STATUS_DETAILS)
    code = error.code().name
    if packed is not None:
        status, answer = status_pb2.Status.FromString(packed), common_pb2.ErrorResponse()
        if any(detail.Unpack(answer) for detail in status.details):
            return _from_details(code, answer.message, answer.details, answer.request_id)
    if code in _OF_TRANSPORT:
        code = "UNAVAILABLE"
    return ChatError(code, error.details() or code)


def from_body(error: common_pb2.Error) -> ChatError:
    """Of one message of SendMessages, as SendMessage would name its fields. There the codes UNAVAILABLE and the like
    are INTERNAL_ERROR with a reason."""
    code = _CODE_OF.get(error.code, "UNKNOWN")
    if code == "INTERNAL" and error.details.get("reason", "INTERNAL") != "INTERNAL":
        code = "UNAVAILABLE"
    details = {_IN_LIST.sub("", name): rule for name, rule in error.details.items()}
    return _from_details(code, _IN_LIST.sub("", error.message), details, "")


def closed() -> ChatError:
    return ChatError("CANCELLED", "the client is closed", "CLIENT_CLOSED")


def _from_details(code: str, message: str, details: Mapping[str, str], request_id: str) -> ChatError:
    fields = dict(details)
    reason, retry_after = fields.pop("reason", ""), int(fields.pop(RETRY_AFTER, "0")) / 1000
    return ChatError(code, message, reason, fields, retry_after, request_id)
