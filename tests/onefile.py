"""Makes dist/gochat, the program as one file. Run it as `python tests/onefile.py`, with the extra `build` installed.

Needs on the machine that runs it: Linux of the same architecture, with a glibc as new as the one here, or newer.
"""

import tempfile
from pathlib import Path

from PyInstaller.__main__ import run

ROOT = Path(__file__).parent.parent


def build() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(
            [
                str(ROOT / "gochat" / "__main__.py"),
                "--onefile",
                "--name=gochat",
                f"--distpath={ROOT / 'dist'}",
                f"--workpath={folder}",
                f"--specpath={folder}",
                f"--add-data={ROOT / 'sql'}:gochat/sql",
                f"--add-data={ROOT / 'proto/gochat/api'}:gochat/proto/gochat/api",
                "--collect-submodules=gochat",  # some are run by name
                "--collect-data=gochat.monitoring",
                "--collect-data=gochat.web",
                "--copy-metadata=gochat",  # its version
                "--copy-metadata=grpcio",
                "--log-level=WARN",
            ]
        )


if __name__ == "__main__":
    build()
