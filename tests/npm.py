"""What npm installs for tests, outside of the project."""

import shutil
import subprocess
from pathlib import Path

from tests.processes import missing


def installed(source: Path, folder: Path, purpose: str) -> Path:
    """The folder, which becomes a copy of the source, with what its package-lock.json names. purpose: what Node.js is
    missed for where it is missing."""
    absent = [program for program in ("node", "npm") if not shutil.which(program)]
    if absent:
        missing(f"no {' and no '.join(absent)} to {purpose} with")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules"))
    # No package runs a script of its own.
    command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    install = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert install.returncode == 0, install.stderr
    return folder
