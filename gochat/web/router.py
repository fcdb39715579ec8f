"""What a path is answered with: an RPC, by the protocol that the request speaks; /healthz; a file."""

from collections.abc import Callable, Mapping

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from gochat.serving.binding import Method
from gochat.serving.endpoints import UNKNOWN_METHOD, UnaryEndpoint
from gochat.web import calls, connect, grpc_web
from gochat.web.connection import HttpConnection
from gochat.web.cors import Cors
from gochat.web.exchange import Reading
from gochat.web.files import Files
from gochat.web.messages import NotServedError, Request, Response
from gochat.web.state import State

HEALTH_PATH = "/healthz"


Read = Callable[[Request, Method], Reading]
"""How a call is read. Raises NotServedError."""


class Router:
    """Everything is called on the loop's thread. endpoints: by path. is_serving: the health of this process."""

    def __init__(
        self,
        state: State,
        endpoints: Mapping[str, UnaryEndpoint],
        read: Read,
        files: Files,
        cors: Cors,
        is_serving: Callable[[], bool],
    ) -> None:
        self._state, self._endpoints, self._read = state, endpoints, read
        self._files, self._cors, self._is_serving = files, cors, is_serving

    def serve(self, connection: HttpConnection, request: Request) -> None:
        """Answers the request by the connection, now or later."""
        endpoint = self._endpoints.get(request.path)
        if self._cors.is_used:
            connection.added = self._cors.headers(request)
            if self._cors.is_preflight(request):
                connection.respond(self._cors.preflight(request))
                return
        if endpoint is None:
            connection.respond(self._other(request))
            return
        try:
            reading = self._read(request, endpoint.method)
        except NotServedError as refused:
            connection.respond(refused.response)
        else:
            calls.begin(self._state, connection, request, endpoint, reading)

    def _other(self, request: Request) -> Response:
        if request.method == "POST":
            content_type = _media_type(request)
            if content_type in grpc_web.TYPES:
                return grpc_web.GrpcWebExchange(content_type, Empty, gzip=False).refuse(UNKNOWN_METHOD)
            return connect.error_response(UNKNOWN_METHOD)._replace(status=404)
        if request.method not in ("GET", "HEAD"):
            return Response(405, (("allow", "GET, HEAD"),))
        if request.path == HEALTH_PATH:
            serving = self._is_serving() and not self._state.draining
            return Response(
                200 if serving else 503,
                (("content-type", "text/plain"),),
                b"SERVING\n" if serving else b"NOT_SERVING\n",
            )
        return self._files.response(request)


def reader(max_size: int) -> Read:
    """max_size: bytes of a request message."""

    def read(request: Request, method: Method) -> Reading:
        if request.method == "GET" and method.is_safe:
            return connect.read_get(request, max_size)
        if request.method != "POST":
            raise NotServedError(Response(405, (("allow", "GET, POST" if method.is_safe else "POST"),)))
        content_type = _media_type(request)
        kind: type[Message] = method.response_class
        if content_type in grpc_web.TYPES:
            return grpc_web.read(request, content_type, kind, max_size)
        types = connect.STREAM_TYPES if method.streams else connect.UNARY_TYPES
        if content_type not in types:
            raise NotServedError(connect.unsupported((*types, *grpc_web.TYPES)))
        if method.streams:
            return connect.read_stream(request, kind, types[content_type], max_size)
        return connect.read_post(request, types[content_type], max_size)

    return read


def _media_type(request: Request) -> str:
    """The content type without parameters, such as charset=utf-8."""
    return request.named.get("content-type", "").partition(";")[0].strip().lower()
