"""Too much of everything: numbers, lists, messages, headers; and what of it reaches the log."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from gochat.api.logic.v1 import logic_pb2
from tests.attacks import test_input as hostile
from tests.attacks.fuzz import on_the_wire
from tests.attacks.strategies import RPCS, http2, plain_headers
from tests.attacks.test_input import LOGIC, PROFILE, REPO, SEND, app, ask, either, person, plausible, serves
from tests.conftest import Own
from tests.conversations import contents, conversation_of
from tests.harness import Deployment, Person, fresh, refused
from tests.processes import memory

__all__ = ["app", "either", "person"]  # fixtures
BOMB = 64 * 1024 * 1024  # bytes, of which 64 KiB are left when they are compressed
LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}[+-]\d\d:\d\d [A-Z]+ \[[ -~]+\] |  |\w+$|after$|[EWI]\d{4} "
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("count", [1_001, 100_000])
def test_oversized_lists_of_ids_are_refused(app: Deployment, count: int) -> None:
    lists = [
        (path, one.name) for path in RPCS for one in hostile.strings(path) if one.is_repeated and not one.message_type
    ]
    assert len(lists) >= 7
    for path, field in lists:
        request = plausible(path)
        getattr(request, field)[:] = ["u"] * count
        assert ask(app, path, request)[:3] == ("INVALID_ARGUMENT", "INVALID_FIELD", (field,))
    getattr(request, field)[:] = ["u" * 27] * 100_000
    assert ask(app, path, request).status == "RESOURCE_EXHAUSTED"
    assert serves(app)


def test_oversized_metadata_is_refused(person: Person) -> None:
    for metadata in ({str(n): "" for n in range(10_000)}, {"k": "x" * 5000}, {"k" * 65: ""}, {"": ""}):
        with refused("INVALID_ARGUMENT", "metadata"):
            person.SendMessage(to_user_id=person.id, content="x", metadata=metadata)


@pytest.mark.parametrize("character", ["x", "\u00e9", "\u4e2d", "\N{GRINNING FACE}"])
def test_content_of_more_than_16_kib_is_refused(app: Deployment, person: Person, character: str) -> None:
    friend, size = app.create_user(), len(character.encode())
    longest = character * (16 * 1024 // size) + "x" * (16 * 1024 % size)
    message_id = person.send(friend, longest).message_id
    with refused("INVALID_ARGUMENT", "content"):
        person.send(friend, longest + "x")
    assert contents(person, conversation_of(message_id)) == [longest]


def test_a_message_of_5_mib_is_refused_and_the_next_one_served(app: Deployment) -> None:
    request = logic_pb2.SendMessageRequest(content="x" * 5 * 1024 * 1024)
    assert ask(app, SEND, request).status == "RESOURCE_EXHAUSTED"
    assert ask(app, SEND, request, None).status == "RESOURCE_EXHAUSTED"
    assert serves(app)


def test_a_decompression_bomb_is_refused_without_growing_memory(app: Deployment) -> None:
    request = logic_pb2.SendMessageRequest(content="x" * 2 * 1024 * 1024).SerializeToString()
    before = memory(app.processes[0].pid, "VmHWM")
    for metadata in [()] * 25 + [(None,)] * 25:
        assert ask(app, SEND, request, *metadata, compression=grpc.Compression.Gzip).status == "RESOURCE_EXHAUSTED"
    bomb = b"\x22" + b"\x80\x80\x80\x20" + b"x" * BOMB
    assert ask(app, SEND, bomb, compression=grpc.Compression.Gzip).status == "RESOURCE_EXHAUSTED"
    assert serves(app)
    assert memory(app.processes[0].pid, "VmHWM") - before < 64 * 1024


def test_extreme_numbers_make_no_internal_error(either: Deployment) -> None:
    user = either.create_user()
    cases: list[tuple[str, str, int, str]] = []
    for path in RPCS:
        for name in ("expires_at", "since", "status", "max_members"):
            if one := RPCS[path].input_type.fields_by_name.get(name):
                bits = 63 if one.type == one.TYPE_INT64 else 31
                accepted = "INVALID_ARGUMENT" if bits == 31 else ""
                cases += [(path, name, -1, "INVALID_ARGUMENT"), (path, name, -(2**bits), "INVALID_ARGUMENT")]
                cases += [(path, name, 2**bits - 1, accepted)]
    assert len(cases) >= 30
    for path, name, value, expected in cases:
        request = plausible(path, user_id=user)
        setattr(request, name, value)
        answer = ask(either, path, request)
        if expected:
            assert answer[:3] == (expected, "INVALID_FIELD", (name,)), (path, value)
        assert answer.status not in ("INTERNAL", "UNKNOWN", "UNAVAILABLE"), (path, name, value)
    for status in (4, 99):
        request = plausible(REPO + "UpdateUser", user_id=user)
        request.status = status
        assert ask(either, REPO + "UpdateUser", request).fields == ("status",)


@pytest.mark.parametrize("kind", ["Text", "TEXT ", "texte", "system\0", "\u0442ext", "x" * 1000])
def test_an_unknown_message_type_is_refused(person: Person, kind: str) -> None:
    with refused("INVALID_ARGUMENT", "message_type"):
        person.SendMessage(to_user_id=person.id, content="x", message_type=kind)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("x-pad", "x" * 16 * 1024)], "RESOURCE_EXHAUSTED"),
        ([(f"x-pad{n}", "x" * 100) for n in range(200)], "RESOURCE_EXHAUSTED"),
        ([(f"x-p{n}", "x") for n in range(100)], "OK"),
        ([("x-pad-bin", bytes(range(256)))], "OK"),
        ([("x-request-id-bin", b"\xff\0\x1b")], "OK"),
        ([("authorization-bin", b"Bearer x")], "OK"),
    ],
)
def test_headers_are_bounded(app: Deployment, person: Person, headers: list[tuple[str, Any]], status: str) -> None:
    assert ask(app, PROFILE, b"", None, *person.metadata, *headers).status == status
    assert serves(app)


@pytest.mark.parametrize("mode", ["BODY", "", "body,status", "body ", "x" * 1000, "0"])
def test_an_unknown_error_mode_is_ignored(app: Deployment, mode: str) -> None:
    assert ask(app, PROFILE, b"", None, ("x-gochat-error-mode", mode)).status == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "path", ["/", "/x", "/gochat.api.logic.v1.LogicService/", LOGIC + "sendMessage", "/LogicService/SendMessage", "//"]
)
def test_an_unknown_rpc_is_unimplemented(app: Deployment, path: str) -> None:
    for metadata in ((), (None,)):
        assert ask(app, path, b"\xff", *metadata).status == "UNIMPLEMENTED"


ODD_IDS = [b"a\r\nx-evil: 1", b"\x1b[2Jx", b"a\x00b", b"a\x7fb", b"a\tb", b"r" * 80 + b"\x1b", b"\xc3\xa9"]


@pytest.mark.parametrize("given", ODD_IDS)
def test_a_request_id_unfit_for_a_log_is_neither_echoed_nor_logged(app: Deployment, given: bytes) -> None:
    mark = fresh("mark").encode()
    said = on_the_wire(
        app.address, http2([*plain_headers(PROFILE.encode()), (b"x-request-id", mark + given)], b"\0" * 5)
    )
    assert mark not in said
    assert mark.decode() not in app.logs()
    assert serves(app)


def test_no_input_writes_lines_into_the_log(app: Deployment) -> None:
    evil = hostile.ESCAPES
    user = app.person()
    for path in RPCS:
        for one in hostile.strings(path):
            request = plausible(path)
            if one.message_type:
                request.metadata[evil[:60]] = evil
            elif one.is_repeated:
                getattr(request, one.name).append(evil)
            else:
                setattr(request, one.name, evil)
            ask(app, path, request)
            ask(app, path, request, None, *user.metadata)
    for path in (b"/x\x1b[2J/y", b"/a\nb/c", b"/" + evil.encode(), LOGIC.encode() + b"\x1b[2J"):
        on_the_wire(app.address, http2(plain_headers(path), b"\0" * 5))
    for name in (b"authorization", b"x-gochat-actor", b"x-forwarded-for", b"x-gochat-error-mode", b"user-agent"):
        for value in (b"a\x1b[2J", b"Bearer \x1b[2J.x.y", b"1.2.3.4\x1b"):
            on_the_wire(app.address, http2([*plain_headers(PROFILE.encode()), (name, value)], b"\0" * 5))
    logged = app.logs()
    assert CONTROLS.findall(logged) == []
    assert [line for line in logged.split("\n") if line and not LOG_LINE.match(line)] == []


def test_header_bytes_that_are_not_utf8_log_no_error(app: Deployment) -> None:
    mark = fresh("mark").encode()
    headers = [*plain_headers(PROFILE.encode()), (b"authorization", b"Bearer " + mark + b"\xff")]
    on_the_wire(app.address, http2(headers, b"\0" * 5), timeout=0.3)
    assert not [line for line in app.logs().splitlines() if " ERROR " in line and mark.decode() in line]


def test_refused_calls_do_not_use_a_connection_up(own: Own, tmp_path: Path) -> None:
    # A connection has 128 streams. With the collector off, what only it would free becomes visible.
    (tmp_path / "sitecustomize.py").write_text("import gc; gc.disable()\n")
    app = own(env={"PYTHONPATH": str(tmp_path)})
    nobody = (None,)
    one, nowhere = (
        logic_pb2.GetUserProfileRequest(user_id="u"),
        logic_pb2.JoinGroupRequest(group_id="g", user_id="u"),
    )
    for path, data, metadata, status in (
        (PROFILE, b"", nobody, "UNAUTHENTICATED"),
        (PROFILE, b"\xff", (), "INVALID_ARGUMENT"),
        (PROFILE, one, (), "NOT_FOUND"),
        (PROFILE, one, (("x-gochat-error-mode", "body"),), "OK"),
        (LOGIC + "JoinGroup", nowhere, (), "NOT_FOUND"),  # refused where it is written
    ):
        answer = Counter(ask(app, path, data, *metadata).status for _ in range(150))
        assert answer == {status: 150}, (path, data, metadata)
