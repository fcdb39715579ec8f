"""A running GoChat, driven as a client would drive it: real processes, real ports, real databases."""

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import psycopg2
from google.rpc import error_details_pb2, status_pb2

from gochat.api.audit.v1 import audit_pb2, audit_pb2_grpc
from gochat.api.common.v1 import common_pb2
from gochat.api.conversation.v1 import conversation_pb2, conversation_pb2_grpc
from gochat.api.event.v1 import event_pb2, event_pb2_grpc
from gochat.api.group.v1 import group_pb2, group_pb2_grpc
from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from gochat.api.message.v1 import message_pb2, message_pb2_grpc
from gochat.api.push.v1 import push_pb2, push_pb2_grpc
from gochat.api.repo.v1 import repo_pb2, repo_pb2_grpc
from gochat.api.session.v1 import session_pb2, session_pb2_grpc
from gochat.api.user.v1 import user_pb2, user_pb2_grpc
from gochat.config import load
from gochat.context import Caller
from gochat.domain.revocation import Revocations
from gochat.domain.tokens import SERVICE_KIND, Tokens
from gochat.headers import ACT_AS
from gochat.internal.account.v1 import account_pb2_grpc
from gochat.internal.store.v1 import store_pb2_grpc
from gochat.keys import signing_keys
from gochat.services import LOGIC, SERVICES, rpcs
from tests.processes import Process, Settings, environment, gochat

PASSWORD = "correct horse"
CONTENT = "for your eyes only"
UNLIMITED = {
    "GOCHAT_LIMITS_CALLS_PER_SECOND": "0",
    "GOCHAT_LIMITS_SENDS_PER_SECOND": "0",
    "GOCHAT_LIMITS_FAILED_SIGN_INS_PER_MINUTE": "0",
}
"""Settings for scenarios that are not about rate limits: all tests together are one busy client."""
FEW_CONNECTIONS = {"GOCHAT_DATABASE_POOL_MIN": "2"}
"""Of the ten that a server opens at once, most tests use two; each takes PostgreSQL 10 ms, and a check every 2 s."""

FOR_APPS: tuple[tuple[str, Any, str], ...] = (
    ("session", session_pb2, "SessionService"),
    ("message", message_pb2, "MessageService"),
    ("group", group_pb2, "GroupService"),
    ("event", event_pb2, "EventService"),
    ("conversation", conversation_pb2, "ConversationService"),
    ("push", push_pb2, "PushService"),
    ("logic", logic_pb2, "LogicService"),
)
"""The attribute of a Deployment with the stub, the module, the service."""

HALVES = {path: service.half for service in SERVICES for path in rpcs([service])}
"""By the path of each RPC."""

_numbers = count(1)


def fresh(prefix: str = "user") -> str:
    """A name that no other test uses."""
    return f"{prefix}{os.getpid()}x{next(_numbers)}"


def new_connection(address: str) -> grpc.Channel:
    """A channel with a connection that it shares with no other channel."""
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


