"""The server under test of the Connect conformance suite: its ConformanceService on GoChat's HTTP listener.

The suite starts this program for each kind of server, and says on stdin which. argv[1]: the folder of the suite's
`.proto` files. What the suite asks of a response that no handler of GoChat has (headers, trailers, arbitrary errors) is
put in here, around the exchange of the protocol: reading, framing, errors and their details, streams are GoChat's.
"""

import signal
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2
from grpc_tools import protoc

from gochat.config import Config, Limits, Tls
from gochat.context import Lane
from gochat.domain.access import Access, Cost, Rule
from gochat.errors import internal
from gochat.headers import STATUS_DETAILS
from gochat.serving.admission import Admission
from gochat.serving.binding import Method
from gochat.serving.call import Answer
from gochat.serving.endpoints import OK, Status, UnaryEndpoint
from gochat.serving.executors import Executors
from gochat.serving.metrics import WIDTH, RpcMetrics
from gochat.serving.throttle import Throttle
from gochat.web.exchange import Reading
from gochat.web.listener import WebListener
from gochat.web.messages import Request, Response
from gochat.web.router import reader

PACKAGE = "connectrpc.conformance.v1"
LIMIT = 1024 * 1024  # bytes of a request, where the suite wants no other


def load(folder: str) -> None:
    """Makes the messages of the suite known."""
    with tempfile.NamedTemporaryFile() as out:
        files = [str(path) for path in Path(folder).rglob("*.proto")]
        arguments = ["protoc", f"-I{folder}", f"-I{Path(protoc.__file__).parent / '_proto'}", "--include_imports"]
        assert protoc.main([*arguments, f"--descriptor_set_out={out.name}", *files]) == 0
        described = descriptor_pb2.FileDescriptorSet.FromString(Path(out.name).read_bytes())
    pool = descriptor_pool.Default()
    for file in described.file:
        try:
            pool.FindFileByName(file.name)
        except KeyError:
            pool.Add(file)


def message(name: str) -> Any:
    return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.{name}"))


class Unchecked(Method):
    """A method without a form."""

    def __call__(self, request: Any) -> Any:
        return self.handler(request)


class Scripted:
    """An exchange, with the headers, trailers and error that the request asks for; also its codec, by which the handler
    finds it. request: as it came. seconds: until the deadline."""

    of: dict[int, "Scripted"] = {}  # noqa: RUF012 - by the id of the request message

    def __init__(self, reading: Reading, request: Request) -> None:
        self._exchange: Any = reading.exchange
        self.request, self.seconds = request, reading.seconds
        self.leading: list[tuple[str, str]] = []
        self.trailing: list[tuple[str, str | bytes]] = []
        self.error: Any = None
        self.codec: Any = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def parse(self, kind: Any, data: bytes) -> Any:
        parsed = self._exchange.codec.parse(kind, data)
        Scripted.of[id(parsed)] = self
        return parsed

    def serialise(self, response: Any) -> bytes:
        return bytes(self._exchange.codec.serialise(response))

    def script(self, definition: Any) -> None:
        self.leading = _pairs(definition.response_headers)
        self.trailing = list(_pairs(definition.response_trailers))

    def answer(self, answer: Answer) -> Response:
        if self.error is not None:
            answer = Answer(None, *self._status(), self._with_details())
        elif answer.status == code_pb2.OK:
            answer = answer._replace(trailing=(*answer.trailing, *self.trailing))
        return self._with_leading(self._exchange.answer(answer))

    def refuse(self, status: Status) -> Response:
        return self._with_leading(self._exchange.refuse(status))

    def begin(self) -> Any:
        return (*self._exchange.begin(), *self.leading)

    def end(self, status: Status, trailing: Any = ()) -> bytes:
        if self.error is not None:
            return bytes(self._exchange.end(self._status(), self._with_details()))
        return bytes(self._exchange.end(status, (*trailing, *self.trailing)))

    def _with_leading(self, response: Response) -> Response:
        return response._replace(headers=(*response.headers, *self.leading))

    def _status(self) -> Status:
        return Status(self.error.code, self.error.message)

    def _with_details(self) -> tuple[tuple[str, str | bytes], ...]:
        status = status_pb2.Status(code=self.error.code, message=self.error.message, details=self.error.details)
        return (*self.trailing, (STATUS_DETAILS, status.SerializeToString()))

    def info(self, request: Any) -> Any:
        """What the server has seen of the request."""
        info = message("ConformancePayload").RequestInfo()
        info.requests.add().Pack(request)
        for name, values in _grouped(self.request.headers):
            info.request_headers.add(name=name, value=values)
        for name, values in _grouped(parse_qsl(self.request.query, keep_blank_values=True)):
            info.connect_get_info.query_params.add(name=name, value=values)
        if self.seconds < 1e9:
            info.timeout_ms = int(self.seconds * 1000)
        return info


