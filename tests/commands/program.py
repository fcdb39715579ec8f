"""The program `gochat`, run as a process: by any user, in any folder, with any settings."""

import os
import subprocess
from pathlib import Path

from tests.harness import PROGRAM

OTHER_USER = "tests.commands.other_user"
"""The module that runs the program as another user, where the tests run as root."""


def gochat(
    *arguments: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    module: str = "gochat",
    within: tuple[str, ...] = (),
) -> "subprocess.CompletedProcess[str]":
    """env: settings; none other than these. module: or OTHER_USER. within: as of tests.harness.Process."""
    return subprocess.run(
        [*within, PROGRAM, "-m", module, *arguments],
        env=clean() | (env or {}),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def clean() -> dict[str, str]:
    """The environment without settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith("GOCHAT_")}


def sentence(run: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """The one sentence with which a command failed."""
    assert (run.returncode, run.stdout) == (code, ""), run.stdout + run.stderr
    lines = [line for line in run.stderr.splitlines() if line.startswith("gochat: ")]
    assert len(run.stderr.splitlines()) == len(lines) == 1, run.stderr
    return lines[0].removeprefix("gochat: ")
