"""The program `gochat`, also as `python -m gochat`."""

import os
import sys


def main() -> int:
    if getattr(sys, "frozen", False):
        from gochat import onefile

        onefile.settle()
    # Read when grpc is imported, hence before: its own log would have a line for each stranger's failed handshake.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from gochat.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
