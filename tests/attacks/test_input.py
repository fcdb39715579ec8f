"""Hostile requests: bytes, text, numbers and headers that a client of good will never sends."""

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from gochat.api.logic.v1 import logic_pb2
from gochat.api.webhook.v1.webhook_pb2 import CreateWebhookRequest
from gochat.api.webhook.v1.webhook_pb2_grpc import WebhookServiceStub
from tests.attacks.fuzz import INTERNAL_TEXT, on_the_wire
from tests.attacks.strategies import RPCS, http2, plain_headers
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, Person, as_service, fresh, refused
from tests.push.service import Subscription

LOGIC, REPO, ACCOUNT = "/gochat.api.logic.v1.LogicService/", "/gochat.api.repo.v1.RepoService/", "account.v1."
SEND, PROFILE = LOGIC + "SendMessage", LOGIC + "GetUserProfile"
VALIDATE = LOGIC + "ValidateToken"
MAX32, MAX64 = 2**31 - 1, 2**63 - 1
ESCAPES = "a\r\n2026-01-01 00:00:00,000 ERROR [-] forged\x1b[2J\u202e\u2028\x85"
METACHARACTERS = ["%", "_", "\\", "';DROP/**/TABLE/**/users;--", "?", "%s", "%(x)s", "\\%", '"', "$1", ":1"]
BIDI = ["\u202a", "\u202e", "\u2066", "\u2069"]


class Answer(NamedTuple):
    status: str
    reason: str = ""
    fields: tuple[str, ...] = ()
    text: str = ""


@pytest.fixture(scope="module")
def app(own_of_module: Own) -> Deployment:
    """For what does not depend on the database."""
    return own_of_module(env={"GOCHAT_LOG_LEVEL": "debug", "GOCHAT_AUTH_REGISTRATION": "open"})


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, own_of_module: Own) -> Deployment:
    if request.param == "sqlite":
        app: Deployment = request.getfixturevalue("app")
        return app
    return own_of_module("postgres", env={"GOCHAT_AUTH_REGISTRATION": "open"})


@pytest.fixture(scope="module")
def person(app: Deployment) -> Person:
    return app.person(password=PASSWORD)


def ask(app: Deployment, path: str, data: bytes | Message, *metadata: Any, **options: Any) -> Answer:
    """What a service is answered; metadata: more of it, or instead of its token if that begins with None."""
    raw = data if isinstance(data, bytes) else data.SerializeToString()
    sent = metadata[1:] if metadata[:1] == (None,) else (*app.service, *metadata)
    try:
        app.channel.unary_unary(path)(raw, metadata=sent, timeout=30, **options)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status_pb2.Status.FromString(packed).details:
            detail.Unpack(info) or detail.Unpack(bad)
        fields = tuple(violation.field for violation in bad.field_violations)
        text = f"{error.details()} {packed.decode('latin-1')}"
        return Answer(error.code().name, info.reason, fields, text)
    return Answer("OK")


def serves(app: Deployment) -> bool:
    return ask(app, VALIDATE, logic_pb2.ValidateTokenRequest(token="x")).status == "OK"


def request_class(path: str) -> Callable[..., Any]:
    return GetMessageClass(RPCS[path].input_type)


def strings(path: str) -> list[FieldDescriptor]:
    """The fields with text in them; deeper ones are in maps, and in the messages of tests/logic/test_bulk.py."""
    return [
        one
        for one in RPCS[path].input_type.fields
        if one.type == FieldDescriptor.TYPE_STRING or (one.message_type and one.message_type.GetOptions().map_entry)
    ]


def plausible(path: str, **known: str) -> Any:
    """A request whose every field has a value of the right form. known: ids to use."""
    words = {
        "email": "a@example.com",
        "before_event_id": "~",
        "message_type": "text",
        "type": "group",
        "action": "key.rotate",
        "reaction": "👍",
        "field": "bio",
        "url": "https://hook.invalid/",
        "state": "parked",
        "platform": "webpush",
        **{name: Subscription("").fields[name] for name in ("p256dh", "auth")},
    } | known
    words["role"] = "user" if ACCOUNT in path or ".user.v1." in path else "member"
    request = request_class(path)()
    for one in strings(path):
        value = words.get(one.name, words.get(one.name.removesuffix("s"), "plausible"))
        if one.message_type:
            request.metadata["k"] = "v"
        elif one.is_repeated:
            getattr(request, one.name).append(value)
        else:
            setattr(request, one.name, value)
    for name, value in {"expires_at": MAX64, "status": 2, "max_members": 9, "seconds": 1}.items():
        if name in RPCS[path].input_type.fields_by_name:
            setattr(request, name, value)
    return request


