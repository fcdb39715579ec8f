"""The co-located seam: a channel whose calls are function calls."""

from collections.abc import Mapping
from typing import Any

import grpc

from gochat.context import SERVICE, Call, current, entered
from gochat.errors import deadline_exceeded
from gochat.serving.binding import Method


class UnaryChannel(grpc.Channel):
    """A base for channels that make unary calls and have no connectivity to watch."""

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """A stub asks for one at each such RPC of its service, whether or not that is called."""

        def call(_: Any) -> Any:
            raise NotImplementedError(f"this channel has no streams: {method}")

        return call

    def stream_unary(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("GoChat has no RPC that takes a stream")

    stream_stream = stream_unary

    def subscribe(self, callback: Any, try_to_connect: bool | None = False) -> None:
        raise NotImplementedError("a stub does not watch connectivity")

    def unsubscribe(self, callback: Any) -> None:
        raise NotImplementedError("a stub does not watch connectivity")

    def close(self) -> None:
        pass

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class LocalChannel(UnaryChannel):
    """Calls bound methods on the calling thread. Nothing is serialised, so a handler must not change its request.

    The callee acts as a service, under the request id and the deadline of the current call. A ChatError that it raises
    reaches the caller unchanged.
    """

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Any:
        bound = self._methods[method]

        def call(request: Any) -> Any:
            outer = current()
            if outer.remaining() <= 0:
                raise deadline_exceeded()
            inner = Call(
                SERVICE, outer.request_id, outer.deadline, outer.actor, outer.peer, outer.lane, acted_by=outer.acted_by
            )
            with entered(inner):
                return bound(request)

        return call
