"""The official suite of the Connect protocol and gRPC-Web: conformance/config.yaml says what applies."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import missing

MODULE, VERSION = "connectrpc.com/conformance", "v1.0.7"
HERE = Path(__file__).parent / "conformance"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gochat-tests" / f"conformance-{VERSION}"


def go(*arguments: str, **env: str) -> str:
    program = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if program is None:
        missing("go, which builds the conformance suite")
    run = subprocess.run([program, *arguments], env={**os.environ, **env}, capture_output=True, text=True, cwd="/")
    if run.returncode:
        missing(f"{MODULE}: {run.stderr}")
    return run.stdout


@pytest.fixture(scope="module")
def suite() -> Path:
    """The program, built once for all runs."""
    program = CACHE / "connectconformance"
    if not program.exists():
        go("install", f"{MODULE}/cmd/connectconformance@{VERSION}", GOBIN=str(CACHE))
    return program


def test_every_case_that_applies(suite: Path) -> None:
    protos = Path(json.loads(go("mod", "download", "-json", f"{MODULE}@{VERSION}"))["Dir"]) / "proto"
    server = (sys.executable, "-m", "tests.web.conformance.server", str(protos))
    command = [suite, "--conf", HERE / "config.yaml", "--mode", "server", "--", *server]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    total = int(run.stdout.partition("Total cases: ")[2].split()[0])
    assert (total, f"{total} passed, 0 failed" in run.stdout) == (1036, True), run.stdout
