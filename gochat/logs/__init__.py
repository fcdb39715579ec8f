"""The log: lines on stderr, as text or JSON; one for each record of `logging`, and one for each call.

Nothing waits for stderr. Any thread logs, which only appends an entry to a bounded queue; one daemon thread (writer.py)
makes the lines (lines.py) and writes them. While nobody reads stderr, or the disk is full, that thread alone waits.
An entry that finds the queue full is dropped and counted.

Threads: append and popleft of the queue, a deque, are atomic in CPython, so it needs no lock. Two threads may both find
room for the last entry; that the queue then has one more than MAX_QUEUED does no harm. The counter of dropped lines is
changed under a lock.
"""

import logging
import os
import sys
import threading
from time import monotonic
from time import time as wall_clock
from typing import Any

from google.rpc import code_pb2

from gochat.config import Log
from gochat.context import Call
from gochat.errors import ChatError
from gochat.logs.lines import CALLS, FORMATS, record_entry
from gochat.logs.writer import Queue, Writer

FLUSH_TIMEOUT = 1.0  # seconds that the end of the process waits for what is queued
MAX_QUEUED = 20_000  # records and calls
MAX_RECORD_BYTES = 16 * 1024 * 1024  # of the records among them

_OK = (code_pb2.OK, "")

_queue = Queue()
_entries = _queue.entries
_logs_calls = False


def to_stderr(settings: Log) -> None:
    """From now on, writes to stderr what this process logs, its warnings, and exceptions that nobody catches. Called
    once."""
    global _logs_calls
    if sys.stderr is None:  # it was closed, and its descriptor may by now be that of another file
        descriptor, encoding = os.open(os.devnull, os.O_WRONLY), "utf-8"
    else:
        descriptor, encoding = sys.stderr.fileno(), sys.stderr.encoding
    writer = Writer(_queue, descriptor, encoding, FORMATS[settings.format])
    logging.basicConfig(level=settings.level.upper(), handlers=[_Handler(writer)], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda caught: _log_uncaught(caught.exc_type, caught.exc_value, caught.exc_traceback)
    sys.unraisablehook = lambda caught: _log_uncaught(caught.exc_type, caught.exc_value, caught.exc_traceback)
    logging.getLogger("grpc._cython.cygrpc").setLevel(logging.CRITICAL)  # it quotes metadata that is not UTF-8
    logging.getLogger("peewee").setLevel(logging.INFO)  # at debug it logs every parameter: messages, hashes
    _logs_calls = settings.calls and logging.getLogger(CALLS).isEnabledFor(logging.INFO)
    threading.Thread(target=writer.run, name="log", daemon=True).start()


def call(path: str, error: ChatError | None, started: float, ended: Call) -> None:
    """Logs a call that has ended. started: on the clock of time.monotonic(), in seconds."""
    if _logs_calls:
        if len(_entries) >= MAX_QUEUED:
            _queue.drop(1)
            return
        status, reason = (error.status, error.reason) if error else _OK
        seconds = monotonic() - started
        _entries.append((wall_clock(), ended.request_id, path, status, reason, seconds, ended.caller, ended.peer))


def flush(seconds: float = FLUSH_TIMEOUT) -> None:
    """Returns when what was logged until now is written, but after so many seconds at the latest."""
    written = threading.Event()
    _entries.append(written)
    _queue.wake.set()
    written.wait(seconds)


def dropped() -> int:
    """Lines that were not written, since the process began."""
    return _queue.dropped


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    if error is not None and not issubclass(kind, SystemExit):
        logging.getLogger(__name__).critical("not caught", exc_info=(kind, error, trace))


class _Handler(logging.Handler):
    """Appends records to the queue. `logging` holds this handler's lock around emit(), so that one thread at a time
    changes `_added`; the lock is never held while anything is written."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer
        self._added = 0  # bytes of all records so far

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry = record_entry(record)
        except Exception:  # noqa: BLE001 - a record whose arguments do not fit its message
            _queue.drop(1)
            return
        queued_bytes = self._added - self._writer.taken
        if len(_entries) >= MAX_QUEUED or queued_bytes + entry.size > MAX_RECORD_BYTES:
            _queue.drop(1)
            return
        self._added += entry.size
        _entries.append(entry)
        _queue.wake.set()

    def flush(self) -> None:
        """Called by logging at the end of the process."""
        flush()
