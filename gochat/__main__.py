"""The program `gochat`, also as `python -m gochat`."""

import os
import sys
from importlib.metadata import version


def main() -> int:
    if getattr(sys, "frozen", False):
        from gochat import onefile

        onefile.bootstrap()
    configure_grpc()
    from gochat.cli import main as run

    return run()


def configure_grpc() -> None:
    # Both variables must be set before grpc is imported. gRPC's core logs to stderr on the threads that serve: they
    # would wait for the reader of stderr, and clients can cause any number of lines.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # With this experiment on, incoming data passes through threads of gRPC's own before it reaches the serving thread,
    # which takes a fifth of the CPU of a short call. It is set for the versions that were measured: a gRPC that does
    # not know the name logs an error at each start.
    if version("grpcio").startswith("1.85."):
        os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")


if __name__ == "__main__":
    sys.exit(main())
