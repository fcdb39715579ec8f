"""Random requests for every RPC: python -m tests.attacks.fuzz [--seconds 600] [--seed 7] [--postgres]. Exit code 1 if
an answer is one that no client should ever get."""

import argparse
import random
import re
import socket
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from gochat.api.repo.v1 import repo_pb2, repo_pb2_grpc
from gochat.internal.account.v1 import account_pb2, account_pb2_grpc
from tests.attacks.strategies import MESSAGE, RPCS, Generator, Request, wire_requests
from tests.conversations import conversation_of
from tests.harness import PASSWORD, Deployment, bearer, fresh
from tests.postgres import running_postgres

NEVER = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "DATA_LOSS", "CANCELLED"}
STREAM_TIMEOUT = 2.0  # seconds: one to which nothing happens says nothing
INTERNAL_TEXT = re.compile(
    r"Traceback|(?i:sqlite|psycopg|peewee)|/gochat/|SELECT |INSERT |/(usr|tmp|home|work|proc)/|\.py\b"
    r"|\b\w+Error\b|\b\w*Exception\b|metadata size exceeds"
)
BAD_LOG = re.compile(
    r" (ERROR|CRITICAL) |Traceback|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]"
)
ID = re.compile(rb"[ugsda][0-9a-hjkmnp-tv-z]{26}(?:-\d{12})?")
ENV = {"GOCHAT_AUTH_REGISTRATION": "open", "GOCHAT_LOG_LEVEL": "debug"}
"""Settings that let the fuzz further in, and that log more."""


class UnfitError(AssertionError):
    """An answer that no client should get, or a line that should not be logged."""


