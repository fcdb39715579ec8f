"""The zygote, which starts most gochat processes: each is as if it had been executed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import environment
from tests.waiting import polled
from tests.zygote import Forked, may_fork


def seen_of(pid: int) -> dict[str, Any]:
    """What the kernel shows of a process that does not depend on when it was started."""
    process = Path(f"/proc/{pid}")
    status = dict(re.findall(r"^(\w+):\t(.*)$", (process / "status").read_text(), re.MULTILINE))
    of_status = ("Umask", "PPid", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "CapEff")
    ids = (process / "stat").read_text().rpartition(")")[2].split()[2:6]  # group, session, terminal
    files = [re.sub(r"\d+", "N", os.readlink(file)) for file in (process / "fd").iterdir()]
    return {
        "status": {name: status[name] for name in of_status},
        "ids": ids,
        "files": sorted(file for file in files if "gochat.db" not in file),  # of those, as many as it happens to need
        "folder": (process / "cwd").resolve(),
        "limits": (process / "limits").read_text(),
    }


def test_a_forked_server_is_as_an_executed_one(tmp_path: Path) -> None:
    seen = []
    for kind in (subprocess.Popen, Forked):
        command = [sys.executable, "-m", "gochat", "serve", "--data", str(tmp_path), "--listen", "127.0.0.1:0"]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
        with kind(command, env=environment(), text=True, **options) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("gochat ready on ")
            # While it starts a thread, it blocks all signals.
            seen.append(polled(lambda pid=process.pid: seen_of(pid), lambda it: not int(it["status"]["SigBlk"], 16)))
            process.send_signal(signal.SIGTERM)
        assert process.returncode == 0
    assert seen[0] == seen[1]


@pytest.mark.parametrize("arguments", [["version"], ["nothing"], ["health"], ["check"], ["audit", "--limit", "many"]])
def test_a_forked_command_ends_as_an_executed_one(tmp_path: Path, arguments: list[str]) -> None:
    ends = []
    for kind in (subprocess.Popen, Forked):
        command = [sys.executable, "-m", "gochat", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with kind(command, env=environment(), text=True, cwd=tmp_path, **pipes) as process:
            out, err = process.communicate(timeout=60)
        ends.append((process.returncode, out, err))
    assert ends[0] == ends[1]


def test_what_python_and_its_libraries_read_at_their_start_is_read() -> None:
    assert may_fork(environment({"GOCHAT_LOG_LEVEL": "debug"}))
    for name in ("PYTHONPATH", "LD_PRELOAD", "GRPC_VERBOSITY", "LC_ALL"):
        assert not may_fork(environment({name: "/other"}))
    assert not may_fork(environment(without=["PATH"]))
