"""Messages as JSON: the proto3 mapping, with an encoder for each message type, made once from its descriptor.

`json_format` of the protobuf package looks at every field's type again for every message, in Python; here that is done
once, and a field costs one look into a dictionary. Well-known types, whose JSON is peculiar, go to `json_format`.
"""

import json
import math
import struct
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

Encode = Callable[[Any], Any]
"""A value of a field -> what json.dumps takes."""

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_json(message: Message) -> bytes:
    """Fields under their lowerCamelCase names; those with their default values are left out."""
    return _dumps(_encoder(message.DESCRIPTOR)(message)).encode()


def is_well_known(descriptor: Descriptor) -> bool:
    return descriptor.file.package == "google.protobuf"


@cache
def _encoder(descriptor: Descriptor) -> Encode:
    if is_well_known(descriptor):
        return json_format.MessageToDict
    fields: dict[int, tuple[str, Encode | None]] = {}

    def encode(message: Message) -> dict[str, Any]:
        encoded = {}
        for field, value in message.ListFields():
            known = fields.get(field.number)
            if known is None:  # the first message that has this field: so types may refer to themselves
                known = fields[field.number] = field.json_name, _of_field(field)
            name, of_value = known
            encoded[name] = of_value(value) if of_value else value
        return encoded

    return encode


def _of_field(field: FieldDescriptor) -> Encode | None:
    """None where the value goes as it is."""
    if field.message_type and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name
        to_key, to_value = _key(entry["key"]), _single(entry["value"]) or _itself
        return lambda values: {to_key(key): to_value(values[key]) for key in values}
    single = _single(field)
    if not field.is_repeated:
        return single
    return (lambda values: [single(value) for value in values]) if single else list


def _single(field: FieldDescriptor) -> Encode | None:
    """Of one value of the field."""
    if field.message_type:
        return _encoder(field.message_type)
    if field.enum_type:
        return _enum(field.enum_type)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64):
        return str
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return _double
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return _float
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: b64encode(value).decode()
    return None


def _key(field: FieldDescriptor) -> Encode:
    return (lambda key: "true" if key else "false") if field.type == FieldDescriptor.TYPE_BOOL else str


def _enum(descriptor: EnumDescriptor) -> Encode:
    if descriptor.full_name == "google.protobuf.NullValue":
        return lambda _: None
    names = {number: value.name for number, value in descriptor.values_by_number.items()}
    return lambda number: names.get(number, number)


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _float(value: float) -> float | str:
    """The shortest decimal that is the same float of 32 bits."""
    if not math.isfinite(value):
        return _double(value)
    for digits in (6, 7, 8):
        shortest = float(f"{value:.{digits}g}")
        if struct.pack("f", shortest) == struct.pack("f", value):
            return shortest
    return value


def _itself(value: Any) -> Any:
    return value
