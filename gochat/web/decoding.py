"""JSON as messages: the proto3 mapping, with a decoder for each message type, made once from its descriptor.

Fields are known by their lowerCamelCase and by their original names; unknown ones are ignored, null is a field that is
not there. What a field cannot hold is an error that names it, as `messages[1].metadata`. Well-known types go to
`json_format`.
"""

import binascii
import json
import math
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gochat.errors import ChatError, invalid
from gochat.jsontext import whole
from gochat.web.encoding import is_well_known

MAX_DEPTH = 100  # of messages in messages, as in protobuf

Decode = Callable[[Any, str, int], Any]
"""(value of json.loads, the field's path, depth) -> what the field is set to. Raises ChatError."""

_LITERALS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_MAX_FLOAT = 3.4028235677973366e38  # beyond it rounding to 32 bits gives infinity


def from_json(kind: type[Message], data: bytes) -> Message:
    """Raises ChatError."""
    try:
        value = _loads(data.decode())
    except UnicodeDecodeError:
        raise malformed("request", "is not UTF-8") from None
    except (ValueError, RecursionError):
        raise malformed("request", f"is not a {kind.DESCRIPTOR.name} in JSON") from None
    message: Message = _decoder(kind.DESCRIPTOR)(value, "", 0)
    return message


def malformed(name: str, rule: str) -> ChatError:
    return invalid(name, rule, "MALFORMED")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_loads = json.JSONDecoder(parse_int=whole, parse_constant=_no_constant).decode


@cache
def _decoder(descriptor: Descriptor) -> Decode:
    kind = GetMessageClass(descriptor)
    if is_well_known(descriptor):
        return lambda value, path, _: _well_known(kind, value, path)
    names = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    known: dict[str, tuple[str, str, Decode]] = {}  # name in JSON -> name, its oneof or itself, decoder

    def decode(value: Any, path: str, depth: int) -> Message:
        if not isinstance(value, dict):
            raise malformed(path or "request", "must be an object")
        if depth >= MAX_DEPTH:
            raise malformed(path, "is nested too deeply")
        fields, seen = {}, set()
        for key, element in value.items():
            if key not in known:
                if key not in names:
                    continue
                known[key] = _known(names[key])
            name, slot, of_value = known[key]
            if element is None and not _takes_null(names[key]):
                continue
            where = f"{path}.{name}" if path else name
            if slot in seen:
                raise malformed(where, "is there twice, or beside another of the same oneof")
            seen.add(slot)
            fields[name] = of_value(element, where, depth + 1)
        return _made(kind, fields, path)

    return decode


def _known(field: FieldDescriptor) -> tuple[str, str, Decode]:
    return field.name, field.containing_oneof.full_name if field.containing_oneof else field.name, _of_field(field)


def _made(kind: type[Message], fields: dict[str, Any], path: str) -> Message:
    try:
        return kind(**fields)
    except (ValueError, TypeError):  # text with half of a surrogate pair
        for name, value in fields.items():
            try:
                kind(**{name: value})
            except (ValueError, TypeError):
                raise malformed(f"{path}.{name}" if path else name, "is not valid Unicode") from None
        raise


def _takes_null(field: FieldDescriptor) -> bool:
    nullable = {"google.protobuf.Value", "google.protobuf.NullValue"}
    described = field.message_type or field.enum_type
    return not field.is_repeated and described is not None and described.full_name in nullable


def _of_field(field: FieldDescriptor) -> Decode:
    if field.message_type and field.message_type.GetOptions().map_entry:
        return _map(field.message_type)
    single = _single(field)
    if not field.is_repeated:
        return single

    def decode(value: Any, path: str, depth: int) -> list[Any]:
        if not isinstance(value, list):
            raise malformed(path, "must be an array")
        return [single(element, f"{path}[{index}]", depth) for index, element in enumerate(value)]

    return decode


def _map(entry: Descriptor) -> Decode:
    to_key, to_value = _key(entry.fields_by_name["key"]), _single(entry.fields_by_name["value"])

    def decode(value: Any, path: str, depth: int) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise malformed(path, "must be an object")
        return {
            to_key(key, path, depth): to_value(element, f"{path}[{key[:64]}]", depth) for key, element in value.items()
        }

    return decode


def _key(field: FieldDescriptor) -> Decode:
    if field.cpp_type != FieldDescriptor.CPPTYPE_BOOL:
        return _single(field)

    def decode(key: str, path: str, depth: int) -> bool:  # noqa: ARG001 - a Decode
        if key not in ("true", "false"):
            raise malformed(path, "must have the keys true and false")
        return key == "true"

    return decode


def _single(field: FieldDescriptor) -> Decode:
    """Of one value of the field."""
    if field.message_type:
        return _decoder(field.message_type)
    if field.enum_type:
        return _enum(field.enum_type)
    if field.cpp_type in _BITS:
        return _integer(*_BITS[field.cpp_type])
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return _number(math.inf if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE else _MAX_FLOAT)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes
    return _boolean if field.type == FieldDescriptor.TYPE_BOOL else _text


def _text(value: Any, path: str, _: int) -> str:
    if type(value) is not str:
        raise malformed(path, "must be a string")
    return value


def _boolean(value: Any, path: str, _: int) -> bool:
    if type(value) is not bool:
        raise malformed(path, "must be true or false")
    return value


def _bytes(value: Any, path: str, _: int) -> bytes:
    try:
        text = value.replace("-", "+").replace("_", "/").rstrip("=")
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (AttributeError, ValueError, binascii.Error):
        raise malformed(path, "must be a string of base64") from None


def _integer(minimum: int, maximum: int) -> Decode:
    def decode(value: Any, path: str, _: int) -> int:
        try:
            if type(value) is str and value.strip() == value and "_" not in value:
                value = int(value) if value.removeprefix("-").isdigit() else float(value)
            if type(value) is float and value.is_integer():
                value = int(value)
        except ValueError:
            pass
        if type(value) is not int or not minimum <= value <= maximum:
            raise malformed(path, f"must be a whole number from {minimum} to {maximum}")
        return value

    return decode


def _number(maximum: float) -> Decode:
    def decode(value: Any, path: str, _: int) -> float:
        if type(value) is str and value in _LITERALS:
            return _LITERALS[value]
        try:
            if type(value) is str and value.strip() == value and "_" not in value:
                value = float(value)
            if type(value) in (int, float) and math.isfinite(value) and abs(value) <= maximum:
                return float(value)
        except (ValueError, OverflowError):
            pass
        raise malformed(path, "must be a number that fits")

    return decode


def _enum(descriptor: EnumDescriptor) -> Decode:
    numbers = {name: value.number for name, value in descriptor.values_by_name.items()}
    as_number = _integer(*_BITS[FieldDescriptor.CPPTYPE_INT32])
    if descriptor.full_name == "google.protobuf.NullValue":
        numbers[""] = 0

    def decode(value: Any, path: str, depth: int) -> int:
        if value is None:  # NullValue; elsewhere null does not come here but in an array
            value = "" if "" in numbers else value
        if type(value) is str:
            if value not in numbers:
                raise malformed(path, f"must be one of {', '.join(name for name in numbers if name)}")
            return numbers[value]
        number: int = as_number(value, path, depth)
        return number

    return decode


def _well_known(kind: type[Message], value: Any, path: str) -> Message:
    try:
        return json_format.ParseDict(value, kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, RecursionError, AttributeError):
        raise malformed(path or "request", f"is not a {kind.DESCRIPTOR.full_name}") from None