@dataclass
class Report:
    """findings: what was wrong with which RPC -> the smallest request that shows it, and the answer."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: dict[tuple[str, str], tuple[Request, str]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{number:8} {path} {status}" for (path, status), number in sorted(self.calls.items())]
        lines.append(f"{self.calls.total():8} calls")
        for (path, what), (request, answer) in self.findings.items():
            lines.append(f"\n{path}: {what}\n{request}\n{answer}")
        return "\n".join(lines)

    def find(self, what: str, request: Request, answer: str) -> None:
        """Keeps the smallest request of a kind."""
        key = (request.path, what)
        if key not in self.findings or len(request.data) < len(self.findings[key][0].data):
            self.findings[key] = request, answer


class World:
    """Two users, an admin, a service, and what they have."""

    def __init__(self, channel: grpc.Channel, service: Any) -> None:
        self._service = service
        self._logic = logic_pb2_grpc.LogicServiceStub(channel)
        self._repo = repo_pb2_grpc.RepoServiceStub(channel)
        self._account = account_pb2_grpc.AccountServiceStub(channel)
        self.seen: deque[str] = deque(maxlen=100)
        self.renew()

    def renew(self) -> None:
        """People to go on with when the fuzz has shut those of before out."""
        self.callers: dict[str, Any] = {"nobody": (), "service": self._service}
        self.own: list[str] = []
        self.names: list[str] = []
        for who in ("user", "friend", "admin"):
            name = fresh(who)
            request = repo_pb2.CreateUserRequest(username=name, password=PASSWORD)
            user_id = self._repo.CreateUser(request, metadata=self._service).user_id
            if who == "admin":
                role = account_pb2.SetUserRoleRequest(user_id=user_id, role="admin")
                self._account.SetUserRole(role, metadata=self._service)
            signed_in = self._logic.Authenticate(logic_pb2.AuthRequest(username=name, password=PASSWORD))
            self.callers[who] = bearer(signed_in.access_token)
            self.names.append(name)
            self.own.append(user_id)
        user, friend, _ = self.own
        as_user = self.callers["user"]
        group = logic_pb2.CreateGroupRequest(name="Fuzz", member_ids=[friend])
        group_id = self._logic.CreateGroup(group, metadata=as_user).group_id
        for where in ({"conversation_id": group_id}, {"to_user_id": friend}):
            sent = self._logic.SendMessage(logic_pb2.SendMessageRequest(content="x", **where), metadata=as_user)
            self.own += [sent.message_id, conversation_of(sent)]
        sessions = self._account.ListUserSessions(
            account_pb2.ListUserSessionsRequest(user_id=user), metadata=self._service
        )
        self.own += [session.session_id for session in sessions.sessions]

    def check(self) -> None:
        """Renews it if the fuzz has ended a session or deleted a user, whose token works a moment longer."""
        for who in ("user", "friend", "admin"):
            try:
                self._logic.GetUserProfile(logic_pb2.GetUserProfileRequest(), metadata=self.callers[who], timeout=30)
            except grpc.RpcError as error:
                assert isinstance(error, grpc.Call)
                if error.code() not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.NOT_FOUND):
                    raise
                self.renew()
                return

    def ids(self, kind: str) -> list[str]:
        known = [*self.own * 3, *self.seen]
        return [one for one in known if (("-" in one) if kind == MESSAGE else one[0] in kind and "-" not in one)]


def on_the_wire(address: str, data: bytes, timeout: float = 0.03) -> bytes:
    """What the server says to these bytes until it is silent."""
    host, _, port = address.rpartition(":")
    said = b""
    try:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(data)
            connection.settimeout(timeout)
            while got := connection.recv(65536):
                said += got
    except (TimeoutError, ConnectionResetError, BrokenPipeError):
        pass
    return said


class Fuzz:
    """log: new text of the server's log since the last call; "" where it cannot be read."""

    def __init__(self, address: str, service: Any, log: Callable[[], str]) -> None:
        self._address = address
        self._channel = grpc.insecure_channel(address)
        self._calls = {path: self._channel.unary_unary(path) for path in RPCS}
        self._log = log
        self._world = World(self._channel, service)
        self.report = Report()

    def run(self, seconds: float, seed: int) -> Report:
        self._end = time.monotonic() + seconds
        calls = st.lists(Generator(self._world).requests, min_size=1, max_size=8)
        wire = st.lists(wire_requests(), min_size=1, max_size=2)
        number = 0
        try:
            while time.monotonic() < self._end:
                self._round(calls, seed + number, 100)
                self._round(wire, seed + number, 15)
                self._world.check()
                number += 1
            assert self._serves()
        except (grpc.RpcError, AssertionError) as error:
            self.report.find("serves no longer", Request("server", "nobody", (), b""), repr(error))
        self._channel.close()
        return self.report

    def _serves(self) -> bool:
        health = health_pb2_grpc.HealthStub(self._channel)
        try:
            status = health.Check(health_pb2.HealthCheckRequest(), timeout=15).status
        except grpc.RpcError:
            return False
        return bool(status == health_pb2.HealthCheckResponse.SERVING)

    def _round(self, batches: st.SearchStrategy[list[Request]], seed: int, examples: int) -> None:
        known = set(self.report.findings)

        @seeded(seed)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(batches)
        def attempt(batch: list[Request]) -> None:
            if time.monotonic() < self._end:
                self._send(batch, known)

        try:
            attempt()
        except Exception:  # What was found stands in the report; that it comes and goes is no matter
            if set(self.report.findings) == known:
                raise

    def _send(self, batch: list[Request], known: set[tuple[str, str]]) -> None:
        """All in one call. Raises UnfitError."""
        unfit: list[tuple[str, Request, str]] = []
        waiting = []
        for request in batch:
            if request.path == "wire":
                said = on_the_wire(self._address, request.data).decode("latin-1")
                self.report.calls["wire", "answered" if said else "silent"] += 1
                if found := INTERNAL_TEXT.search(said):
                    unfit.append((f"says {found[0]!r}", request, repr(said)))
                continue
            metadata = (*self._world.callers[request.who], *request.headers)
            timeout = STREAM_TIMEOUT if RPCS[request.path].server_streaming else 30
            call = self._calls[request.path].future(request.data, metadata=metadata, timeout=timeout)
            waiting.append((request, call))
        for request, call in waiting:
            status, text, what = self._judged(request, call)
            self.report.calls[request.path.rpartition("/")[0].rpartition(".")[2], status] += 1
            if what:
                unfit.append((what, request, f"{status}: {text}"))
        if batch[-1].path == "wire" and not self._serves():
            unfit.append(("serves no longer", batch[-1], "\n\n".join(map(str, batch))))
        lines = self._log()
        if found := BAD_LOG.search(lines):
            unfit.append((f"logs {found[0].strip()!r}", batch[-1], "\n\n".join([lines, *map(str, batch)])))
        for what, request, answer in unfit:
            self.report.find(what, request, answer)
        new = [what for what, request, _ in unfit if (request.path, what) not in known]
        if new:
            raise UnfitError(new)

    def _judged(self, request: Request, call: Any) -> tuple[str, str, str]:
        """(status, all that the client was answered, what is wrong with it)."""
        status, error = call.code().name, call.exception()
        text = f"{call.details()} {call.trailing_metadata()}"
        if error is None:
            answer = GetMessageClass(RPCS[request.path].output_type).FromString(call.result())
            self._world.seen.extend(found.decode() for found in ID.findall(call.result())[:3])
            in_body = getattr(answer, "error", common_pb2.Error())  # of streams no response has one
            text = f"{in_body} {call.trailing_metadata()}"
            if in_body.code:
                status = common_pb2.ErrorCode.Name(in_body.code)
            if in_body.code == common_pb2.ERROR_CODE_INTERNAL_ERROR:
                return status, text, status
        found = INTERNAL_TEXT.search(text)
        is_unfit = status in NEVER and not (status == "DEADLINE_EXCEEDED" and RPCS[request.path].server_streaming)
        return status, text, status if is_unfit else f"shows {found[0]!r}" if found else ""


def tail(app: Deployment) -> Callable[[], str]:
    """Each call returns what was logged since the last one."""
    places: dict[Path, int] = {}

    def more() -> str:
        new = ""
        for path in app.folder.glob("*.log"):
            with path.open("rb") as log:
                log.seek(places.get(path, 0))
                read = log.read()
            places[path] = places.get(path, 0) + len(read)
            new += read.decode()
        return new

    return more


def fuzz(app: Deployment, seconds: float, seed: int) -> Report:
    """Attacks a deployment, which must be of one process, and looks whether it still serves."""
    report = Fuzz(app.address, app.service, tail(app)).run(seconds, seed)
    assert [process.stop() for process in app.processes] == [0], "it ends as it should"
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL instead of SQLite")
    parser.add_argument("--address", help="of a running server that may be filled with rubbish; takes --token")
    parser.add_argument("--token", help="of role service")
    options = parser.parse_args()
    sys.stderr.write(f"seed {options.seed}\n")
    with ExitStack() as resources:
        if options.address:
            service = bearer(options.token or parser.error("--address takes --token"))
            report = Fuzz(options.address, service, str).run(options.seconds, options.seed)
        else:
            folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
            url = resources.enter_context(running_postgres()).create_database() if options.postgres else ""
            app = Deployment(folder, url=url, env=ENV)
            resources.callback(app.kill)
            report = fuzz(app, options.seconds, options.seed)
    sys.stdout.write(f"{report}\n")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
