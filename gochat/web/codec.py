"""The codecs of a call by HTTP, and of the messages of streams, which come as protobuf."""

from functools import lru_cache
from typing import Any, Protocol

from google.protobuf.message import Message

from gochat.serving.call import PROTOBUF, Codec
from gochat.web.decoding import from_json
from gochat.web.encoding import to_json

MAX_SHARED = 64  # messages whose JSON is kept: what goes to many streams is written once


class WebCodec(Codec, Protocol):
    """name: in content types. unary_type: the header of Connect's unary calls."""

    name: str
    unary_type: tuple[str, str]

    def transcode(self, kind: type[Message], data: bytes) -> bytes:
        """A serialised message in this codec."""


class _Json:
    name = "json"
    unary_type = ("content-type", "application/json")

    def parse(self, kind: type[Message], data: bytes) -> Message:
        return from_json(kind, data)

    def serialise(self, message: Message) -> bytes:
        return to_json(message)

    def transcode(self, kind: type[Message], data: bytes) -> bytes:
        return _transcoded(kind, data)  # type: ignore[arg-type]


class _Proto:
    name = "proto"
    unary_type = ("content-type", "application/proto")
    parse, serialise = staticmethod(PROTOBUF.parse), staticmethod(PROTOBUF.serialise)

    def transcode(self, kind: type[Message], data: bytes) -> bytes:  # noqa: ARG002 - of the WebCodec
        return data


@lru_cache(MAX_SHARED)
def _transcoded(kind: Any, data: bytes) -> bytes:
    return to_json(kind.FromString(data))


JSON, PROTO = _Json(), _Proto()
CODECS: dict[str, WebCodec] = {JSON.name: JSON, PROTO.name: PROTO}