def _grouped(pairs: Any) -> Iterable[tuple[str, list[str]]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values.items()


def _pairs(headers: Any) -> list[tuple[str, str]]:
    return [(header.name.lower(), value) for header in headers for value in header.value]


def unary(response: str) -> Callable[[Any], Any]:
    def handler(request: Any) -> Any:
        scripted, definition = Scripted.of.pop(id(request)), request.response_definition
        scripted.script(definition)
        time.sleep(definition.response_delay_ms / 1000)
        info = scripted.info(request)
        if definition.WhichOneof("response") == "error":
            scripted.error = _error(definition.error, info)
            raise internal()
        return message(response)(payload={"data": definition.response_data, "request_info": info})

    return handler


def _error(asked: Any, info: Any = None) -> Any:
    error = message("Error")()
    error.CopyFrom(asked)
    if info is not None:
        detail = any_pb2.Any()
        detail.Pack(info)
        error.details.append(detail)
    return error


class Responses:
    """The Subscription of a stream: its responses, each after a delay."""

    def __init__(self, request: Any) -> None:
        self._scripted, definition = Scripted.of.pop(id(request)), request.response_definition
        self._scripted.script(definition)
        self._delay = definition.response_delay_ms / 1000
        info = self._scripted.info(request)
        self._messages = [
            message("ServerStreamResponse")(payload={"data": data, "request_info": None if index else info})
            for index, data in enumerate(definition.response_data)
        ]
        self.wake: Callable[[], None] = lambda: None
        self._due_at = time.monotonic() + self._delay
        if definition.HasField("error"):
            self._scripted.error = _error(definition.error, None if self._messages else info)

    def next(self) -> bytes | None:
        if not self._messages:
            return None
        if (wait := self._due_at - time.monotonic()) > 0:
            threading.Timer(wait, lambda: self.wake()).start()
            return None
        self._due_at += self._delay
        return bytes(self._messages.pop(0).SerializeToString())

    @property
    def over(self) -> Status | None:
        return None if self._messages else OK

    def closed(self) -> None:
        self._messages = []


def endpoints(executors: Executors) -> dict[str, UnaryEndpoint]:
    rule = Rule(Access.ANYONE, cost=Cost.USUAL)
    found = {}
    for name, handler, streams, is_safe in (
        ("Unary", unary("UnaryResponse"), False, False),
        ("IdempotentUnary", unary("IdempotentUnaryResponse"), False, True),
        ("ServerStream", Responses, True, False),
    ):
        path = f"/{PACKAGE}.ConformanceService/{name}"
        kinds = message(f"{name}Request"), message(f"{name}Response")
        method = Unchecked(path, rule, *kinds, handler, None, streams=streams, has_error=False, is_safe=is_safe)
        metrics = RpcMetrics(memoryview(bytearray(8 * WIDTH)).cast("q"), "")
        found[path] = UnaryEndpoint(method, metrics, executors.of(method), Lane.POOLED)
    return found


def main() -> None:
    load(sys.argv[1])
    (size,) = struct.unpack(">I", sys.stdin.buffer.read(4))
    asked = message("ServerCompatRequest").FromString(sys.stdin.buffer.read(size))
    folder = Path(tempfile.mkdtemp())
    files = {"cert": asked.server_creds.cert, "key": asked.server_creds.key, "client_ca": asked.client_tls_cert}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    tls = Tls(**{name: str(folder / name) for name, content in files.items() if content})
    config = Config(tls=tls, limits=Limits(calls_per_second=0)).with_settings("http", listen="127.0.0.1:0")
    executors, limit = Executors(64, None), asked.message_receive_limit or LIMIT
    admission: Any = Admission(None, Throttle(config.limits), None)  # type: ignore[arg-type]
    read = reader(limit)

    def scripted(request: Request, method: Method) -> Reading:
        reading = read(request, method)
        return reading._replace(exchange=Scripted(reading, request))

    class Healthy:
        serving = True

    listener = WebListener(
        config, endpoints(executors), admission, executors, Healthy(), max_request=limit, read=scripted
    )
    listener.start()
    port = int(listener.url.rpartition(":")[2])
    answer = message("ServerCompatResponse")(host="127.0.0.1", port=port, pem_cert=asked.server_creds.cert)
    data = answer.SerializeToString()
    sys.stdout.buffer.write(struct.pack(">I", len(data)) + data)
    sys.stdout.buffer.flush()
    signal.pause()


if __name__ == "__main__":
    main()
