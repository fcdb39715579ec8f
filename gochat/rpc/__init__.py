"""gRPC: the server, on our serving loop or on grpcio's own, and the channels between the halves."""

TESTED_GRPCIO = frozenset({"1.85.1", "1.85.3"})
"""The versions of grpcio that the tests ran with. The serving loop uses private names of grpcio (grpcio_internals.py),
so with any other version the public `grpc.server` serves, at two to three times the CPU per call."""
