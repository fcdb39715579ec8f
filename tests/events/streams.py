"""A client's stream of events, as tests read it."""

import queue
import threading
from collections.abc import Callable
from typing import Any

import grpc

from gochat.api.event.v1 import event_pb2 as pb
from gochat.api.event.v1.event_pb2_grpc import EventServiceStub
from tests.harness import Person, bearer

TIMEOUT = 20.0  # seconds


class Client:
    """An open stream; as a context manager it is closed at the end of the block. A thread reads it. events: all that
    came, in order. cursor: the newest."""

    def __init__(self, channel: grpc.Channel, metadata: Any, **request: Any) -> None:
        self._call = EventServiceStub(channel).Subscribe(pb.SubscribeRequest(**request), metadata=metadata)
        self._responses: queue.Queue[pb.SubscribeResponse | None] = queue.Queue()
        self.events: list[pb.Event] = []
        self._seen = 0
        self.cursor = ""
        self.error: grpc.RpcError | None = None
        threading.Thread(target=self._read, daemon=True).start()
        self.ready = self._next().ready

    def _read(self) -> None:
        try:
            for response in self._call:
                self._responses.put(response)
        except grpc.RpcError as error:
            self.error = error
        self._responses.put(None)

    def _next(self, seconds: float = TIMEOUT) -> pb.SubscribeResponse:
        response = self._responses.get(timeout=seconds)
        assert response is not None, f"the stream has ended: {self.error}"
        self.events += response.batch.events
        self.cursor = response.cursor or self.cursor
        return response

    def until(self, what: str, is_it: Callable[[pb.Event], Any] = lambda _: True, seconds: float = TIMEOUT) -> pb.Event:
        """The next event of this kind that is the one; those before it are passed over."""
        while True:
            while self._seen < len(self.events):
                event = self.events[self._seen]
                self._seen += 1
                if event.WhichOneof("event") == what and is_it(event):
                    return event
            try:
                self._next(seconds)
            except queue.Empty:
                raise AssertionError(f"no {what} came within {seconds} s, but {self.events}") from None

    def none_of(self, what: str, seconds: float) -> None:
        """No further event of this kind comes within so many seconds."""
        try:
            event = self.until(what, seconds=seconds)
        except AssertionError:
            return
        raise AssertionError(f"unexpected: {event}")

    def payload(self, what: str) -> pb.SubscribeResponse:
        """The next response with this payload."""
        while True:
            response = self._next()
            if response.WhichOneof("payload") == what:
                return response

    def close(self) -> None:
        self._call.cancel()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def subscribe(person: Person, channel: grpc.Channel | None = None, **request: Any) -> Client:
    """channel: the app's, unless another is given."""
    return Client(channel or person.app.channel, bearer(person.access_token), **request)


def set_typing(person: Person, conversation_id: str, typing: bool = True, channel: grpc.Channel | None = None) -> None:
    request = pb.SetTypingRequest(conversation_id=conversation_id, typing=typing)
    EventServiceStub(channel or person.app.channel).SetTyping(request, metadata=person.metadata, timeout=30)


def content(wanted: str) -> Callable[[pb.Event], bool]:
    return lambda event: bool(event.message_sent.message.content == wanted)
