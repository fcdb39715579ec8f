"""A channel over the network: between split halves, and from a command to a running server."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from gochat.config import ConfigError, Tls
from gochat.context import MAX_DEADLINE, current
from gochat.domain import policy
from gochat.errors import ChatError, deadline_exceeded, internal
from gochat.headers import ACTED_BY, ACTOR, AUTHORIZATION, ERROR_MODE, REQUEST_ID
from gochat.rpc.local import UnaryChannel
from gochat.rpc.status import from_rpc_error
from gochat.rpc.tls import open_channel
from gochat.serving.admission import CREDENTIAL_REASONS

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # the specification, "并发处理"
FIRST_BACKOFF = 0.1  # seconds; doubles, with jitter
RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}  # a server that stops cancels calls
OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),  # channels of the same address do not share their connections
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Notices a host that vanished: a ping after 12 s of silence (servers allow one in 10 s), given up 3 s later.
    ("grpc.keepalive_time_ms", 12_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),  # over the hosts of one DNS name
)

SEAM_FAILURES = {
    "UNREACHABLE": "nobody answers there",
    "TLS_FAILED": "its certificate, or ours, was not accepted: see tls.ca and tls.name",
    "CREDENTIAL_REFUSED": "it does not take our token: both sides need the same signing key",
    "NOT_OFFERED": "it does not offer this service: is it the other half?",
}
"""Failures of the other side itself: reason -> explanation, for the operator and not for clients."""


class ServerError(ConfigError):
    """A server that a command calls cannot be reached, or is not the right one; the message names its address. reason:
    one of SEAM_FAILURES."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address}: {SEAM_FAILURES[reason]}")
        self.reason = reason


Repeatable = Callable[[str, Any], bool]
"""(path, request) -> may this call be repeated after its answer was lost?"""


class NetworkChannel(UnaryChannel):
    """Sends the request id, the deadline and a service credential; raises the ChatError that the other side raised.

    credential() -> the token to present. A call that failed since the other side was away is repeated if `repeatable`
    allows it, for MAX_ATTEMPTS in all and within its deadline.
    """

    def __init__(
        self,
        address: str,
        tls: Tls,
        credential: Callable[[], str] = lambda: "",
        repeatable: Repeatable = lambda *_: False,
    ) -> None:
        self._channel = open_channel(address, tls, OPTIONS)
        self._credential = credential
        self._repeatable = repeatable

    def close(self) -> None:
        self._channel.close()

    def unary_unary(self, method: str, *serializers: Any, **options: Any) -> Any:
        remote = self._channel.unary_unary(method, *serializers, **options)

        def call(request: Any) -> Any:
            attempts = MAX_ATTEMPTS if self._repeatable(method, request) else 1
            for attempt in range(1, attempts + 1):
                try:
                    return self._attempt(remote, request)
                except grpc.RpcError as error:
                    if error.code() not in RETRYABLE or attempt == attempts:
                        raise _raised(error) from None
                    backoff = FIRST_BACKOFF * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
                    if backoff >= current().remaining():
                        raise _raised(error) from None
                    time.sleep(backoff)
            raise AssertionError("unreachable")

        return call

    def unary_stream(self, method: str, *serializers: Any, **options: Any) -> Any:
        remote = self._channel.unary_stream(method, *serializers, **options)
        return lambda request: _Responses(remote(request, metadata=tuple(self._metadata())))

    def _metadata(self) -> list[tuple[str, str]]:
        return [
            (AUTHORIZATION, f"Bearer {self._credential()}"),
            (ERROR_MODE, "status"),  # whatever the other side's default is
        ]

    def _attempt(self, remote: Any, request: Any) -> Any:
        outer = current()
        remaining = outer.remaining()
        if remaining <= 0:
            raise deadline_exceeded()
        metadata = self._metadata()
        if outer.peer:  # the current call is a client's, not the server's own
            actor = f"{outer.actor.user_id}|{outer.actor.role}|{outer.peer}"
            metadata += [(REQUEST_ID, outer.request_id), (ACTOR, actor)]
            if outer.acted_by:
                metadata.append((ACTED_BY, outer.acted_by))
        return remote(request, timeout=min(remaining, MAX_DEADLINE), metadata=metadata)


class _Responses:
    """The responses of a stream, which has no deadline: waiting for the next one raises the ChatError that ended it.
    One thread iterates; any may cancel."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise _raised(error) from None

    def cancel(self) -> None:
        self._call.cancel()


@contextmanager
def channel_to(address: str, tls: Tls, credential: Callable[[], str] = lambda: "") -> Iterator[NetworkChannel]:
    """A channel for a command that calls a running server. Within the block, ChatErrors of SEAM_FAILURES become a
    ServerError."""
    channel = NetworkChannel(address, tls, credential, repeatable=lambda _, request: policy.is_idempotent(request))
    try:
        yield channel
    except ChatError as error:
        if error.reason not in SEAM_FAILURES:
            raise
        raise ServerError(address, error.reason) from None
    finally:
        channel.close()


def _raised(error: grpc.RpcError) -> ChatError:
    raised = from_rpc_error(error)
    if raised.reason in CREDENTIAL_REASONS:
        raised = internal("CREDENTIAL_REFUSED")
    elif error.code() is grpc.StatusCode.UNIMPLEMENTED:
        raised = internal("NOT_OFFERED")
    if raised.reason in SEAM_FAILURES:
        log.error("the other side failed: %s", SEAM_FAILURES[raised.reason])
    return raised
