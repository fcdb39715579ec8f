"""What hostile clients do, as a table."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from gochat.api.logic.v1 import logic_pb2
from tests.attacks import wire
from tests.attacks.wire import CONTINUATION, END_HEADERS, END_STREAM, FLOODS, HEADERS, RST_STREAM, SHUT, WIDE, Raw
from tests.harness import PASSWORD, Deployment, Person, bearer, fresh
from tests.processes import FAST

LOGIC = "/gochat.api.logic.v1.LogicService/"
PROFILE, SEND, SEARCH, SIGN_IN, HISTORY = (
    LOGIC + rpc for rpc in ("GetUserProfile", "SendMessage", "SearchUsers", "Authenticate", "GetMessageHistory")
)
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SUBSCRIBE = "/gochat.api.event.v1.EventService/Subscribe"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
LIST_SERVICES = reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString()
MIB = 1024 * 1024
ATTACKED = ("sqlite-colocated", "postgres-colocated", "sqlite-split")
"""The modes of the servers that are attacked."""

MAX_HALF_OPEN, MAX_WATCHES, MAX_REFLECTIONS = 256, 20, 10  # of a connection

BODY_WAIT = "grpc.server gives a call its thread before the request has come"
UNSENT = "grpc.server does not say when an answer was sent"
STREAMS = "grpc.server gives a stream a thread, and does not limit streams by service"


def skipped_on_plain(fast_only: str) -> pytest.MarkDecorator:
    """fast_only: as of Attack."""
    return pytest.mark.skipif(not FAST and bool(fast_only), reason=fast_only)


class Target:
    """A GoChat under attack. The attackers have an account: `token` is the metadata of its calls."""

    def __init__(self, app: Deployment) -> None:
        self.app = app

    @cached_property
    def person(self) -> Person:
        return self.app.person("hostile", password=PASSWORD)

    @cached_property
    def friend(self) -> str:
        return self.app.create_user()

    @property
    def token(self) -> tuple[tuple[str, str], ...]:
        return bearer(self.person.access_token)

    @cached_property
    def history(self) -> bytes:
        """A request whose answer has 3.3 MB."""
        group = self.person.CreateGroup(name="large").group_id
        for _ in range(4):
            self.person.SendMessages(messages=[{"conversation_id": group, "content": "x" * 16_384}] * 50)
        return logic_pb2.GetMessageHistoryRequest(conversation_id=group, limit=200).SerializeToString()

    @property
    def sign_in(self) -> bytes:
        return logic_pb2.AuthRequest(username=self.person.username, password=PASSWORD).SerializeToString()

    @property
    def send(self) -> bytes:
        return logic_pb2.SendMessageRequest(to_user_id=self.friend, content="x").SerializeToString()


Metadata = tuple[tuple[str, str], ...]
Steps = Callable[[Target], Iterable[bytes]]


def opened(streams: Iterable[int], path: str, metadata: Metadata = ()) -> bytes:
    """Calls without a request."""
    block = wire.request(path, *metadata)
    return b"".join(wire.frame(HEADERS, END_HEADERS, stream, block) for stream in streams)


def called(
    streams: Iterable[int], path: str, request: bytes = b"", metadata: Metadata = (), end: int = END_STREAM
) -> bytes:
    """Whole calls. end: the flags of the last frame."""
    block, message = wire.request(path, *metadata), wire.message(request)
    return b"".join(
        wire.frame(HEADERS, END_HEADERS, stream, block) + wire.data(stream, message, end) for stream in streams
    )


def numbers(calls: int, first: int = 0) -> list[int]:
    """Of the streams of so many calls, after the first ones."""
    return [2 * number + 1 for number in range(first, first + calls)]


def reset(streams: Iterable[int]) -> bytes:
    cancel = wire.CANCEL.to_bytes(4, "big")
    return b"".join(wire.frame(RST_STREAM, 0, stream, cancel) for stream in streams)


def health_request(service: str = "") -> bytes:
    return health_pb2.HealthCheckRequest(service=service).SerializeToString()


def half_open(path: str, calls: int, signed_in: bool, target: Target, sent: bytes = b"") -> Iterator[bytes]:
    yield opened(numbers(calls), path, target.token if signed_in else ())
    if sent:
        yield b"".join(wire.data(stream, sent) for stream in numbers(calls))


def byte_by_byte(calls: int, target: Target) -> Iterator[bytes]:
    yield opened(numbers(calls), SEND, target.token)
    message = wire.message(target.send)
    for position in range(0, len(message), 4):  # four frames of a byte at each step
        parts = message[position : position + 4]
        yield b"".join(wire.data(stream, bytes([part])) for part in parts for stream in numbers(calls))
    yield b"".join(wire.data(stream, b"", END_STREAM) for stream in numbers(calls))


def uploads(calls: int, target: Target) -> Iterator[bytes]:
    """Requests of 40 kB, in pieces."""
    yield opened(numbers(calls), SEND, target.token)
    message = wire.message(logic_pb2.SendMessageRequest(to_user_id="u", content="x" * 40_000).SerializeToString())
    for start in range(0, len(message), 10_000):
        part, end = message[start : start + 10_000], END_STREAM if start + 10_000 >= len(message) else 0
        yield b"".join(wire.data(stream, part, end) for stream in numbers(calls))


def endless_headers(_: Target) -> Iterator[bytes]:
    yield wire.frame(HEADERS, 0, 1, wire.request(PROFILE))
    field = wire.header("x-more", "v" * 100) * 150
    for _ in range(4):
        yield wire.frame(CONTINUATION, 0, 1, field) * 64  # 1 MB


def rapid_reset(path: str, request: Callable[[Target], bytes], target: Target) -> Iterator[bytes]:
    """2,000 calls, each reset as soon as it is sent."""
    for first in range(0, 2000, 200):
        yield b"".join(
            called([stream], path, request(target), target.token) + reset([stream]) for stream in numbers(200, first)
        )


def opened_and_reset(path: str, request: bytes, calls: int, _: Target) -> Iterator[bytes]:
    """A step opens 500 streams and resets those of the step before, which have been served."""
    for first in range(0, calls, 500):
        yield called(numbers(500, first), path, request, end=0) + (reset(numbers(500, first - 500)) if first else b"")
    yield reset(numbers(500, calls - 500))


def subscribed_and_reset(calls: int, target: Target) -> Iterator[bytes]:
    """As opened_and_reset."""
    for first in range(0, calls, 500):
        yield called(numbers(500, first), SUBSCRIBE, metadata=target.token) + (
            reset(numbers(500, first - 500)) if first else b""
        )
    yield reset(numbers(500, calls - 500))


def subscribed_and_unread(target: Target) -> Iterator[bytes]:
    """Streams, and messages of 16 kB to them from the same connection, whose windows are shut."""
    yield called(numbers(100), SUBSCRIBE, metadata=target.token)
    large = logic_pb2.SendMessageRequest(to_user_id=target.friend, content="x" * 16_000).SerializeToString()
    for first in range(100, 400, 100):
        yield called(numbers(100, first), SEND, large, target.token)


def one_watcher_leaves(_: Target) -> Iterator[bytes]:
    """The other's window has no room for a message."""
    yield called([1], WATCH, end=0) + wire.frame(wire.WINDOW_UPDATE, stream=1, payload=(1000).to_bytes(4, "big"))
    yield called([3], WATCH, end=0)
    yield reset([1])