def with_nul(path: str) -> Iterator[tuple[str, Any]]:
    """(field that must be named, request) for each text of a request."""
    for one in strings(path):
        request = plausible(path)
        if one.message_type:
            request.metadata["k"] = "a\0b"
            yield "metadata[k]", request
            request = plausible(path)
            request.metadata["a\0b"] = "v"
            yield "metadata", request
        elif one.is_repeated:
            getattr(request, one.name).append("a\0b")
            yield f"{one.name}[1]", request
        else:
            setattr(request, one.name, "a\0b")
            yield "mentions[0]" if one.name == "mentions" else one.name, request  # ids with commas between them


def test_nul_is_refused_in_every_text_of_every_request(either: Deployment) -> None:
    wrong = {
        (path, field): answer
        for path in RPCS
        for field, request in with_nul(path)
        if (answer := ask(either, path, request))[:3] != ("INVALID_ARGUMENT", "INVALID_FIELD", (field,))
    }
    assert wrong.pop((VALIDATE, "token")).status == "OK"
    assert wrong == {}
    checked = either.logic.ValidateToken(logic_pb2.ValidateTokenRequest(token="a\0b"), metadata=either.service)
    assert not checked.valid


def test_text_that_is_not_utf8_is_refused_in_every_field_of_every_request(app: Deployment) -> None:
    wrong = {}
    for path in RPCS:
        for one in strings(path):
            text = b"\x0a\x02\xff\xfe"  # of a map the key, else the text with two bytes before it
            data = bytes([one.number << 3 | 2, len(text)]) + text if one.message_type else b""
            for value in (b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"):
                data = data or bytes([one.number << 3 | 2, len(value)]) + value
                answer = ask(app, path, data)
                if answer[:3] != ("INVALID_ARGUMENT", "MALFORMED", ("request",)) or INTERNAL_TEXT.search(answer.text):
                    wrong[path, one.name, value] = answer
                data = data if one.message_type else b""
    assert wrong == {}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x22\x05abcd", "MALFORMED"),  # shorter than it says
        (b"\x22\xff\xff\xff\xff\x0fx", "MALFORMED"),
        (b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "MALFORMED"),
        (b"\x22", "MALFORMED"),
        (b"\x27\x00", "MALFORMED"),  # a wire type that there is not
        (b"\x00\x00", "MALFORMED"),  # field 0
        (b"\x7b" * 10_000 + b"\x7c" * 10_000, "MALFORMED"),  # groups in groups
        (b"\x7b" * 100_000, "MALFORMED"),
        (b"\x7c", "MALFORMED"),  # the end of a group that did not begin
        (b"\x20\x01", "INVALID_FIELD"),  # a number where text belongs is an unknown field
        (b"\x25abcd", "INVALID_FIELD"),
    ],
)
def test_broken_messages_are_refused(app: Deployment, data: bytes, expected: str) -> None:
    answer = ask(app, SEND, data)
    assert answer[:2] == ("INVALID_ARGUMENT", expected)
    assert not INTERNAL_TEXT.search(answer.text)
    assert serves(app)


def test_unknown_fields_of_a_message_are_ignored(person: Person, app: Deployment) -> None:
    known = logic_pb2.GetUserProfileRequest(user_id=person.id).SerializeToString()
    for unknown in (b"\xc2\x3e\x03\xff\xfe\x00", b"\x7b\x7b\x7c\x7c", b"\xf8\x01" + b"\xff" * 9 + b"\x01"):
        assert ask(app, PROFILE, known + unknown).status == "OK"


def test_garbage_on_the_wire_leaves_the_server_serving(app: Deployment) -> None:
    headers, size = plain_headers(PROFILE.encode()), struct.pack(">I", 5)
    for data in (
        b"\0" * 1000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 500,
        http2(headers, b"\xff" * 100),
        http2(headers, b"\x01" + size + b"abcde"),  # compressed, it says, and not how
        http2(headers, b"\0" + size + b"abc"),
        http2(headers, b"\0\xff\xff\xff\xff"),
        http2(headers, b""),
        http2([(b":path", b"/")] * 3, b""),
    ):
        assert not INTERNAL_TEXT.search(on_the_wire(app.address, data).decode("latin-1"))
    assert serves(app)


