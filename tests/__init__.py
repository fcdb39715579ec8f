"""The tests."""

import os
import signal

# Tests start processes while gRPC threads run; gRPC's fork handlers, on by default, can crash such a child.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# A shell ignores SIGINT for what it runs in the background, and what ignores it hands that on to its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
