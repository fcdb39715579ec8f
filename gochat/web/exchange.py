"""What the listener needs of a protocol for one call: connect.py and grpc_web.py have it."""

from typing import NamedTuple, Protocol

from gochat.serving.call import Answer
from gochat.serving.endpoints import Status
from gochat.web.codec import WebCodec
from gochat.web.messages import Headers, Response, Trailing


class Exchange(Protocol):
    """How one call is answered. `answer` is called by the thread that has made the answer, the rest by the loop's.

    codec: of its messages.
    """

    codec: WebCodec

    def answer(self, answer: Answer) -> Response:
        """To a unary call, or to a stream that was not opened."""

    def refuse(self, status: Status) -> Response:
        """Without having run anything."""


class StreamExchange(Exchange, Protocol):
    """How a stream is answered, if it was opened."""

    def begin(self) -> Headers:
        """Of the response."""

    def message(self, data: bytes) -> bytes:
        """data: serialised protobuf."""

    def end(self, status: Status, trailing: Trailing = ()) -> bytes:
        """The last message."""


class Reading(NamedTuple):
    """A call as it was read. data: the request message. seconds: until the client's deadline, perhaps infinity."""

    exchange: Exchange
    data: bytes
    seconds: float
