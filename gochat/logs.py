"""The log: lines on stderr, readable or JSON, one a record, and one for each call.

Nothing waits for stderr. Whoever logs appends to a queue that is bounded; one daemon thread makes the lines and writes
them. While nobody reads them, or the disk is full, that thread alone waits; what finds the queue full is dropped and
counted. It writes to the descriptor and not to sys.stderr, whose lock it would hold meanwhile.
"""

import json
import logging
import os
import select
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import islice
from time import monotonic
from time import time as wall_clock
from typing import Any, NamedTuple

from google.rpc import code_pb2

from gochat.config import Log
from gochat.context import Call, Caller, current
from gochat.errors import MAX_CAUSES, ChatError

CALLS = "gochat.calls"  # the logger whose lines these are; they are not made by logging, see call()
WRITE_INTERVAL = 0.2  # seconds after which a call that has ended is written; records are not put off
FLUSH_TIMEOUT = 1.0  # seconds that the end of the process waits for what is queued
DROPPED_INTERVAL = 1.0  # seconds between two lines that say how many were dropped
MAX_QUEUED = 20_000  # records and calls
MAX_RECORD_BYTES = 16 * 1024 * 1024  # of the records among them
FRAME_BYTES = 500  # what a frame of a traceback is taken to occupy
MAX_WRITE = select.PIPE_BUF  # bytes that a pipe keeps together, for workers that share it; 4 KiB on Linux

# Database errors whose first lines name tables, statements and hosts, never values.
_PLAIN_SPOKEN = {"OperationalError", "ProgrammingError", "InternalError", "InterfaceError"}

_OK = (code_pb2.OK, "")
_CODES = {number: name for name, number in code_pb2.Code.items()}
_Ended = tuple[float, str, str, int, str, float, Caller, str]
_Link = tuple[traceback.StackSummary, str]
"""An exception of a chain: where it was raised; its type and, of some, its text."""


class _Record(NamedTuple):
    """What of a logging.LogRecord goes into its line: no frames and no arguments, which would keep requests alive."""

    at: float
    level: str
    logger: str
    message: str
    request_id: str
    fields: dict[str, object]
    chain: list[_Link] | None
    size: int


_queue: deque[_Ended | _Record | threading.Event] = deque()
_wake = threading.Event()
_dropped = 0
_dropping = threading.Lock()
_shows_calls = False

_Line = Callable[[float, str, str, str, str, Mapping[str, object]], str]
"""(Unix time, level, logger, message, request id, fields) -> a line without its end."""


