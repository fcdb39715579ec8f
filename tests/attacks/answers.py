"""All that a client sees of a refused call, so that two answers can be compared field by field."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from gochat.api.common.v1 import common_pb2


@dataclass(frozen=True)
class Answer:
    """delay: seconds, of RetryInfo. Answers are equal that differ only in when they were given."""

    status: str
    message: str = ""
    reason: str = ""
    details: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    delay: float = field(default=0.0, compare=False)


OK = Answer("OK")


def wait_as_asked(refusal: Answer) -> None:
    """A client that obeys RetryInfo: that the server takes its next call is what such a test is about."""
    time.sleep(refusal.delay)


def answer(call: Callable[[], Any]) -> Answer:
    try:
        call()
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        code, trailing = error.code(), dict(error.trailing_metadata() or ())
        assert code is not None
        info, response, retry = error_details_pb2.ErrorInfo(), common_pb2.ErrorResponse(), error_details_pb2.RetryInfo()
        packed = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
        for detail in packed.details:
            for message in (info, response, retry):
                detail.Unpack(message)
        delay = retry.retry_delay.ToMilliseconds()
        assert response.details.get("retry_after_ms", "0") == str(delay)
        return Answer(
            status=code.name,
            message=f"{error.details()} {response.message} {response.code}",
            reason=info.reason,
            details=tuple(detail.type_url for detail in packed.details),
            metadata=tuple(sorted(trailing)),
            fields=tuple(
                f"{key}={value}" for key, value in sorted(response.details.items()) if key != "retry_after_ms"
            ),
            delay=delay / 1000,
        )
    return OK
