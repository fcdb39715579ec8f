"""A channel over the network: to the other half (the split seam), and from a program to a running server."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from gochat.config import ConfigError, Tls
from gochat.context import LONGEST_DEADLINE, current
from gochat.domain import policy
from gochat.errors import ChatError, deadline_exceeded, internal
from gochat.headers import ACTOR, AUTHORIZATION, ERROR_MODE, REQUEST_ID
from gochat.rpc.local import UnaryChannel
from gochat.rpc.status import from_rpc_error
from gochat.rpc.tls import open_channel
from gochat.serving.admission import REASONS

log = logging.getLogger(__name__)

ATTEMPTS = 3  # the specification, "并发处理"
FIRST_BACKOFF = 0.1  # seconds; doubles, with jitter
GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}  # the latter of calls that meet a server's stop
OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),  # a channel never shares its connections with another of the same address
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A host that vanished says nothing: asked after 12 s (servers take no ping within 10), given up 3 s later.
    ("grpc.keepalive_time_ms", 12_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),  # over the hosts behind one dns name
)

SEAM_FAILURES = {
    "UNREACHABLE": "nobody answers there",
    "TLS_FAILED": "its certificate, or ours, was not taken: see tls.ca and tls.name",
    "CREDENTIAL_REFUSED": "it does not take our token: both sides need the same signing key",
    "NOT_OFFERED": "it does not offer this service: is it the other half?",
}
"""What can be wrong with the other side itself: reason -> what to tell the operator, not the client."""

Repeatable = Callable[[str, Any], bool]
"""(path, request) -> may this call be made again after its answer was lost?"""


class NetworkChannel(UnaryChannel):
    """Carries the request id, the deadline and a service credential; raises the ChatError that the other side raised.

    credential() -> the token to present. A call that found nobody there is made again, ATTEMPTS times in all and
    within its deadline, if it may be.
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
            attempts = ATTEMPTS if self._repeatable(method, request) else 1
            for attempt in range(1, attempts + 1):
                try:
                    return self._once(remote, request)
                except grpc.RpcError as error:
                    if error.code() not in GONE or attempt == attempts:
                        raise _raised(error) from None
                    backoff = FIRST_BACKOFF * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
                    if backoff >= current().remaining():
                        raise _raised(error) from None
                    time.sleep(backoff)
            raise AssertionError("unreachable")

        return call

    def _once(self, remote: Any, request: Any) -> Any:
        outer = current()
        remaining = outer.remaining()
        if remaining <= 0:
            raise deadline_exceeded()
        metadata = [
            (AUTHORIZATION, f"Bearer {self._credential()}"),
            (ERROR_MODE, "status"),  # whatever the other side does for callers who do not ask
        ]
        if outer.peer:  # somebody's call is in hand
            actor = f"{outer.actor.user_id}|{outer.actor.role}|{outer.peer}"
            metadata += [(REQUEST_ID, outer.request_id), (ACTOR, actor)]
        return remote(request, timeout=min(remaining, LONGEST_DEADLINE), metadata=metadata)


@contextmanager
def channel_to(address: str, tls: Tls, credential: Callable[[], str] = lambda: "") -> Iterator[NetworkChannel]:
    """For a program that calls a running server: what is wrong with the address, or with the server behind it, is a
    ConfigError that names the address."""
    channel = NetworkChannel(address, tls, credential, repeatable=lambda _, request: policy.is_idempotent(request))
    try:
        yield channel
    except ChatError as error:
        if error.reason not in SEAM_FAILURES:
            raise
        raise ConfigError(f"{address}: {SEAM_FAILURES[error.reason]}") from None
    finally:
        channel.close()


def _raised(error: grpc.RpcError) -> ChatError:
    raised = from_rpc_error(error)
    if raised.reason in REASONS:
        raised = internal("CREDENTIAL_REFUSED")
    elif error.code() is grpc.StatusCode.UNIMPLEMENTED:
        raised = internal("NOT_OFFERED")
    if raised.reason in SEAM_FAILURES:
        log.error("the other side failed: %s", SEAM_FAILURES[raised.reason])
    return raised
