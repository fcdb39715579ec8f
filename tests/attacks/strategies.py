"""What the fuzz sends: hypothesis strategies for requests of every RPC, and for bytes on the port itself."""

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from gochat.domain.access import RULES, Access
from gochat.services import rpcs
from tests.harness import PASSWORD

RPCS = rpcs()
USER, PLACE, MESSAGE, SESSION, EVENT = "u", "gs", "-", "d", "a"
KINDS = {
    USER: (
        *("user_id", "user_ids", "from_user_id", "to_user_id", "operator_id", "owner_id", "target_id"),
        "peer_user_id",
        *("member_ids", "participant_ids"),
    ),
    PLACE: ("group_id", "conversation_id"),
    MESSAGE: ("message_id", "message_ids", "before_message_id"),
    SESSION: ("session_id",),
    EVENT: ("before_event_id",),
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
WORDS = {
    "action": ["", "session.", "user.create", "key.rotate"],
    "email": ["", "ann@example.com"],
    "message_type": ["", "text", "image", "system", "custom"],
    "role": ["", "owner", "admin", "member", "user"],
    "type": ["single", "group"],
    "password": [PASSWORD],
    "old_password": [PASSWORD],
    "new_password": [PASSWORD],
}
ODD = ["", "\0", "a\0b", "%", "_", "\\", "'; DROP TABLE users; --", "?", "%s", "%(x)s", "{0}", "\N{GRINNING FACE}" * 9]
ODD += ["\r\n\x1b[2J", "\u202eevil", "\u200b", "\u0301", "\U0010ffff", "\uffff", "\ufdfa" * 64, "\u0390" * 64, "-", "~"]
ODD += ["x" * 65, "x" * 129, "\N{GRINNING FACE}" * 5000, "x" * 200_000, "null", "0", "-1", "x-000000000001", "\ufeff"]
EDGES = [0, 1, -1, 2, 3, 4, 5, 100, 101, 200, 201, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 10**12, 4 * 10**12]
HEADERS = {
    "x-request-id": ["", "fuzz", "r" * 200, "%s%n"],
    "x-gochat-error-mode": ["body", "status", "", "BODY"],
    "x-gochat-actor": ["||", "|||", "a|b|c", "x", "|" * 2 + "9" * 120],
    "x-forwarded-for": ["", ",", "::1", "10.0.0.1, x", "300.1.1.1"],
}
WIRE_HEADERS = (b"x-request-id", b"authorization", b"grpc-timeout", b"x-gochat-error-mode", b"content-type", b":path")
WIRE_HEADERS += (b"grpc-encoding", b"user-agent", b"x-gochat-actor", b"x-forwarded-for", b"te", b"x-bin", b":method")


class Request(NamedTuple):
    """path: of an RPC, or "wire" for bytes on the port itself."""

    path: str
    who: str
    headers: tuple[tuple[str, str], ...]
    data: bytes

    def __str__(self) -> str:
        try:
            message = GetMessageClass(RPCS[self.path].input_type).FromString(self.data)
            text = text_format.MessageToString(message, as_utf8=True)
        except (DecodeError, KeyError):
            text = "(no message)\n"
        return f"{self.path} as {self.who} {dict(self.headers)}\n{text[:4000]}{self.data[:2000]!r}"


class Known(Protocol):
    """What there is on the server: some usernames, and ids by kind."""

    names: list[str]
    own: list[str]

    def ids(self, kind: str) -> list[str]: ...


class Generator:
    """Strategies for requests. They are made once; the ids in them are those that the world has when one is drawn."""

    def __init__(self, world: Known) -> None:
        self._world = world
        own = _drawn(lambda: world.own)
        self._odd = st.one_of(st.sampled_from(ODD), own, st.text(max_size=80))
        self._messages: dict[str, st.SearchStrategy[Message]] = {}
        by_path = {path: self._request(path) for path in sorted(RPCS)}
        self.requests = st.sampled_from(sorted(RPCS)).flatmap(by_path.__getitem__)

    def _request(self, path: str) -> st.SearchStrategy[Request]:
        valid = self._message(RPCS[path].input_type).map(lambda message: message.SerializeToString(deterministic=True))
        data = st.one_of(*[valid] * 8, st.binary(max_size=200), st.builds(_mutated, valid, _MUTATIONS))
        # Callers that an RPC is not for are refused right away: most calls are by those who get further.
        few = RULES[path].access is Access.SERVICE
        who = st.sampled_from(
            ["service", "service", "admin", "user", "friend", *["service"] * 8 * few, "user", "nobody"]
        )
        return st.builds(Request, st.just(path), who, _HEADERS, data)

    def _message(self, kind: Descriptor) -> st.SearchStrategy[Message]:
        if kind.full_name not in self._messages:
            fields = {one.name: self._field(one) for one in kind.fields}
            made = st.fixed_dictionaries({}, optional=fields).map(lambda values: GetMessageClass(kind)(**values))
            full = st.fixed_dictionaries(fields).map(lambda values: GetMessageClass(kind)(**values))
            self._messages[kind.full_name] = made | full
        return self._messages[kind.full_name]

    def _field(self, one: FieldDescriptor) -> st.SearchStrategy[Any]:
        if one.message_type is not None and one.message_type.GetOptions().map_entry:
            keys = st.sampled_from(["client_msg_id", "k", *ODD[:12]]) | st.text(max_size=20)
            return st.dictionaries(keys, self._odd, max_size=40)
        single = self._single(one)
        if one.is_repeated:
            return st.lists(single, max_size=4) | st.builds(lambda item, n: [item] * n, single, st.integers(5, 1100))
        return single

    def _single(self, one: FieldDescriptor) -> st.SearchStrategy[Any]:
        if one.message_type is not None:
            return self._message(one.message_type)
        if one.type == FieldDescriptor.TYPE_BOOL:
            return st.booleans()
        if one.type == FieldDescriptor.TYPE_STRING:
            plausible = self._plausible(one.name)
            return st.one_of(*[plausible] * 9, self._odd)
        bits = 64 if one.type == FieldDescriptor.TYPE_INT64 else 32
        least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        fitting = st.integers(0, 50)
        return st.one_of(
            *[fitting] * 6, st.sampled_from([edge for edge in EDGES if least <= edge <= most]), st.integers(least, most)
        )

    def _plausible(self, name: str) -> st.SearchStrategy[str]:
        if name == "username":
            return _drawn(lambda: self._world.names) | st.text(min_size=1, max_size=20)
        if kind := KIND_OF.get(name):
            return _drawn(lambda: ["", *self._world.ids(kind)])
        return st.sampled_from(WORDS.get(name, ["plain", "two words"]))


def _drawn(pool: Callable[[], Sequence[str]]) -> st.SearchStrategy[str]:
    def at(number: int) -> str:
        known = pool()
        return known[number % len(known)]

    return st.integers(0, 199).map(at)


_MUTATIONS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255), st.sampled_from("sidt")), max_size=6)
_HEADERS = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in HEADERS.items()}).map(
    lambda headers: tuple(sorted(headers.items()))
)


