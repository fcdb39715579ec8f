"""gRPC: the server, on a serving loop of ours or grpcio's own, and the channels between the halves."""

TESTED_GRPCIO = frozenset({"1.85.1", "1.85.3"})
"""The versions of grpcio whose private names the tests ran with (grpcio_internals.py). With any other the public
`grpc.server` serves, at two to three times the CPU per call."""
