"""The tests."""

import os

# Tests start processes while gRPC threads run; gRPC's fork handlers, on by default, can crash such a child.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