@pytest.mark.parametrize(
    ("disguise", "status"),
    [
        (str.upper, "ALREADY_EXISTS"),
        (lambda name: name.replace("a", "\u0430"), "ALREADY_EXISTS"),  # Cyrillic
        (lambda name: name.replace("o", "\u03bf"), "ALREADY_EXISTS"),  # Greek
        (lambda name: name.replace("A", "\u0391").replace("a", "\u0391"), "ALREADY_EXISTS"),  # a Greek capital
        (lambda name: name.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)}), "ALREADY_EXISTS"),  # wide
        (lambda name: name.replace("a", "\u24d0"), "ALREADY_EXISTS"),  # in a circle
        (lambda name: name.replace("fi", "\ufb01"), "ALREADY_EXISTS"),  # a ligature
        *((lambda name, mark=mark: name + mark, "INVALID_ARGUMENT") for mark in "\u200b\u200d\u2060\ufeff\u00ad\u200e"),
        *((lambda name, mark=mark: mark + name, "INVALID_ARGUMENT") for mark in "\u202e\u2066\u0301\U000e0061\ue000"),
        *((lambda name, mark=mark: name + mark, "INVALID_ARGUMENT") for mark in " \u3000\u2028\n\x1b\x7f"),
        (lambda name: name + "\u0323\u0323\u0323\u0323", "INVALID_ARGUMENT"),
    ],
)
def test_usernames_that_look_like_a_taken_one_are_refused(
    either: Deployment, disguise: Callable[[str], str], status: str
) -> None:
    name = fresh("alfio")
    either.create_user(name)
    request = request_class(REPO + "CreateUser")(username=disguise(name), password=PASSWORD)
    answer = ask(either, REPO + "CreateUser", request)
    assert (answer.status, answer.fields) == (status, ("username",))
    search = logic_pb2.SearchUsersRequest(query=name)
    assert len(either.logic.SearchUsers(search, metadata=either.service).users) == 1


@pytest.mark.parametrize("invisible", ["\u3164", "\u115f", "\uffa0", "\u034f", "\ufe0f", "\u17b4", "\u2800"])
def test_invisible_letters_are_refused_in_usernames(app: Deployment, invisible: str) -> None:
    name = fresh("alice")
    app.create_user(name)
    with refused("INVALID_ARGUMENT", "username"):
        as_service(app).repo.CreateUser(username=name + invisible, password=PASSWORD)


def test_control_characters_are_refused_in_every_display_name(app: Deployment) -> None:
    seen = [
        (path, one.name)
        for path in RPCS
        for one in strings(path)
        if one.name in ("name", "nickname") and ".reader." not in path
    ]
    assert len(seen) >= 12
    for path, field in seen:
        for control in [*BIDI, "\n", "\x1b[2J", "\x85"]:
            request = plausible(path)
            setattr(request, field, f"ann{control}x")
            assert ask(app, path, request)[:3] == ("INVALID_ARGUMENT", "INVALID_FIELD", (field,)), (path, control)


def test_sql_metacharacters_are_searched_literally(either: Deployment) -> None:
    prefix, person = fresh("sql"), either.person(password=PASSWORD)
    created = {odd: either.create_user(f"{prefix}{odd}z") for odd in METACHARACTERS}
    created["x"] = either.create_user(f"{prefix}xz")  # what a wildcard would match
    for odd, user_id in created.items():
        for query in (f"{prefix}{odd}z", f"{prefix}{odd}Z"):
            assert [user.user_id for user in person.SearchUsers(query=query).users][:1] == [user_id]
        literal = {other: one for other, one in created.items() if f"{prefix}{odd}" in f"{prefix}{other}z"}
        found = person.SearchUsers(query=f"{prefix}{odd}").users
        assert {user.user_id for user in found} == set(literal.values()), odd
        either.signed_in(user_id, f"{prefix}{odd}z")
    assert not person.SearchUsers(query="'; DROP TABLE users; --").users


