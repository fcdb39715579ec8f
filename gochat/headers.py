"""The names of the metadata (gRPC) or headers (HTTP) that GoChat reads and writes."""

AUTHORIZATION = "authorization"
REQUEST_ID = "x-request-id"
ERROR_MODE = "x-gochat-error-mode"
FORWARDED_FOR = "x-forwarded-for"
ACTOR = "x-gochat-actor"
"""Sent by the logic half to the repo half, for the audit log: user id, role and network address, separated by |."""

STATUS_DETAILS = "grpc-status-details-bin"