def unknown_watches(_: Target) -> Iterator[bytes]:
    """Of 3,000 names of 1,000 characters."""
    for first in range(0, 3000, 300):
        yield b"".join(
            called([stream], WATCH, health_request(f"{stream}".ljust(1000, "x"))) for stream in numbers(300, first)
        )


def endless_questions(_: Target) -> Iterator[bytes]:
    yield opened(numbers(MAX_REFLECTIONS), REFLECTION)
    for _ in range(5):
        yield b"".join(wire.data(stream, wire.message(LIST_SERVICES) * 400) for stream in numbers(MAX_REFLECTIONS))


def large_names(path: str, size: int, calls: int, _: Target) -> Iterator[bytes]:
    name = health_request("x" * size)
    if path == REFLECTION:
        name = reflection_pb2.ServerReflectionRequest(file_containing_symbol="x" * size).SerializeToString()
    yield called(numbers(calls), path, name)


def unread(calls: int, target: Target) -> Iterator[bytes]:
    request = called(numbers(calls), HISTORY, target.history, target.token)
    yield request[: len(request) // 2]
    yield request[len(request) // 2 :]


def two_messages(calls: int, target: Target) -> Iterator[bytes]:
    message = wire.message(b"") * 2
    yield opened(numbers(calls), PROFILE, target.token)
    yield b"".join(wire.data(stream, message, END_STREAM) for stream in numbers(calls))


def once(path: str, calls: int, request: bytes = b"", *, signed_in: bool = False, end: int = END_STREAM) -> Steps:
    return lambda target: [called(numbers(calls), path, request, target.token if signed_in else (), end)]


def unknown_methods(_: Target) -> Iterator[bytes]:
    paths = count()
    for first in range(0, 3000, 300):
        yield b"".join(called([stream], f"/{fresh('no')}.Service/M{next(paths)}") for stream in numbers(300, first))


@dataclass(frozen=True)
class Attack:
    """Each connection sends every step; the ordinary client calls meanwhile and after each.

    opening: of each connection. reads: whether the attacker takes in what it is sent. expects: at least so many calls
    of all connections end with this status, or one of several with "|" between; ANSWER is any status. growth: bytes
    that the server may grow by meanwhile. fast_only: why the plain server does not withstand it; "" if it does.
    """

    steps: Steps
    connections: int = 1
    opening: bytes = WIDE
    reads: bool = True
    expects: dict[str, int] = field(default_factory=dict)
    growth: int = 64 * MIB
    fast_only: str = ""


ANSWER = "|".join(code.name for code in grpc.StatusCode)
EXHAUSTED, TOO_LARGE = "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED|INVALID_ARGUMENT|RST_STREAM"
ENDED = "RESOURCE_EXHAUSTED|CANCELLED|RST_STREAM"  # refused, or ended to make room for others
SEARCH_ALL = logic_pb2.SearchUsersRequest(query="user").SerializeToString()

KINDS: dict[str, dict[str, Attack]] = {
    "control": {
        "control: proper calls": Attack(once(PROFILE, 50, signed_in=True), expects={"OK": 50}),
    },
    "requests that come late or never": {
        "2,000 calls without a request on 2 connections": Attack(
            partial(half_open, PROFILE, 1000, False),
            connections=2,
            expects={EXHAUSTED: 2 * (1000 - MAX_HALF_OPEN)},
            fast_only=BODY_WAIT,
        ),
        "the same with a token": Attack(
            partial(half_open, SEND, 1000, True),
            connections=2,
            expects={EXHAUSTED: 2 * (1000 - MAX_HALF_OPEN)},
            fast_only=BODY_WAIT,
        ),
        "2,000 calls without a request on 40 connections": Attack(
            partial(half_open, PROFILE, 50, False), connections=40, fast_only=BODY_WAIT
        ),
        "the same of sign-ins": Attack(partial(half_open, SIGN_IN, 50, False), connections=40, fast_only=BODY_WAIT),
        "1 MiB announced and not sent": Attack(
            partial(half_open, PROFILE, 200, False, sent=b"\0\0\x10\0\0"), connections=10, fast_only=BODY_WAIT
        ),
        "requests a byte at a time": Attack(partial(byte_by_byte, 100), expects={"OK": 100}, fast_only=BODY_WAIT),
        "slow uploads": Attack(
            partial(uploads, 10), connections=10, expects={"INVALID_ARGUMENT": 100}, fast_only=BODY_WAIT
        ),
        "calls that are not half-closed": Attack(once(PROFILE, 100, signed_in=True, end=0), expects={"OK": 100}),
        "unary calls with two messages": Attack(partial(two_messages, 100), expects={ANSWER: 100}, fast_only=BODY_WAIT),
    },
    "answers that nobody takes": {
        "900 unread answers on one connection": Attack(
            partial(unread, 900), opening=SHUT, expects={EXHAUSTED: 880}, growth=100 * MIB, fast_only=UNSENT
        ),
        "900 unread answers on 9 connections": Attack(
            partial(unread, 100), 9, opening=SHUT, expects={ENDED: 800}, growth=100 * MIB, fast_only=UNSENT
        ),
        "a peer that stops reading": Attack(partial(unread, 400), reads=False, growth=100 * MIB, fast_only=UNSENT),
    },
    "health": {
        "two watchers, one of which leaves": Attack(one_watcher_leaves, opening=SHUT),
        "64 watches without a request": Attack(partial(half_open, WATCH, 64, False), fast_only=STREAMS),
        "2,000 watches without a request": Attack(
            partial(half_open, WATCH, 1000, False),
            2,
            expects={EXHAUSTED: 2 * (1000 - MAX_HALF_OPEN)},
            fast_only=STREAMS,
        ),
        "64 watches that are not read": Attack(
            once(WATCH, 64), opening=SHUT, expects={EXHAUSTED: 64 - MAX_WATCHES}, fast_only=STREAMS
        ),
        "2,000 watches": Attack(once(WATCH, 1000), 2, expects={ENDED: 2 * (1000 - MAX_WATCHES)}, fast_only=STREAMS),
        "10,000 watches opened and reset": Attack(partial(opened_and_reset, WATCH, b"", 10_000)),
        "watches of unknown names": Attack(unknown_watches, expects={"NOT_FOUND|RESOURCE_EXHAUSTED": 3000}),
        "checks of unknown names": Attack(once(CHECK, 500, health_request("none")), expects={"NOT_FOUND": 500}),
        "checks of names of 1 MB": Attack(partial(large_names, CHECK, 1_000_000, 3), 10, expects={TOO_LARGE: 30}),
        "watches of names of 1 MB": Attack(partial(large_names, WATCH, 1_000_000, 3), 10, expects={TOO_LARGE: 30}),
        "watches of names of 5 kB": Attack(partial(large_names, WATCH, 5000, 10), expects={TOO_LARGE: 10}),
    },
    "streams of events": {
        "1,000 streams of one user": Attack(
            once(SUBSCRIBE, 1000, signed_in=True), expects={"UNAVAILABLE|RESOURCE_EXHAUSTED": 990}
        ),
        "1,000 streams of one user on 20 connections": Attack(
            once(SUBSCRIBE, 50, signed_in=True), 20, expects={"UNAVAILABLE|RESOURCE_EXHAUSTED": 990}
        ),
        "1,000 streams without a request": Attack(
            partial(half_open, SUBSCRIBE, 1000, True), expects={EXHAUSTED: 1000 - MAX_HALF_OPEN}, fast_only=BODY_WAIT
        ),
        "streams that are not read, and messages to them": Attack(
            subscribed_and_unread, opening=SHUT, fast_only=UNSENT
        ),
        "10,000 streams of events opened and reset": Attack(partial(subscribed_and_reset, 10_000)),
    },
    "reflection": {
        "64 reflection streams that ask nothing": Attack(
            partial(half_open, REFLECTION, 64, False), expects={EXHAUSTED: 64 - MAX_REFLECTIONS}, fast_only=STREAMS
        ),
        "reflection asked on and on, and not read": Attack(endless_questions, opening=SHUT, fast_only=STREAMS),
        "reflection of names of 1 MB": Attack(
            partial(large_names, REFLECTION, 1_000_000, 3), 10, expects={TOO_LARGE: 30}, fast_only=STREAMS
        ),
        "10,000 reflection streams opened and reset": Attack(
            partial(opened_and_reset, REFLECTION, LIST_SERVICES, 10_000)
        ),
    },
    "frames": {
        "pings": Attack(lambda _: [wire.frame(wire.PING, payload=b"12345678") * 1000] * 5, 5),
        "settings": Attack(lambda _: [FLOODS["settings that change something"]] * 5, 5),
        "endless headers": Attack(endless_headers, 4),
        "unknown methods": Attack(unknown_methods, expects={"UNIMPLEMENTED": 3000}),
    },
    "calls that are reset": {
        "sign-ins reset": Attack(partial(rapid_reset, SIGN_IN, lambda target: target.sign_in)),
        "sends reset": Attack(partial(rapid_reset, SEND, lambda target: target.send)),
        "searches reset": Attack(partial(rapid_reset, SEARCH, lambda _: SEARCH_ALL)),
        "large histories reset": Attack(partial(rapid_reset, HISTORY, lambda target: target.history), growth=100 * MIB),
    },
}
WITHOUT_HANDLER = ("health", "reflection", "frames")
"""The kinds of which no call comes to a handler of GoChat's own, so the mode is no matter."""
ATTACKS = {name: attack for attacks in KINDS.values() for name, attack in attacks.items()}


@contextmanager
def connected(app: Deployment, attack: Attack) -> Iterator[list[Raw]]:
    peers = [Raw(app.address, attack.opening, acks=True) for _ in range(attack.connections)]
    try:
        yield peers
    finally:
        for peer in peers:
            peer.close()


def advance(peers: list[Raw], attack: Attack, step: bytes, seconds: float = 2) -> None:
    """seconds: in which the server takes it in, or else leaves the rest."""
    for peer in peers:
        if not peer.cut:
            peer.send(step, seconds)
    take_in(peers, attack)


def take_in(peers: list[Raw], attack: Attack) -> None:
    for peer in peers:
        if attack.reads and not peer.cut:
            list(peer.frames(0.02 / len(peers)))


def missing(peers: list[Raw], attack: Attack) -> dict[str, int]:
    """How the calls ended, unless that is as attack.expects; else nothing."""
    ends = Counter(end for peer in peers for end in peer.ended.values())
    for status, number in attack.expects.items():
        if sum(ends[each] for each in status.split("|")) < number:
            return {f"expected {status}": number, **ends}
    return {}
