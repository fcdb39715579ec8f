"""The names of the metadata (gRPC) or headers (HTTP) that GoChat reads and writes."""

AUTHORIZATION = "authorization"
REQUEST_ID = "x-request-id"
ERROR_MODE = "x-gochat-error-mode"
FORWARDED_FOR = "x-forwarded-for"
ACTOR = "x-gochat-actor"
"""What the logic half says to the repo half, for the audit log: user id, role and network address, with | between."""

STATUS_DETAILS = "grpc-status-details-bin"
