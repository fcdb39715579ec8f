"""One connection to a server, over which all calls of a client go: deadlines, tokens, retries, errors."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from gochat.api.conversation.v1 import conversation_pb2
from gochat.api.conversation.v1.conversation_pb2_grpc import ConversationServiceStub
from gochat.api.event.v1 import event_pb2
from gochat.api.event.v1.event_pb2_grpc import EventServiceStub
from gochat.api.group.v1 import group_pb2
from gochat.api.group.v1.group_pb2_grpc import GroupServiceStub
from gochat.api.logic.v1 import logic_pb2
from gochat.api.logic.v1.logic_pb2_grpc import LogicServiceStub
from gochat.api.message.v1 import message_pb2
from gochat.api.message.v1.message_pb2_grpc import MessageServiceStub
from gochat.api.push.v1 import push_pb2
from gochat.api.push.v1.push_pb2_grpc import PushServiceStub
from gochat.api.session.v1 import session_pb2
from gochat.api.session.v1.session_pb2_grpc import SessionServiceStub
from gochat.client.backoff import full_jitter
from gochat.client.errors import ChatError, closed, from_rpc_error
from gochat.client.session import TOKEN_REASONS

RETRY_BACKOFF = (0.1, 2.0)  # seconds, within the deadline of a call
MAX_RECONNECT_INTERVAL = 3.0  # seconds between two attempts of gRPC itself to connect
REPEATABLE = frozenset(
    rpc.input_type.full_name
    for file in (conversation_pb2, event_pb2, group_pb2, logic_pb2, message_pb2, push_pb2, session_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for rpc in service.methods
    if rpc.GetOptions().idempotency_level
) | {session_pb2.RefreshTokenRequest.DESCRIPTOR.full_name}
"""The requests that may be sent again after an answer was lost."""

Tls = bool | str | Path | grpc.ChannelCredentials
TokenSource = Callable[[str], str]
"""As Session.token."""
_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response")


class Connection:
    """Thread-safe. timeout: of calls, in seconds. backoff: of reconnecting, the first and the most, in seconds.

    on_closed is set when the client closes: who waits before they try again wait for that instead. answered_at: when a
    call was last answered, by time.monotonic().
    """

    def __init__(self, address: str, tls: Tls, timeout: float, backoff: tuple[float, float]) -> None:
        self._channel = _open_channel(address, tls, backoff)
        self.timeout, self.backoff = timeout, backoff
        self.on_closed = threading.Event()
        self.answered_at = 0.0
        self.logic = LogicServiceStub(self._channel)
        self.session = SessionServiceStub(self._channel)
        self.message = MessageServiceStub(self._channel)
        self.push = PushServiceStub(self._channel)
        self.event = EventServiceStub(self._channel)
        self.conversation = ConversationServiceStub(self._channel)
        self.group = GroupServiceStub(self._channel)

    def close(self) -> None:
        self.on_closed.set()
        self._channel.close()

    def call(
        self,
        rpc: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        token_of: TokenSource = lambda _: "",
        timeout: float | None = None,
    ) -> _Response:
        """The answer. A request that may be repeated is, while the server is away and the deadline allows it; one whose
        token was not taken is sent once more with a new one. Raises ChatError."""
        until = monotonic() + (self.timeout if timeout is None else timeout)
        waits = full_jitter(*RETRY_BACKOFF)
        rejected = ""
        while True:
            token = token_of(rejected)
            try:
                answer = rpc(request, timeout=max(0.0, until - monotonic()), metadata=bearer(token))
                self.answered_at = monotonic()
                return answer
            except grpc.RpcError as failed:
                error = from_rpc_error(failed)
            except ValueError:  # of a closed channel
                raise closed() from None
            if token and not rejected and is_about_token(error):
                rejected = token
                continue
            self._wait_for_retry(request, error, waits, until)

    def _wait_for_retry(self, request: Message, error: ChatError, waits: Iterator[float], until: float) -> None:
        """Raises the error where there is to be no retry."""
        if self.on_closed.is_set():
            raise closed()
        if error.code != "UNAVAILABLE" or request.DESCRIPTOR.full_name not in REPEATABLE:
            raise error
        wait = next(waits)
        if monotonic() + wait >= until or self.on_closed.wait(wait):
            raise error


def is_about_token(error: ChatError) -> bool:
    return error.code == "UNAUTHENTICATED" and error.reason in TOKEN_REASONS


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    mode = ("x-gochat-error-mode", "status")  # whatever the server's default is
    return (mode, ("authorization", f"Bearer {token}")) if token else (mode,)


def _open_channel(address: str, tls: Tls, backoff: tuple[float, float]) -> grpc.Channel:
    first, most = backoff
    options = [
        ("grpc.use_local_subchannel_pool", 1),  # clients of one process do not share a connection
        ("grpc.initial_reconnect_backoff_ms", int(first * 1000)),
        ("grpc.min_reconnect_backoff_ms", 5_000),  # how long an attempt may take
        ("grpc.max_reconnect_backoff_ms", int(min(most, MAX_RECONNECT_INTERVAL) * 1000)),
        ("grpc.keepalive_time_ms", 25_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
    if not tls:
        return grpc.insecure_channel(address, options=options)
    if tls is True:
        tls = grpc.ssl_channel_credentials()
    elif not isinstance(tls, grpc.ChannelCredentials):
        tls = grpc.ssl_channel_credentials(Path(tls).read_bytes())
    return grpc.secure_channel(address, tls, options=options)