def test_sql_metacharacters_are_kept_as_sent(either: Deployment) -> None:
    person, friend = either.people(2, PASSWORD)
    texts = [*METACHARACTERS, "'; DROP TABLE users; --", "\\x00", "\\u0000", '{"a": 1}', "\N{GRINNING FACE}", ESCAPES]
    for text in texts:
        person.send(friend.id, text, metadata={"client_msg_id": text[:20], text[:20]: text})
        person.UpdateUserProfile(nickname="n" + text[:9] if text.isprintable() else "n", bio=text, avatar=text)
        assert friend.GetUserProfile(user_id=person.id).profile.bio == text
    page = friend.GetMessageHistory(conversation_id=person.GetConversations().conversations[0].conversation_id)
    assert [message.content for message in page.messages] == list(reversed(texts))
    assert [message.metadata[text[:20]] for message, text in zip(page.messages, reversed(texts), strict=True)] == list(
        reversed(texts)
    )


def test_ids_are_never_interpreted_as_sql(either: Deployment) -> None:
    person, service = either.person(password=PASSWORD), as_service(either)
    for odd in [*METACHARACTERS, "' OR '1'='1", "u' --", "*"]:
        for call in (
            lambda odd=odd: person.GetUserProfile(user_id=odd),
            lambda odd=odd: person.GetMessageHistory(conversation_id=odd),
            lambda odd=odd: person.GetGroupInfo(group_id=odd),
            lambda odd=odd: service.repo.GetGroupsByUser(user_id=odd),
            lambda odd=odd: service.repo.DeleteMessage(message_id=f"{odd}-000000000001", user_id=odd),
        ):
            with refused("NOT_FOUND"):
                call()
        found = service.repo.GetUsers(user_ids=[odd, person.id, f"{odd}'"]).users
        assert [user.user_id for user in found] == [person.id]


def paged(path: str) -> list[str]:
    names = [one.name for one in RPCS[path].input_type.fields]
    nested = [f"pagination.{name}" for name in ("page", "limit") if "pagination" in names]
    return nested + [name for name in ("limit", "offset") if name in names]


def test_a_request_that_names_neither_a_user_nor_the_service_is_refused(either: Deployment) -> None:
    person = either.person(password=PASSWORD)
    known = {"user_id": person.id, "conversation_id": person.CreateGroup(name="Acting").group_id}
    known |= {"group_id": known["conversation_id"]}
    paths = [path for path in RPCS if "acting" in RPCS[path].input_type.oneofs_by_name]
    assert len(paths) == 32
    for path in paths:
        request = plausible(path, **known)
        request.ClearField("acting")
        assert ask(either, path, request)[:3] == ("INVALID_ARGUMENT", "INVALID_FIELD", ("user_id",)), path


def test_pages_are_neither_negative_nor_unbounded(either: Deployment) -> None:
    person = either.person(password=PASSWORD)
    group_id = person.CreateGroup(name="Pages").group_id
    message_id = person.send(group_id).message_id
    known = {"user_id": person.id, "group_id": group_id, "conversation_id": group_id}
    known |= {"query": person.username, "message_id": message_id, "before_message_id": message_id}
    hook = CreateWebhookRequest(url="https://hook.invalid/", filter={"conversation_ids": ["none"]})
    made = WebhookServiceStub(either.channel).CreateWebhook(hook, metadata=either.service)
    known |= {"after_message_id": message_id, "page_token": "", "webhook_id": made.webhook.webhook_id}
    paths = {path: fields for path in RPCS if (fields := paged(path))}
    assert len(paths) >= 10
    for path, fields in paths.items():
        for values in ((0, 0), (MAX32, 0), (MAX32, 100), (2, 1)):
            request = plausible(path, **known)
            getattr(request, "message_ids", [])[:] = []
            for field in fields:
                set_in(request, field, values[field.endswith("limit")])
            assert ask(either, path, request).status == "OK", (path, values)
        for field in fields:
            most = 500 if path.endswith("State") or path.endswith("States") else 200
            for value in (-1, -(2**31), *([MAX32, most + 1] if field.endswith("limit") else [])):
                request = plausible(path, **known)
                set_in(request, field, value)
                assert ask(either, path, request)[:3] == ("INVALID_ARGUMENT", "INVALID_FIELD", (field,)), path


def set_in(request: Any, field: str, value: int) -> None:
    first, _, rest = field.partition(".")
    setattr(getattr(request, first) if rest else request, rest or first, value)
