"""The processes that make the calls, and the users as whom they call."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from gochat.api.common.v1.common_pb2 import ConversationInfo, PaginationRequest
from gochat.api.event.v1.event_pb2 import GetStateRequest
from gochat.api.event.v1.event_pb2_grpc import EventServiceStub
from gochat.api.logic.v1 import logic_pb2 as pb
from gochat.api.logic.v1.logic_pb2_grpc import LogicServiceStub
from gochat.bench.seed import PASSWORD, username
from gochat.config import ConfigError, Tls
from gochat.rpc import load
from gochat.rpc.client import channel_to
from gochat.rpc.load import Sample, Script


@dataclass(frozen=True)
class Person:
    """A signed-in user. conversations: the latest 100; unread: those with unread messages."""

    user_id: str
    token: str
    conversations: list[ConversationInfo]
    unread: list[ConversationInfo]

    @property
    def groups(self) -> list[str]:
        return [info.conversation_id for info in self.conversations if info.type == "group"]


def sign_in(address: str, number: int) -> Person:
    """Signs in as one of the users that bench has made. Raises ConfigError, ChatError."""
    with channel_to(address, Tls()) as channel:
        answer = LogicServiceStub(channel).Authenticate(pb.AuthRequest(username=username(number), password=PASSWORD))
    token = answer.access_token
    with channel_to(address, Tls(), lambda: token) as channel:
        logic = LogicServiceStub(channel)
        page = PaginationRequest(limit=100)
        conversations = logic.GetConversations(pb.GetConversationsRequest(pagination=page)).conversations
        unread = logic.GetUnreadMessages(pb.GetUnreadMessagesRequest()).conversations
    return Person(answer.user_info.user_id, token, list(conversations), list(unread))


def newest_cursor(address: str, token: str, user_id: str) -> str:
    """Of the streams of anybody. token: of a service. Raises ConfigError, ChatError."""
    with channel_to(address, Tls(), lambda: token) as channel:
        answer = EventServiceStub(channel).GetState(GetStateRequest(user_id=user_id, limit=1))
    return str(answer.cursor)


class Clients:
    """The client processes, over which the workers are spread."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def prepare(self, name: str, address: str, scripts: Sequence[Script]) -> None:
        """Makes a worker for each script."""
        for number, pipe in enumerate(self._pipes):
            pipe.send((name, address, scripts[number :: len(self._pipes)]))

    def run(self, name: str, seconds: float) -> Sample:
        """Runs the workers of this name for so many seconds. Raises ConfigError if a process has ended."""
        try:
            for pipe in self._pipes:
                pipe.send((name, seconds))
            parts: list[Sample] = [pipe.recv() for pipe in self._pipes]
        except (EOFError, OSError):
            raise ConfigError("a process that made calls has ended") from None
        return merged(parts, max(part.seconds for part in parts))


def merged(parts: Sequence[Sample], seconds: float) -> Sample:
    errors = sum((part.errors for part in parts), Counter[str]())
    return Sample([latency for part in parts for latency in part.latencies], errors, seconds)


@contextmanager
def clients(workers: int, *, own_connections: bool) -> Iterator[Clients]:
    """Starts a process for each core, but no more than workers. own_connections: a connection for each worker, not for
    each process."""
    spawn = multiprocessing.get_context("spawn")
    running: list[tuple[SpawnProcess, Connection]] = []
    try:
        for _ in range(min(workers, len(os.sched_getaffinity(0)))):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=load.client, args=(theirs, own_connections), daemon=True)
            # Ctrl-C goes to this process, which then stops its children. They inherit the blocked signals.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            theirs.close()
            running.append((process, ours))
        yield Clients([pipe for _, pipe in running])
    finally:
        for process, pipe in running:
            pipe.close()
            process.terminate()
            process.join()
