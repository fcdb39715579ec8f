"""Starts gochat processes without the imports, which take 0.45 s of CPU, more than all else of most of them.

The zygote is a process that has imported what gochat imports and called none of it: it has no threads, no gRPC and no
open files. For each start it forks. The fork goes on as `python -m gochat` does after its imports, with the arguments,
variables, folder, limits and files that it was sent, and is a child of the process that asked, like any of Popen's.

This file is both sides: a module of the tests, and the program that they start.
"""

import atexit
import gc
import os
import pickle
import resource
import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from ctypes import CDLL
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

MAX_REQUEST = 1 << 18  # bytes
PR_SET_CHILD_SUBREAPER = 36
OWN = ("GOCHAT_", "PYTEST_")  # variables that nothing reads before gochat runs


class Start(NamedTuple):
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    open_files: tuple[int, int]


class Forked(subprocess.Popen[str]):
    """A Popen of [sys.executable, "-m", "gochat", ...] by the zygote."""

    def _execute_child(self, args: Any, *options: Any) -> None:
        """What Popen starts a process with, a private name of Python's from 3.9 to 3.14; the rest of Popen stays."""
        _, _, _, _, cwd, env, _, _, _, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = options[:15]
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        start = Start(list(args[3:]), dict(env), str(cwd or os.getcwd()), limits)
        ends = (p2cread, c2pwrite, errwrite)
        popen: Any = self
        popen.pid = _zygote().fork(start, [number if end == -1 else end for number, end in enumerate(ends)])
        popen._child_created = True
        popen._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def may_fork(environment: Mapping[str, str]) -> bool:
    """Has the zygote all of these variables that Python, its libraries or the linker may have read already?"""
    return _early(environment) == _zygote().early


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(OWN)}


@cache
def _zygote() -> "_Zygote":
    return _Zygote()


class _Zygote:
    """early: the variables that it was started with, but for those that nothing reads before gochat runs."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._libc = CDLL(None)
        self.early = _early(os.environ)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            # It ends when the other side of its socket is closed, with this process.
            self._process = subprocess.Popen(
                command, env=self.early, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )

    def fork(self, start: Start, files: list[int]) -> int:
        """The id of a new process, which is a child of this one: its parent, a child of the zygote, ends at once, and
        the kernel gives orphans to the nearest process above that asks for them. Others' orphans are init's before and
        after that."""
        with self._lock:
            self._libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
            try:
                socket.send_fds(self._socket, [pickle.dumps(start)], files)
                return int(self._socket.recv(20))
            finally:
                self._libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def _preload() -> None:
    """Imports all that gochat does, after what gochat does first."""
    from gochat.__main__ import configure_grpc

    configure_grpc()
    from gochat.cli import COMMANDS

    for module in COMMANDS.values():
        import_module(f"gochat.commands.{module}")
    del sys.modules["gochat.__main__"]  # which is about to run
    gc.collect()
    gc.freeze()  # what a collection does not touch stays shared


def _next_fork(requests: socket.socket) -> None:
    """Returns in a new process, time and again."""
    while True:
        packed, files, _, _ = socket.recv_fds(requests, MAX_REQUEST, 3)
        if not packed:
            os._exit(0)
        reading, writing = os.pipe()
        if middle := os.fork():
            os.waitpid(middle, 0)  # the new process has its parent now
            requests.send(os.read(reading, 20))
            for file in (reading, writing, *files):
                os.close(file)
        elif pid := os.fork():
            os.write(writing, str(pid).encode())
            os._exit(0)
        else:
            requests.close()
            for number, file in enumerate(files):
                os.dup2(file, number)
            for file in (reading, writing, *files):
                os.close(file)
            return _become(pickle.loads(packed))


def _become(start: Start) -> None:
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    time.tzset()
    resource.setrlimit(resource.RLIMIT_NOFILE, start.open_files)
    sys.argv = ["gochat", *start.arguments]
    sys.path[0] = start.folder
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        buffering = 1 if name == "stderr" or os.isatty(number) else -1
        stream = open(number, old.mode, buffering, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _end(code: int) -> None:
    """What Python does at the end of a program, but for taking its modules apart. That writes to every page which is
    shared with the zygote, so the kernel copies them all: four fifths of what a short command takes."""
    thread: Any = threading
    thread._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    _preload()
    _next_fork(socket.socket(fileno=int(sys.argv[-1])))
    try:
        runpy.run_module("gochat", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if sys.argv[1:2] != ["serve"] and isinstance(ended.code, int):
            _end(ended.code)
        raise
