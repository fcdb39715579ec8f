"""The error on the wire: a gRPC status with google.rpc details, and back again; or a field of the response."""

import re
import time

import grpc
from google.rpc import error_details_pb2, status_pb2

from gochat.api.common.v1 import common_pb2
from gochat.errors import DOMAIN, RETRY_AFTER, ChatError, deadline_exceeded, internal, unavailable

DETAILS_KEY = "grpc-status-details-bin"
STATUS_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def to_status(error: ChatError, request_id: str) -> status_pb2.Status:
    """google.rpc.Status with ErrorInfo, the specification's ErrorResponse, for bad fields BadRequest, for rate limits
    RetryInfo."""
    details = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN),
        common_pb2.ErrorResponse(
            code=error.code,
            message=error.message,
            details=error.details,
            timestamp=time.time_ns() // 1_000_000,
            request_id=request_id,
        ),
    ]
    if error.fields:
        violation = error_details_pb2.BadRequest.FieldViolation
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[violation(field=name, description=rule) for name, rule in error.fields.items()]
            )
        )
    if error.retry_after:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(error.retry_ms)
        details.append(retry)
    status = status_pb2.Status(code=error.status, message=error.message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def from_rpc_error(error: grpc.RpcError) -> ChatError:
    """What the other side raised. A failure of the transport itself has no details and becomes what it is to us."""
    assert isinstance(error, grpc.Call)
    packed = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if packed is not None:
        status = status_pb2.Status.FromString(packed)
        answer = common_pb2.ErrorResponse()
        if any(detail.Unpack(answer) for detail in status.details):
            fields = dict(answer.details)
            reason, retry_after = fields.pop("reason", ""), int(fields.pop(RETRY_AFTER, "0")) / 1000
            return ChatError(answer.code, answer.message, reason, fields, status.code, retry_after)
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return deadline_exceeded()
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        encryption = re.search("(?i)handshake|verification", error.details() or "")
        return unavailable(
            "the service behind this one cannot be reached", "TLS_FAILED" if encryption else "UNREACHABLE"
        )
    return internal()
