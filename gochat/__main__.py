"""The program `gochat`, also as `python -m gochat`."""

import os
import sys
from importlib.metadata import version


def main() -> int:
    if getattr(sys, "frozen", False):
        from gochat import onefile

        onefile.settle()
    # Read when grpc is imported, hence before. Its core writes to stderr on the threads that serve: they would wait for
    # whoever is to read it, and strangers can have it write as much as they like.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Else what comes in passes through threads of grpc's own before it gets to the one that serves, which is a fifth of
    # the CPU of a short call. Only where it was measured: a grpc that does not know this name says so at each start.
    if version("grpcio").startswith("1.85."):
        os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    from gochat.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