def to_stderr(settings: Log) -> None:
    """From now on, in this process: what is logged, warnings, and exceptions that nobody catches. Called once."""
    global _shows_calls
    if sys.stderr is None:  # closed: its number may by now be that of another file
        descriptor, encoding = os.open(os.devnull, os.O_WRONLY), "utf-8"
    else:
        descriptor, encoding = sys.stderr.fileno(), sys.stderr.encoding
    writer = _Writer(descriptor, encoding, {"text": _text, "json": _json}[settings.format])
    logging.basicConfig(level=settings.level.upper(), handlers=[_Handler(writer)], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda caught: _uncaught(caught.exc_type, caught.exc_value, caught.exc_traceback)
    sys.unraisablehook = lambda caught: _uncaught(caught.exc_type, caught.exc_value, caught.exc_traceback)
    logging.getLogger("grpc._cython.cygrpc").setLevel(logging.CRITICAL)  # it quotes metadata that is not UTF-8
    logging.getLogger("peewee").setLevel(logging.INFO)  # at debug it logs every parameter: messages, hashes
    _shows_calls = settings.calls and logging.getLogger(CALLS).isEnabledFor(logging.INFO)
    threading.Thread(target=writer.run, name="log", daemon=True).start()


def call(path: str, error: ChatError | None, started: float, ended: Call) -> None:
    """A line for a call that has ended. started: on the clock of time.monotonic(), in seconds."""
    if _shows_calls:
        if len(_queue) >= MAX_QUEUED:
            _drop(1)
            return
        status, reason = (error.status, error.reason) if error else _OK
        seconds = monotonic() - started
        _queue.append((wall_clock(), ended.request_id, path, status, reason, seconds, ended.caller, ended.peer))


def flush(seconds: float = FLUSH_TIMEOUT) -> None:
    """Returns when what was logged until now is written, but after so many seconds at the latest."""
    written = threading.Event()
    _queue.append(written)
    _wake.set()
    written.wait(seconds)


def dropped() -> int:
    """Lines that were not written, since the process began."""
    return _dropped


def _drop(lines: int) -> None:
    global _dropped
    with _dropping:
        _dropped += lines


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    if error is not None and not issubclass(kind, SystemExit):
        logging.getLogger(__name__).critical("not caught", exc_info=(kind, error, trace))


class _Handler(logging.Handler):
    """Its lock is held while a record is appended, and never while anything is written."""

    def __init__(self, writer: "_Writer") -> None:
        super().__init__()
        self._writer = writer
        self._added = 0  # bytes of records, ever

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry = _record(record)
        except Exception:  # noqa: BLE001 - a record whose arguments do not fit its message
            _drop(1)
            return
        if len(_queue) >= MAX_QUEUED or self._added + entry.size - self._writer.taken > MAX_RECORD_BYTES:
            _drop(1)
            return
        self._added += entry.size
        _queue.append(entry)
        _wake.set()

    def flush(self) -> None:
        """Called by logging at the end of the process."""
        flush()


def _record(record: logging.LogRecord) -> _Record:
    """On the thread that logs, whose call is current. Reads no source files, as tracebacks do when they are shown."""
    message, request_id = record.getMessage(), current().request_id
    fields = dict(record.args) if isinstance(record.args, Mapping) else {}
    chain: list[_Link] | None = None
    if record.exc_info:
        chain, error = [], record.exc_info[1]
        while error is not None and len(chain) < MAX_CAUSES:
            kind = type(error).__qualname__
            text = [_printable(line) for line in str(error).splitlines()[:1] if kind in _PLAIN_SPOKEN]
            chain.append((_frames(error.__traceback__), ": ".join([kind, *text])))
            error = error.__cause__ or error.__context__
    size = len(message) + FRAME_BYTES * sum(len(frames) for frames, _ in chain or ())
    return _Record(record.created, record.levelname, record.name, message, request_id, fields, chain, size)


def _frames(trace: Any) -> traceback.StackSummary:
    """As traceback.extract_tb, which looks for changes of the source files."""
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


class _Writer:
    """What the thread does. taken: bytes of records that have left the queue, ever.

    It is no background.periodic: that logs what fails, which is of no use here.
    """

    def __init__(self, descriptor: int, encoding: str, line: _Line) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._line = line
        self._works = True
        self._torn = False  # does stderr end within a line?
        self._said, self._say_at = 0, 0.0  # dropped lines, as said; time.monotonic()
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self.taken = 0

    def run(self) -> None:
        while True:
            _wake.wait(WRITE_INTERVAL)
            _wake.clear()
            try:
                self._write_queued()
                if self._works:
                    self._say_dropped()
            except Exception:  # noqa: BLE001 - there is nowhere to report it
                time.sleep(WRITE_INTERVAL)

    def _write_queued(self) -> None:
        """Several lines in a write cost less than half of one each."""
        lines: list[bytes] = []
        size = 0
        while _queue:
            entry = _queue.popleft()
            if isinstance(entry, threading.Event):
                self._write(lines)
                lines, size = [], 0
                entry.set()
                continue
            try:
                line = (self._of_record if isinstance(entry, _Record) else self._of_call)(entry)  # type: ignore[arg-type]
            except Exception:  # noqa: BLE001 - a field that JSON does not know, for one
                _drop(1)
                continue
            if size + len(line) > MAX_WRITE:
                self._write(lines)
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        if self._send(b"".join(lines)):
            self._say_dropped()
        else:
            _drop(len(lines))

    def _say_dropped(self) -> None:
        more = _dropped - self._said
        if more and monotonic() >= self._say_at:
            self._say_at = monotonic() + DROPPED_INTERVAL
            message = f"log lines dropped: {more}"
            line = self._line(wall_clock(), "WARNING", __name__, message, "-", {"dropped": more})
            if self._send(self._encoded(line)):
                self._said += more

    def _send(self, data: bytes) -> bool:
        """Waits for as long as it takes. False for a closed pipe, a full disk and the like."""
        if self._torn:
            data = b"\n" + data
        rest = data
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    self._room.poll()
        except OSError:
            pass
        if written := len(data) - len(rest):
            self._torn = data[written - 1 : written] != b"\n"
        self._works = not rest
        return self._works

    def _of_call(self, call: _Ended) -> bytes:
        at, request_id, path, status, reason, seconds, caller, peer = call
        code, name, fields = _CODES[status], caller.user_id or caller.role or "-", {}
        if self._line is _json:
            took = round(seconds * 1e3, 3)
            fields = {"method": path, "code": code, "duration_ms": took, "caller": name, "peer": peer}
        message = f"{path} {code} {seconds * 1e3:.1f} ms, caller {name}, peer {peer}"
        if reason:
            fields["reason"] = reason
            message += f": {reason}"
        return self._encoded(self._line(at, "INFO", CALLS, message, request_id, fields))

    def _of_record(self, record: _Record) -> bytes:
        """One line a record, whatever is in it: no record can be made to look like two, or to command a terminal. Of an
        exception it shows the types and the places, but the texts of _PLAIN_SPOKEN only: others may quote what people
        wrote. A record's arguments that have names are fields."""
        at, level, logger, message, request_id, fields, chain, size = record
        self.taken += size
        if chain is not None:
            fields["exception"] = "\nafter\n".join("".join(frames.format()) + text for frames, text in chain)
        return self._encoded(self._line(at, level, logger, message, request_id, fields))

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self._encoding, "backslashreplace")


def _text(at: float, level: str, logger: str, message: str, request_id: str, fields: Mapping[str, object]) -> str:
    """For people; the fields are in the message, but for an exception's, which has lines of its own."""
    line = _printable(f"{_local(int(at))},{int(at * 1000) % 1000:03} {level} [{request_id}] {logger}: {message}")
    return f"{line}\n{fields['exception']}" if "exception" in fields else line


def _json(at: float, level: str, logger: str, message: str, request_id: str, fields: Mapping[str, object]) -> str:
    """One object, in ASCII and without control characters."""
    clock = f"{_utc(int(at))}.{int(at * 1000) % 1000:03}+00:00"
    said = {"time": clock, "level": level, "logger": logger, "message": message, "request_id": request_id}
    return json.dumps({**said, **fields})


@lru_cache(maxsize=2)  # most lines are of the same second as the one before
def _local(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


@lru_cache(maxsize=2)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
