"""JSON that others wrote: numbers without end, and what is nested without end."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from gochat.api.logic.v1 import logic_pb2
from gochat.commands.chatlog import read_log
from gochat.commands.user_import import _json_lines
from gochat.errors import ChatError
from gochat.jsontext import loads
from gochat.web.decoding import from_json

LONG = "9" * 5_000


@pytest.mark.parametrize("text", ['{"a": [1, -2, 2.5, 1e3, "é"], "b": null}', "0", '"\\ud800"', "\ufeff[]"])
def test_what_is_json_is_read_as_ever(text: str) -> None:
    assert loads(text.encode()) == json.loads(text.encode())


def test_a_number_too_long_is_infinite_and_costs_nothing_beside_it() -> None:
    assert loads(f'{{"a": {LONG}, "b": -{LONG}, "c": {"9" * 300}}}') == {
        "a": math.inf,
        "b": -math.inf,
        "c": int("9" * 300),
    }


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff", "[1,]", LONG + "x"])
def test_what_is_no_json_is_a_value_error(text: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        loads(text)


def test_a_request_is_refused_for_the_field_that_has_it_and_for_no_other() -> None:
    found: Any = from_json(logic_pb2.GetGroupInfoRequest, f'{{"group_id": "g", "unknown": {LONG}}}'.encode())
    assert found.group_id == "g"
    for field in ("limit", "page"):
        body = f'{{"query": "a", "pagination": {{"{field}": {LONG}}}}}'.encode()
        with pytest.raises(ChatError, match=f"pagination.{field} must be a whole number"):
            from_json(logic_pb2.SearchUsersRequest, body)


def test_a_file_of_users_refuses_the_line_for_its_field(tmp_path: Path) -> None:
    users = tmp_path / "users.jsonl"
    users.write_text(f'{{"username": "ann"}}\n{{"username": "b", "email": {LONG}}}\n{{"username": "eve"}}\n')
    first, second, third = (entry for _, entry in _json_lines(users))
    assert (getattr(first, "username", ""), second, getattr(third, "username", "")) == (
        "ann",
        "email is not text",
        "eve",
    )


def test_a_chat_log_names_the_line_and_the_rule(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for line, rule in ((f'"at": {LONG}', "at must be a whole number"), ('"at": ' + "[" * 100_000, "nested too deeply")):
        log.write_text(f'{{"room": "r", "sender": "a", "content": "c", {line}}}\n')
        with pytest.raises(SystemExit, match=rf"log\.jsonl:1: .*{rule}"):
            list(read_log([str(log)]))