class Deployment:
    """A running GoChat: one process, or two that share the work.

    url: of the database; "" for SQLite in the data folder. listen: where apps are served. open_channel: how channels
    are made. within: as of Process. `logic`, `repo`, `session`, `message`, `group`, `event`, `push`, `user`, `store`,
    `account` and `audit` are generated stubs; `service` is the metadata of a service token.
    """

    def __init__(
        self,
        folder: Path,
        *,
        url: str = "",
        split: bool = False,
        env: Settings | None = None,
        listen: str = "127.0.0.1:0",
        open_channel: Callable[[str], grpc.Channel] = grpc.insecure_channel,
        within: tuple[str, ...] = (),
    ) -> None:
        self.folder, self.data, self.url, self.split = folder, folder / "data", url, split
        self.env = UNLIMITED | FEW_CONNECTIONS | dict(env or {}) | ({"GOCHAT_DATABASE_URL": url} if url else {})
        self._listen, self._open_channel, self._within = listen, open_channel, within
        folder.mkdir(parents=True, exist_ok=True)
        self.processes: list[Process] = []
        self.start()

    def start(self) -> None:
        """Starts it; after stop() or kill() again, on the same data."""
        if self.split:
            repo = self._process("repo")
            try:
                logic = self._process("logic", self._listen, GOCHAT_REPO_ADDRESS=repo.address)
            except BaseException:
                repo.kill()
                raise
            self.processes = [logic, repo]
        else:
            self.processes = [self._process("all", self._listen)]
        logic, repo = self.processes[0], self.processes[-1]
        self.address, self.repo_address = logic.address, repo.address
        self.channel = self._open_channel(logic.address)
        self.repo_channel = self._open_channel(repo.address)
        self.logic = logic_pb2_grpc.LogicServiceStub(self.channel)
        self.session = session_pb2_grpc.SessionServiceStub(self.channel)
        self.message = message_pb2_grpc.MessageServiceStub(self.channel)
        self.group = group_pb2_grpc.GroupServiceStub(self.channel)
        self.event = event_pb2_grpc.EventServiceStub(self.channel)
        self.conversation = conversation_pb2_grpc.ConversationServiceStub(self.channel)
        self.push = push_pb2_grpc.PushServiceStub(self.channel)
        self.user = user_pb2_grpc.UserServiceStub(self.channel)
        self.repo = repo_pb2_grpc.RepoServiceStub(self.repo_channel)
        self.store = store_pb2_grpc.StoreServiceStub(self.repo_channel)
        self.account = account_pb2_grpc.AccountServiceStub(self.repo_channel)
        self.audit = audit_pb2_grpc.AuditServiceStub(self.repo_channel)
        self.service = bearer(self.token("service"))

    def restart_repo(self) -> None:
        """Starts the repo half again, on the address that it had, after it was killed."""
        assert self.split
        self.processes[-1] = self._process("repo", self.repo_address)

    def channel_to(self, half: str) -> grpc.Channel:
        return self.channel if half == LOGIC else self.repo_channel

    def channel_of(self, path: str) -> grpc.Channel:
        """To the half that serves this RPC."""
        return self.channel_to(HALVES[path])

    def _process(self, target: str, listen: str = "127.0.0.1:0", **env: str) -> Process:
        arguments = ("serve", "--target", target, "--data", str(self.data), "--listen", listen)
        log = self.folder / f"{target}.log"
        return Process(*arguments, env=self.env | env, log=log, within=self._within)

    def token(self, role: str, ttl: int = 3600) -> str:
        """As `gochat token` prints it, without the start of a process. ttl: seconds."""
        config = load(environment=environment(self.env)).with_settings("server", data=str(self.data))
        return Tokens(signing_keys(config, make=False), Revocations(0)).sign(SERVICE_KIND, Caller(role=role), ttl)

    def run(self, *arguments: str, stdin: str | None = None, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs a gochat command with the settings and the data folder of this deployment."""
        return gochat(*arguments, "--data", self.data, env=self.env, stdin=stdin, check=check, timeout=300)

    def stop(self) -> list[int]:
        self._close()
        return [process.stop() for process in self.processes]

    def kill(self) -> None:
        self._close()
        for process in self.processes:
            process.kill()

    def _close(self) -> None:
        self.channel.close()
        self.repo_channel.close()

    def logs(self) -> str:
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def create_user(self, username: str = "", **fields: Any) -> str:
        """Returns the user id. A user without name and fields has no password, and takes no hash."""
        if not username and not fields:
            return self._without_password(username=fresh())
        request = repo_pb2.CreateUserRequest(username=username or fresh(), **({"password": PASSWORD} | fields))
        return str(self.repo.CreateUser(request, metadata=self.service).user_id)

    def _without_password(self, **fields: Any) -> str:
        request = user_pb2.UpsertUsersRequest(users=[user_pb2.UserUpsert(**fields)])
        (result,) = self.user.UpsertUsers(request, metadata=self.service).results
        assert result.user_id, result.error
        return str(result.user_id)

    def person(self, prefix: str = "user", *, password: str = "", admin: bool = False, **fields: Any) -> "Person":
        """A new user with a session. password: with which they sign in; one without takes no hashes. fields: of their
        profile."""
        username = fresh(prefix)
        if password:
            user_id = self.create_user(username, password=password, **fields)
        else:
            user_id = self._without_password(username=username, **fields)
        if admin:
            self.user.SetRole(user_pb2.SetRoleRequest(user_id=user_id, role="admin"), metadata=self.service)
        return self.signed_in(user_id, username, password)

    def signed_in(self, user_id: str, username: str, password: str = "", device_id: str = "") -> "Person":
        """A session of a user's. Without a password a service opens it."""
        answer: Any
        if password:
            request = logic_pb2.AuthRequest(username=username, password=password, device_id=device_id)
            answer = self.logic.Authenticate(request)
        else:
            opened = session_pb2.CreateSessionRequest(user_id=user_id, device_id=device_id)
            answer = self.session.CreateSession(opened, metadata=self.service)
        return Person(self, user_id, username, answer.access_token, answer.refresh_token)

    def acting(self, person: "Person", name: str = "") -> "Person":
        """The same user, in whose place a service calls. name: as in x-gochat-act-as."""
        acted = Person(self, person.id, person.username, "", "")
        acted.metadata = (*self.service, (ACT_AS, name or person.id))
        return acted

    def events(self, **fields: Any) -> list[audit_pb2.Event]:
        """The latest entries of the audit log, the oldest of them first. fields: of ListEventsRequest."""
        request = audit_pb2.ListEventsRequest(**({"limit": 200} | fields))
        return list(reversed(self.audit.ListEvents(request, metadata=self.service).events))

    def people(self, number: int, password: str = "") -> "list[Person]":
        return [self.person(password=password) for _ in range(number)]


@contextmanager
def locked(app: Deployment) -> Iterator[Any]:
    """While this lasts, or until its rollback(), no send is done."""
    connection: Any
    if app.url:
        connection = psycopg2.connect(app.url)
        connection.cursor().execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
    else:
        connection = sqlite3.connect(app.data / "gochat.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
    with closing(connection):
        yield connection


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


class Person:
    """A signed-in user. `person.SendMessage(content=...)` calls the RPC of the service for apps that has one of this
    name with the user's token; keywords are the fields of its request."""

    def __init__(self, app: Deployment, user_id: str, username: str, access_token: str, refresh_token: str) -> None:
        self.app, self.id, self.username = app, user_id, username
        self.access_token, self.refresh_token = access_token, refresh_token
        self.metadata: tuple[tuple[str, str], ...] = bearer(access_token)

    def __getattr__(self, rpc: str) -> Callable[..., Any]:
        stub, module, service = next(
            (getattr(self.app, name), module, service)
            for name, module, service in FOR_APPS
            if rpc in module.DESCRIPTOR.services_by_name[service].methods_by_name
        )
        return caller(stub, module, service, rpc, self.metadata)

    def send(self, to: str, content: str = CONTENT, **fields: Any) -> Any:
        """to: a conversation id or a user id."""
        where = {"to_user_id" if to.startswith("u") else "conversation_id": to}
        return self.SendMessage(content=content, **where, **fields)

    def begin_send(self, to: str, channel: grpc.Channel | None = None, timeout: float = 30) -> Any:
        """A send under way: the future of its answer. channel: the app's, unless another is given."""
        where = {"to_user_id" if to.startswith("u") else "conversation_id": to}
        request = logic_pb2.SendMessageRequest(content="running", **where)
        stub = logic_pb2_grpc.LogicServiceStub(channel) if channel else self.app.logic
        return stub.SendMessage.future(request, metadata=self.metadata, timeout=timeout)


def caller(stub: Any, module: Any, service: str, rpc: str, metadata: Any) -> Callable[..., Any]:
    """call(**fields) for one RPC of a service."""
    request = module.DESCRIPTOR.services_by_name[service].methods_by_name[rpc].input_type.name

    def call(**fields: Any) -> Any:
        return getattr(stub, rpc)(getattr(module, request)(**fields), metadata=metadata, timeout=30)

    return call


def as_service(app: Deployment) -> SimpleNamespace:
    """`as_service(app).repo.GetUser(user_id=...)`, and logic, message, group: calls with a service token."""

    class Calls:
        def __init__(self, stub: Any, module: Any, service: str) -> None:
            self._of = (stub, module, service)

        def __getattr__(self, rpc: str) -> Callable[..., Any]:
            return caller(*self._of, rpc, app.service)

    return SimpleNamespace(
        user=Calls(app.user, user_pb2, "UserService"),
        session=Calls(app.session, session_pb2, "SessionService"),
        repo=Calls(app.repo, repo_pb2, "RepoService"),
        logic=Calls(app.logic, logic_pb2, "LogicService"),
        message=Calls(app.message, message_pb2, "MessageService"),
        group=Calls(app.group, group_pb2, "GroupService"),
        conversation=Calls(app.conversation, conversation_pb2, "ConversationService"),
        push=Calls(app.push, push_pb2, "PushService"),
    )


@dataclass
class Refusal:
    """What a client was answered: filled when the block of `refused` ends."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    reason: str = ""
    fields: dict[str, str] | None = None
    response: Any = None
    request_id: str = ""


@contextmanager
def refused(status: str, field: str = "", reason: str = "") -> Iterator[Refusal]:
    """The block must fail with this gRPC status; with a field, BadRequest and ErrorResponse must name it. Checks the
    whole error convention on the way: details, business code, request id."""
    refusal = Refusal()
    try:
        yield refusal
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        assert error.code() is not None
        assert error.code().name == status, f"{error.code().name}: {error.details()}"
        trailing = dict(error.trailing_metadata() or ())
        packed = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
        assert packed.code == error.code().value[0]
        assert packed.message == error.details()
        info, answer, bad = error_details_pb2.ErrorInfo(), common_pb2.ErrorResponse(), error_details_pb2.BadRequest()
        for detail in packed.details:
            for message in (info, answer, bad):
                detail.Unpack(message)
        refusal.code, refusal.message, refusal.reason = error.code(), str(error.details()), info.reason
        refusal.fields = {violation.field: violation.description for violation in bad.field_violations}
        refusal.response, refusal.request_id = answer, str(trailing["x-request-id"])
        assert info.domain == "gochat"
        assert answer.message == error.details()
        assert answer.request_id == refusal.request_id
        assert abs(answer.timestamp - time.time() * 1000) < 60_000
        assert answer.details["reason"] == info.reason
        if field:
            assert field in refusal.fields, refusal
            assert answer.details[field] == refusal.fields[field]
        if reason:
            assert info.reason == reason
        return
    raise AssertionError(f"this was not refused; {status} was expected")
