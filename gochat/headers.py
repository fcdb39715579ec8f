"""The names of the metadata (gRPC) or headers (HTTP) that GoChat reads and writes."""

AUTHORIZATION = "authorization"
REQUEST_ID = "x-request-id"
ERROR_MODE = "x-gochat-error-mode"
FORWARDED_FOR = "x-forwarded-for"
ACTOR = "x-gochat-actor"
"""Sent by the logic half to the repo half, for the audit log: user id, role and network address, separated by |."""

ACTED_BY = "x-gochat-acted-by"
"""Sent beside ACTOR where a backend makes the call as that user: its role."""

ACT_AS = "x-gochat-act-as"
"""Of a call by a service: the user whose call it is, by a user id or, percent-encoded, an external id."""

STATUS_DETAILS = "grpc-status-details-bin"
