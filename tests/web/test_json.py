"""JSON of messages: as json_format of the protobuf package has it, and errors that name the field."""

import json
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2, type_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from gochat.api.common.v1 import common_pb2
from gochat.api.event.v1 import event_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.errors import ChatError
from gochat.services import SERVICES, Audience, rpcs
from gochat.web.decoding import from_json
from gochat.web.encoding import to_json

TYPES = sorted(
    {
        described.full_name: GetMessageClass(described)
        for rpc in rpcs(each for each in SERVICES if each.audience in (Audience.APPS, Audience.BACKENDS)).values()
        for described in (rpc.input_type, rpc.output_type)
    }.items()
)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type:
        return messages(field.message_type, depth + 1)
    if field.enum_type:
        return st.sampled_from([value.number for value in field.enum_type.values] + [4242])
    if field.cpp_type in _RANGES:
        return st.integers(*_RANGES[field.cpp_type])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.floats(width=32 if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT else 64, allow_nan=False)
    return st.binary(max_size=8) if field.type == FieldDescriptor.TYPE_BYTES else TEXT


@st.composite
def messages(draw: st.DrawFn, described: Descriptor, depth: int = 0) -> Message:
    message = GetMessageClass(described)()
    fields = (
        draw(st.lists(st.sampled_from(list(described.fields)), max_size=5)) if described.fields and depth < 4 else ()
    )
    for field in fields:
        entry = field.message_type and field.message_type.GetOptions().map_entry
        if entry:
            key, value = (values(field.message_type.fields_by_name[name], depth) for name in ("key", "value"))
            for name, drawn in draw(st.dictionaries(key, value, max_size=2)).items():
                getattr(message, field.name)[name] = drawn
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values(field, depth), max_size=3)))
        elif field.message_type:
            getattr(message, field.name).CopyFrom(draw(values(field, depth)))
        else:
            setattr(message, field.name, draw(values(field, depth)))
    return message


@pytest.mark.parametrize("kind", dict(TYPES).values(), ids=dict(TYPES))
def test_as_json_format(kind: type[Message]) -> None:
    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(messages(kind.DESCRIPTOR))
    def compare(message: Message) -> None:
        written = to_json(message)
        assert json.loads(written) == json.loads(json_format.MessageToJson(message))
        assert from_json(kind, written) == message
        original_names = json_format.MessageToJson(message, preserving_proto_field_name=True)
        assert from_json(kind, original_names.encode()) == message

    compare()


def test_kinds_of_fields_that_the_api_does_not_have() -> None:
    """type.proto and struct.proto are of protobuf itself, so these go to json_format; field.proto has the rest."""
    value = struct_pb2.Value(list_value={"values": [{"number_value": 1.5}, {"null_value": 0}, {"string_value": "x"}]})
    assert from_json(struct_pb2.Value, to_json(value)) == value
    assert json.loads(to_json(type_pb2.Option(name="x"))) == {"name": "x"}


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (logic_pb2.SendMessageRequest, '{"content": 5}', "content"),
        (logic_pb2.SendMessageRequest, '{"content": "\\ud800"}', "content"),
        (logic_pb2.SendMessageRequest, '{"metadata": []}', "metadata"),
        (logic_pb2.SendMessageRequest, '{"metadata": {"a": 1}}', "metadata[a]"),
        (logic_pb2.SendMessageRequest, '{"content": "a", "content": {}}', "content"),
        (logic_pb2.GetMessageHistoryRequest, '{"limit": 1.5}', "limit"),
        (logic_pb2.GetMessageHistoryRequest, '{"limit": 2147483648}', "limit"),
        (logic_pb2.GetMessageHistoryRequest, '{"limit": true}', "limit"),
        (logic_pb2.GetMessageHistoryRequest, '{"limit": "1_0"}', "limit"),
        (logic_pb2.GetConversationsRequest, '{"pagination": {"page": "x"}}', "pagination.page"),
        (logic_pb2.GetConversationsRequest, '{"pagination": 3}', "pagination"),
        (event_pb2.SubscribeRequest, '{"presenceUserIds": ["a", 1]}', "presence_user_ids[1]"),
        (event_pb2.SubscribeRequest, '{"presenceUserIds": ["a"], "presence_user_ids": []}', "presence_user_ids"),
        (event_pb2.SubscribeRequest, '{"typing": "true"}', "typing"),
        (common_pb2.ErrorResponse, '{"code": "NO_SUCH_CODE"}', "code"),
        (logic_pb2.SendMessageRequest, "[]", "request"),
        (logic_pb2.SendMessageRequest, "", "request"),
        (logic_pb2.SendMessageRequest, "{", "request"),
        (logic_pb2.GetMessageHistoryRequest, '{"limit": NaN}', "request"),
        (logic_pb2.GetMessageHistoryRequest, '{"limit": ' + "9" * 5000 + "}", "limit"),
        (logic_pb2.SendMessageRequest, "[" * 100_000, "request"),
    ],
)
def test_an_error_names_the_field(kind: type[Message], body: str, field: str) -> None:
    with pytest.raises(ChatError) as raised:
        from_json(kind, body.encode())
    assert list(raised.value.fields) == [field]
    assert raised.value.reason == "MALFORMED"


def test_what_is_accepted() -> None:
    request = logic_pb2.GetMessageHistoryRequest(conversation_id="c", limit=20)
    for body in (
        '{"conversationId": "c", "limit": 20}',
        '{"conversation_id": "c", "limit": "20"}',
        '{"conversationId": "c", "limit": 2e1, "notAField": {"a": [1]}}',
        '{"conversationId": "c", "limit": 20, "beforeMessageId": null}',
    ):
        assert from_json(logic_pb2.GetMessageHistoryRequest, body.encode()) == request
    assert from_json(common_pb2.ErrorResponse, b'{"code": 1001}').code == 1001  # type: ignore[attr-defined]