def _mutated(data: bytes, mutations: list[tuple[int, int, str]]) -> bytes:
    """Bytes set, inserted or deleted, or the end cut off."""
    changed = bytearray(data)
    for place, value, what in mutations:
        at = place % (len(changed) + 1)
        changed[at : len(changed) if what == "t" else at + (what != "i")] = bytes([value]) if what in "si" else b""
    return bytes(changed)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(*texts: bytes) -> bytes:
    """An HPACK header field, not indexed."""
    return b"\0" + b"".join(bytes([len(text)]) + text for text in texts)  # at most 126 bytes each


def http2(headers: list[tuple[bytes, bytes]], data: bytes) -> bytes:
    """One call as a client writes it on a new connection."""
    block = b"".join(_literal(*header) for header in headers)
    frames = [_frame(4, 0, 0, b""), _frame(1, 4, 1, block), _frame(0, 1, 1, data)]
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(frames)


def plain_headers(path: bytes) -> list[tuple[bytes, bytes]]:
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost")]
    return [*pseudo, (b"te", b"trailers"), (b"content-type", b"application/grpc")]


def wire_requests() -> st.SearchStrategy[Request]:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    extra = st.lists(st.tuples(st.sampled_from(WIRE_HEADERS), st.binary(max_size=60)), max_size=3)
    paths = st.sampled_from([path.encode() for path in sorted(RPCS)]) | st.binary(max_size=60)
    body = st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: b"\0" + struct.pack(">I", len(data)) + data)
    calls = st.builds(lambda path, more, data: http2(plain_headers(path) + more, data), paths, extra, body)
    frames = st.lists(
        st.builds(_frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=60)),
        max_size=6,
    ).map(lambda made: preface + _frame(4, 0, 0, b"") + b"".join(made))
    garbage = st.binary(max_size=200)
    data = st.one_of(garbage, garbage.map(lambda rest: preface + rest), frames, calls, calls)
    return st.builds(Request, st.just("wire"), st.just("nobody"), st.just(()), data)
