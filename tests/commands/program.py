"""A command as another user or in another namespace runs it; and the one sentence with which it fails."""

import subprocess
from typing import Any

from tests import processes
from tests.processes import PROGRAM, Settings, environment

OTHER_USER = "tests.commands.other_user"
"""The module that runs the program as another user, where the tests run as root."""


def gochat(
    *arguments: str,
    env: Settings | None = None,
    stdin: str = "",
    module: str = "gochat",
    within: tuple[str, ...] = (),
    **options: Any,
) -> "subprocess.CompletedProcess[str]":
    """As tests.processes.gochat. module: or OTHER_USER. within: as of tests.processes.Process."""
    if module == "gochat" and not within:
        return processes.gochat(*arguments, env=env, stdin=stdin, **options)
    return subprocess.run(
        [*within, PROGRAM, "-m", module, *arguments],
        env=environment(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def sentence(run: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """The one sentence with which a command failed."""
    assert (run.returncode, run.stdout) == (code, ""), run.stdout + run.stderr
    lines = [line for line in run.stderr.splitlines() if line.startswith("gochat: ")]
    assert len(run.stderr.splitlines()) == len(lines) == 1, run.stderr
    return lines[0].removeprefix("gochat: ")
