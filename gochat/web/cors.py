"""Cross-origin requests of browsers (CORS): which pages of other origins may call. There are no cookies, so it is a
matter of reading answers; a page of this server's own origin needs none of it."""

from collections.abc import Sequence

from gochat.headers import ACT_AS, AUTHORIZATION, ERROR_MODE, REQUEST_ID, STATUS_DETAILS
from gochat.web.messages import Headers, Request, Response

MAX_AGE = 7200  # seconds that a browser may keep the answer to a preflight request
_ALLOWED = (
    *(AUTHORIZATION, "content-type", "content-encoding", REQUEST_ID, ERROR_MODE, ACT_AS),
    *("connect-protocol-version", "connect-timeout-ms", "connect-accept-encoding", "connect-content-encoding"),
    *("x-grpc-web", "x-user-agent", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding"),
)
_EXPOSED = (REQUEST_ID, "grpc-status", "grpc-message", STATUS_DETAILS, "connect-content-encoding", "grpc-encoding")
_VARY = (("vary", "origin"),)


class Cors:
    """origins: exactly as browsers send them, https://chat.example.com."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)
        self.is_used = bool(origins)

    def headers(self, request: Request) -> Headers:
        """Of every response."""
        origin = request.named.get("origin", "")
        if origin not in self._origins:
            return _VARY
        return (
            *_VARY,
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", ", ".join(_EXPOSED)),
        )

    def is_preflight(self, request: Request) -> bool:
        return request.method == "OPTIONS" and "access-control-request-method" in request.named

    def preflight(self, request: Request) -> Response:
        if request.named.get("origin", "") not in self._origins:
            return Response(403, ())
        return Response(
            204,
            (
                ("access-control-allow-methods", "GET, POST"),
                ("access-control-allow-headers", ", ".join(_ALLOWED)),
                ("access-control-max-age", str(MAX_AGE)),
            ),
        )
