"""The log: lines on stderr, readable or JSON, one a record, and one for each call."""

import json
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from google.rpc import code_pb2

from gochat.config import Log
from gochat.context import Call, current
from gochat.errors import ChatError

CALLS = "gochat.calls"  # the logger whose lines these are; they are not made by logging, see _Stream
PAUSE = 0.2  # seconds between two looks for calls that have ended
MOST_PENDING = 100_000  # calls; if nobody reads our stderr, the oldest are forgotten
AT_ONCE = 8  # lines of calls a write: less than the 4 KiB that a pipe keeps together for workers that share it

# Database errors whose first lines name tables, statements and hosts, never values.
_PLAIN_SPOKEN = {"OperationalError", "ProgrammingError", "InternalError", "InterfaceError"}

_ended: deque[tuple[float, str, str, int, str, float, str, str]] = deque(maxlen=MOST_PENDING)
_shows_calls = False

_Line = Callable[[float, str, str, str, str, Mapping[str, object]], str]
"""(Unix time, level, logger, message, request id, fields) -> a line without its end."""


def to_stderr(settings: Log) -> None:
    """From now on, in this process."""
    global _shows_calls
    handler = _Stream({"text": _text, "json": _json}[settings.format])
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger("grpc._cython.cygrpc").setLevel(logging.CRITICAL)  # it quotes metadata that is not UTF-8
    logging.getLogger("peewee").setLevel(logging.INFO)  # at debug it logs every parameter: messages, hashes
    _shows_calls = settings.calls and logging.getLogger(CALLS).isEnabledFor(logging.INFO)
    if _shows_calls:
        threading.Thread(target=handler.keep_writing, name="log", daemon=True).start()


def call(path: str, error: ChatError | None, started: float, ended: Call) -> None:
    """A line for a call that has ended. started: on the clock of time.monotonic(), in seconds."""
    if _shows_calls:
        status, reason = (error.status, error.reason) if error else (code_pb2.OK, "")
        seconds = time.monotonic() - started
        name = ended.caller.user_id or ended.caller.role or "-"
        _ended.append((time.time(), ended.request_id, path, status, reason, seconds, name, ended.peer))


class _Stream(logging.StreamHandler[TextIO]):
    """Records are written at once. Calls are only noted while they run, and written by a thread of their own, several
    at a time, which costs the server less than half."""

    def __init__(self, line: _Line) -> None:
        super().__init__(sys.stderr)
        self._line = line
        self.setFormatter(_Lines(line))

    def keep_writing(self) -> None:
        while True:
            time.sleep(PAUSE)
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        self.flush()  # so that the lines stand in the order of what happened
        super().emit(record)

    def flush(self) -> None:
        assert self.lock is not None
        # A full disk, a closed pipe: no call is worth failing for a line.
        with self.lock, suppress(OSError, ValueError):
            while _ended:
                calls = [_ended.popleft() for _ in range(min(AT_ONCE, len(_ended)))]
                self.stream.write("".join(map(self._of_call, calls)))
            super().flush()

    def _of_call(self, call: tuple[float, str, str, int, str, float, str, str]) -> str:
        at, request_id, path, status, reason, seconds, caller, peer = call
        code = code_pb2.Code.Name(status)
        fields = {"method": path, "code": code, "duration_ms": round(seconds * 1e3, 3), "caller": caller, "peer": peer}
        message = f"{path} {code} {seconds * 1e3:.1f} ms, caller {caller}, peer {peer}"
        if reason:
            fields["reason"] = reason
            message += f": {reason}"
        return self._line(at, "INFO", CALLS, message, request_id, fields) + "\n"


class _Lines(logging.Formatter):
    """One line a record, whatever is in it: no record can be made to look like two, or to command a terminal. Of an
    exception it tells the types and the places, but the texts of _PLAIN_SPOKEN only: others may quote what people
    wrote. A record's arguments that have names are fields."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(record.args) if isinstance(record.args, Mapping) else {}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        message, request_id = record.getMessage(), current().request_id
        return self._line(record.created, record.levelname, record.name, message, request_id, fields)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as in logging
        told, error = [], ei[1]
        while error is not None:
            kind = type(error).__qualname__
            text = [_printable(line) for line in str(error).splitlines()[:1] if kind in _PLAIN_SPOKEN]
            told.append("".join(traceback.format_tb(error.__traceback__)) + ": ".join([kind, *text]))
            error = error.__cause__ or error.__context__
        return "\nafter\n".join(told)


def _text(at: float, level: str, logger: str, message: str, request_id: str, fields: Mapping[str, object]) -> str:
    """For people; the fields are in the message, but for an exception's, which has lines of its own."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    line = _printable(f"{clock},{int(at * 1000) % 1000:03} {level} [{request_id}] {logger}: {message}")
    return f"{line}\n{fields['exception']}" if "exception" in fields else line


def _json(at: float, level: str, logger: str, message: str, request_id: str, fields: Mapping[str, object]) -> str:
    """One object, in ASCII and without control characters."""
    clock = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    said = {"time": clock, "level": level, "logger": logger, "message": message, "request_id": request_id}
    return json.dumps({**said, **fields})


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
