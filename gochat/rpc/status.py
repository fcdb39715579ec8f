"""Turns the status that a gRPC client received back into the error that the other side raised."""

import re

import grpc
from google.rpc import status_pb2

from gochat.api.common.v1 import common_pb2
from gochat.errors import RETRY_AFTER, ChatError, deadline_exceeded, internal, unavailable
from gochat.headers import STATUS_DETAILS

STATUS_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def from_rpc_error(error: grpc.RpcError) -> ChatError:
    """The ChatError in the status details; for a failure of the transport, which has none, the error that fits its
    code."""
    assert isinstance(error, grpc.Call)
    packed = dict(error.trailing_metadata() or ()).get(STATUS_DETAILS)
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
