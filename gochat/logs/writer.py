"""The queue of log entries, and the thread that writes them."""

import os
import select
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from time import monotonic
from time import time as wall_clock

from gochat.logs.lines import CallEntry, Format, RecordEntry, call_line, record_line
from gochat.logs.repeats import Repeats

WRITE_INTERVAL = 0.2  # seconds after which calls that have ended are written; records are written immediately
DROPPED_INTERVAL = 1.0  # seconds between two lines that say how many were dropped
MAX_WRITE = select.PIPE_BUF  # bytes that a pipe keeps together when several workers write to it; 4 KiB on Linux


@dataclass
class Queue:
    """Entries between the threads that log and the writer. An Event among them is set when the entries before it are
    written. wake: set to have the writer look immediately. dropped: lines that were not written, ever."""

    entries: "deque[CallEntry | RecordEntry | threading.Event]" = field(default_factory=deque)
    wake: threading.Event = field(default_factory=threading.Event)
    dropped: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def drop(self, lines: int) -> None:
        """Counts them. Any thread may call this."""
        with self._lock:
            self.dropped += lines


class Writer:
    """Writes the entries. Everything here runs on its thread, but for `taken`, which other threads read.

    It writes to the file descriptor and not to sys.stderr, since that has a lock, which it would hold while it waits.
    It is not a background.periodic: that logs failures, which is of no use if the log itself fails.

    taken: bytes of records that have left the queue, ever.
    """

    def __init__(self, queue: Queue, descriptor: int, encoding: str, to_line: Format) -> None:
        self._queue = queue
        self._descriptor = descriptor
        self._encoding = encoding
        self._to_line = to_line
        self._repeats = Repeats()
        self._works = True  # the last write succeeded
        self._torn = False  # what was written last does not end with a line break
        self._reported = 0  # dropped lines that a line has reported
        self._report_at = 0.0  # on the clock of time.monotonic()
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self.taken = 0

    def run(self) -> None:
        wake = self._queue.wake
        while True:
            wake.wait(WRITE_INTERVAL)
            wake.clear()
            try:
                self._write_queued()
                self._report_repeats()
                if self._works:
                    self._report_dropped()
            except Exception:  # noqa: BLE001 - there is nowhere to report it
                time.sleep(WRITE_INTERVAL)

    def _write_queued(self) -> None:
        """Writes several lines at a time, which costs less than half of one write for each."""
        entries = self._queue.entries
        lines: list[bytes] = []
        size = 0
        while entries:
            entry = entries.popleft()
            if isinstance(entry, threading.Event):
                self._write(lines)
                lines, size = [], 0
                self._report_repeats(all_of_them=True)  # the process may end now
                entry.set()
                continue
            try:
                if isinstance(entry, RecordEntry):
                    self.taken += entry.size
                    if self._repeats.is_repeat(entry):
                        continue
                line = self._encoded(self._line(entry))
            except Exception:  # noqa: BLE001 - such as a field that JSON has no form for
                self._queue.drop(1)
                continue
            if size + len(line) > MAX_WRITE:
                self._write(lines)
                lines, size = [], 0
            lines.append(line)
            size += len(line)
        self._write(lines)

    def _line(self, entry: CallEntry | RecordEntry) -> str:
        if isinstance(entry, RecordEntry):
            return record_line(entry, self._to_line)
        return call_line(entry, self._to_line)

    def _report_repeats(self, *, all_of_them: bool = False) -> None:
        self._write(
            [self._encoded(self._line(entry)) for entry in self._repeats.due(wall_clock(), all_of_them=all_of_them)]
        )

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self._encoding, "backslashreplace")

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        if self._send(b"".join(lines)):
            self._report_dropped()
        else:
            self._queue.drop(len(lines))

    def _report_dropped(self) -> None:
        more = self._queue.dropped - self._reported
        if more and monotonic() >= self._report_at:
            self._report_at = monotonic() + DROPPED_INTERVAL
            message = f"log lines dropped: {more}"
            line = self._to_line(wall_clock(), "WARNING", "gochat.logs", message, "-", {"dropped": more})
            if self._send(self._encoded(line)):
                self._reported += more

    def _send(self, data: bytes) -> bool:
        """Waits for as long as it takes. False where nothing can be written: a closed pipe, a full disk."""
        if self._torn:
            data = b"\n" + data
        rest = data
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    self._writable.poll()
        except OSError:
            pass
        if written := len(data) - len(rest):
            self._torn = data[written - 1 : written] != b"\n"
        self._works = not rest
        return self._works
