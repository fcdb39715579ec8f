"""A person at a terminal: `gochat chat` on a pseudo-terminal, what it shows, and what is typed."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.harness import PASSWORD, Deployment, Person
from tests.processes import PROGRAM, environment

ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])|[\x00\x07\x08\r]")
TIMEOUT = 60.0  # seconds
CTRL_C, CTRL_D, CTRL_U = "\x03", "\x04", "\x15"


class Terminal:
    """A gochat command at a terminal of its own. text: all that it has shown, without colours and moves."""

    def __init__(self, *arguments: str, rows: int = 30, columns: int = 100) -> None:
        self._master, terminal = pty.openpty()
        self.resize(rows, columns, signal_it=False)
        self.process = subprocess.Popen(
            [PROGRAM, "-m", "gochat", *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}, without=("COLUMNS", "LINES", "NO_COLOR")),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )
        os.close(terminal)
        self.raw = ""
        self._came = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        pending = b""
        while True:
            try:
                data = os.read(self._master, 65536)
                if b"\x1b[6n" in data:  # where is the cursor?
                    os.write(self._master, b"\x1b[1;1R")
            except OSError:  # the other end is closed, or this one
                break
            pending += data
            text = pending.decode(errors="ignore")
            with self._came:
                self.raw += text
                pending = b"" if text.encode() == pending else pending[len(text.encode()) :]
                self._came.notify_all()

    @property
    def text(self) -> str:
        return ESCAPE.sub("", self.raw)

    def until(self, *wanted: str | Callable[[str], object]) -> "Terminal":
        def holds() -> bool:
            return all(each in self.text if isinstance(each, str) else each(self.text) for each in wanted)

        with self._came:
            assert self._came.wait_for(holds, TIMEOUT), f"{wanted} is not in:\n{self.text[-2000:]}"
        return self

    def type(self, text: str) -> "Terminal":
        os.write(self._master, text.encode())
        return self

    def enter(self, text: str) -> "Terminal":
        return self.type(f"{text}\r")

    def resize(self, rows: int, columns: int, *, signal_it: bool = True) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if signal_it:
            self.process.send_signal(signal.SIGWINCH)

    def ended(self) -> int:
        """Its exit status, once all that it has shown is in the text."""
        status = self.process.wait(TIMEOUT)
        self._reading.join(TIMEOUT)
        return status

    def close(self) -> None:
        self.process.kill()
        self.ended()
        os.close(self._master)


def at_prompt(text: str) -> bool:
    """Below it may be what was said before the stream was open."""
    return bool(re.search(r">\s*(no connection, trying again\s*)?$", text))


@contextmanager
def chatting(app: Deployment, person: Person, *arguments: str) -> Iterator[Terminal]:
    """A person at a terminal, signed in."""
    terminal = Terminal("chat", person.username, "--address", app.address, *arguments)
    try:
        terminal.until("Password: ").enter(PASSWORD)
        terminal.until("/help lists what can be typed", at_prompt)
        yield terminal
    finally:
        terminal.close()
