"""What a log entry holds, and the line that it becomes, as text or JSON."""

import json
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from google.rpc import code_pb2

from gochat.context import Caller, current
from gochat.errors import MAX_CAUSES

CALLS = "gochat.calls"  # the logger named in the lines of calls; these entries do not pass through `logging`
FRAME_BYTES = 500  # what a frame of a traceback is taken to occupy in memory

# Types of exceptions whose text is shown. These are errors of the database drivers: their first lines name tables,
# statements and hosts, never values. The texts of other exceptions may quote what people wrote.
_SHOWN_TEXTS = {"OperationalError", "ProgrammingError", "InternalError", "InterfaceError"}

_CODES = {number: name for name, number in code_pb2.Code.items()}

CallEntry = tuple[float, str, str, int, str, float, Caller, str]
"""A call that has ended: (Unix time, request id, path, gRPC status, reason, seconds, caller, peer)."""

_Cause = tuple[traceback.StackSummary, str]
"""An exception of a chain: where it was raised; its type and, for _SHOWN_TEXTS, its text."""


class RecordEntry(NamedTuple):
    """The parts of a logging.LogRecord that its line needs. No frames and no arguments, which would keep requests
    alive. size: bytes that the entry occupies, about."""

    at: float
    level: str
    logger: str
    message: str
    request_id: str
    fields: dict[str, object]
    causes: list[_Cause] | None
    size: int


Format = Callable[[float, str, str, str, str, Mapping[str, object]], str]
"""(Unix time, level, logger, message, request id, fields) -> a line without its end."""


def record_entry(record: logging.LogRecord) -> RecordEntry:
    """Runs on the thread that logs, whose call is current. Reads no source files: a traceback does that when it is
    formatted, on the writer's thread."""
    message, request_id = record.getMessage(), current().request_id
    fields = dict(record.args) if isinstance(record.args, Mapping) else {}
    causes: list[_Cause] | None = None
    if record.exc_info:
        causes, error = [], record.exc_info[1]
        while error is not None and len(causes) < MAX_CAUSES:
            kind = type(error).__qualname__
            text = [_printable(line) for line in str(error).splitlines()[:1] if kind in _SHOWN_TEXTS]
            causes.append((_frames(error.__traceback__), ": ".join([kind, *text])))
            error = error.__cause__ or error.__context__
    size = len(message) + FRAME_BYTES * sum(len(frames) for frames, _ in causes or ())
    return RecordEntry(record.created, record.levelname, record.name, message, request_id, fields, causes, size)


def _frames(trace: Any) -> traceback.StackSummary:
    """As traceback.extract_tb, but that checks whether source files have changed."""
    found = traceback.StackSummary()
    while trace is not None:
        code = trace.tb_frame.f_code
        _, end_line, column, end_column = next(islice(code.co_positions(), trace.tb_lasti // 2, None))
        found.append(
            traceback.FrameSummary(
                *(code.co_filename, trace.tb_lineno, code.co_name),
                lookup_line=False,
                end_lineno=end_line,
                colno=column,
                end_colno=end_column,
            )
        )
        trace = trace.tb_next
    return found


def call_line(entry: CallEntry, to_line: Format) -> str:
    at, request_id, path, status, reason, seconds, caller, peer = entry
    code, name, fields = _CODES[status], caller.user_id or caller.role or "-", {}
    if to_line is json_line:
        duration = round(seconds * 1e3, 3)
        fields = {"method": path, "code": code, "duration_ms": duration, "caller": name, "peer": peer}
    message = f"{path} {code} {seconds * 1e3:.1f} ms, caller {name}, peer {peer}"
    if reason:
        fields["reason"] = reason
        message += f": {reason}"
    return to_line(at, "INFO", CALLS, message, request_id, fields)


def record_line(entry: RecordEntry, to_line: Format) -> str:
    """One line for a record, whatever is in it: what strangers send cannot make a record look like two, or send
    commands to a terminal. Of an exception the line shows types and source lines, and texts only of _SHOWN_TEXTS."""
    at, level, logger, message, request_id, fields, causes, _ = entry
    if causes is not None:
        fields["exception"] = "\nafter\n".join("".join(frames.format()) + text for frames, text in causes)
    return to_line(at, level, logger, message, request_id, fields)


def text_line(at: float, level: str, logger: str, message: str, request_id: str, fields: Mapping[str, object]) -> str:
    """For people. The fields are in the message, except an exception, which follows on lines of its own."""
    clock, offset = _local(int(at))
    line = _printable(f"{clock},{int(at * 1000) % 1000:03}{offset} {level} [{request_id}] {logger}: {message}")
    return f"{line}\n{fields['exception']}" if "exception" in fields else line


def json_line(at: float, level: str, logger: str, message: str, request_id: str, fields: Mapping[str, object]) -> str:
    """One object, in ASCII and without control characters."""
    clock = f"{_utc(int(at))}.{int(at * 1000) % 1000:03}+00:00"
    common = {"time": clock, "level": level, "logger": logger, "message": message, "request_id": request_id}
    return json.dumps({**common, **fields})


FORMATS: dict[str, Format] = {"text": text_line, "json": json_line}
"""By the values of [log] format."""


@lru_cache(maxsize=2)  # most lines are of the same second as the one before
def _local(second: int) -> tuple[str, str]:
    """The clock, and by how much it differs from UTC, as in RFC 3339."""
    local = time.localtime(second)
    offset = time.strftime("%z", local)
    return time.strftime("%Y-%m-%d %H:%M:%S", local), f"{offset[:3]}:{offset[3:]}"


@lru_cache(maxsize=2)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
