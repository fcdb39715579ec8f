"""The README's tour, pasted into a shell by a newcomer."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.harness import Deployment

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(mark: str) -> str:
    return "\n".join(re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL))


def test_the_tour_works_when_pasted(tmp_path: Path) -> None:
    app = Deployment(tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    tour = blocks("tour").replace("127.0.0.1:50051", app.address)
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", tour],
        cwd=tmp_path,
        env=os.environ | {"GOCHAT_SERVER_LISTEN": app.address, "GOCHAT_SERVER_DATA": str(app.data)},
        capture_output=True,
        text=True,
    )
    app.stop()
    assert run.returncode == 0, run.stderr
    assert re.sub(r"s[0-9a-z]{26}", "s<26 characters>", run.stdout) == blocks("tour output")
