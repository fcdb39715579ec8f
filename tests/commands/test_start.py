"""What a start warns of."""

import shutil
from pathlib import Path

import pytest

from tests.processes import Process


@pytest.mark.skipif(not shutil.which("prlimit"), reason="needs prlimit")
@pytest.mark.parametrize(("connections", "warned"), [("10000", True), ("300", False)])
def test_more_connections_than_open_files_are_warned_of(tmp_path: Path, connections: str, *, warned: bool) -> None:
    process = Process(
        *("serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"),
        env={"GOCHAT_LIMITS_CONNECTIONS": connections},
        log=tmp_path / "log",
        within=("prlimit", "--nofile=500:500"),
    )
    process.stop()
    lines = [line for line in process.log.read_text().splitlines() if " WARNING " in line]
    assert ["limits.connections" in line and "500 files" in line for line in lines] == [True] * warned
