"""An error as google.rpc.Status: what gRPC sends in trailing metadata."""

import time

from google.rpc import error_details_pb2, status_pb2

from gochat.api.common.v1 import common_pb2
from gochat.errors import DOMAIN, ChatError


def to_status(error: ChatError, request_id: str) -> status_pb2.Status:
    """With the details ErrorInfo, the specification's ErrorResponse, BadRequest where fields are wrong, and RetryInfo
    where a rate limit was met."""
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
