"""The queue of messages to be sent: in order, each once, until the server has answered.

A thread sends what is queued in requests of up to MAX_BATCH messages. Each has a client_msg_id, so a request whose
answer was lost is sent again and doubles nothing.
"""

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import Future

from gochat.api.logic.v1.logic_pb2 import SendMessageRequest
from gochat.api.message.v1.message_pb2 import SendMessagesRequest, SendResult
from gochat.client.backoff import full_jitter
from gochat.client.connection import Connection, TokenSource
from gochat.client.errors import ChatError, closed, from_body
from gochat.client.store import Store

MAX_BATCH = 40  # messages: of the largest these are just within the 1 MiB of a request
_FOR_ALL = {"UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "CANCELLED", "FAILED_PRECONDITION"}
"""Codes of a call that the next message would meet too."""
QUEUED, SENT, FAILED = "queued", "sent", "failed"


class Outgoing:
    """A message on its way. request: what is sent.

    status: "queued" until the server has answered; then "sent", or "failed" where trying again would not help.
    message_id, created_at (Unix milliseconds): once it is sent. error: why it is failed, or why it is still queued.
    """

    def __init__(self, request: SendMessageRequest, error: ChatError | None = None) -> None:
        self.request, self.error = request, error
        self.status = FAILED if error else QUEUED
        self.message_id, self.created_at = "", 0
        self._done: Future[str] = Future()
        if error:
            self._done.set_exception(error)

    @property
    def client_msg_id(self) -> str:
        return self.request.metadata["client_msg_id"]

    def result(self, timeout: float | None = None) -> str:
        """Waits for the answer, seconds at most; returns the message id. Raises ChatError if the message is failed, or
        is not tried any more before the next start; TimeoutError. In asyncio: `await outgoing`."""
        return self._done.result(timeout)

    def __await__(self) -> Generator[None, None, str]:
        return asyncio.wrap_future(self._done).__await__()

    def __repr__(self) -> str:
        return f"<Outgoing {self.client_msg_id} {self.status}{f' {self.error}' if self.error else ''}>"

    def _end(self, status: str, error: ChatError | None = None) -> None:
        self.status, self.error = status, error
        if self._done.done():
            return
        if error:
            self._done.set_exception(error)
        else:
            self._done.set_result(self.message_id)


class Outbox:
    """Thread-safe. Its thread begins with the first message."""

    def __init__(self, connection: Connection, token_of: TokenSource, store: Store) -> None:
        self._connection, self._token_of, self._store = connection, token_of, store
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._batch = MAX_BATCH
        self._is_over: ChatError | None = None
        self._messages: dict[str, Outgoing] = {}
        """All that are not sent, by client_msg_id, in the order in which they are sent."""
        for request, failed in store.outgoing():
            self._messages[request.metadata["client_msg_id"]] = Outgoing(request, _read_error(failed))
        if self._queued():
            self._start()

    def put(self, request: SendMessageRequest) -> Outgoing:
        outgoing = Outgoing(request)
        with self._changed:
            if self._is_over:
                raise self._is_over
            self._store.put_outgoing(request)
            self._messages[outgoing.client_msg_id] = outgoing
            self._start()
            self._changed.notify_all()
        return outgoing

    def all(self) -> list[Outgoing]:
        """Those that are queued or failed."""
        with self._changed:
            return list(self._messages.values())

    def retry(self, client_msg_id: str) -> Outgoing:
        """Puts one that is failed at the end of the queue. Raises KeyError."""
        with self._changed:
            if self._messages[client_msg_id].status != FAILED:
                return self._messages[client_msg_id]
            outgoing = Outgoing(self._messages.pop(client_msg_id).request)
            self._store.set_failed(client_msg_id, "")
            self._messages[client_msg_id] = outgoing
            self._start()
            self._changed.notify_all()
        return outgoing

    def discard(self, client_msg_id: str) -> None:
        """Forgets one that is failed. Raises KeyError."""
        with self._changed:
            if self._messages[client_msg_id].status == FAILED:
                del self._messages[client_msg_id]
                self._store.delete_outgoing(client_msg_id)

    def flush(self, timeout: float | None) -> bool:
        """Waits until nothing is queued, seconds at most. Did it come to that?"""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or not self._queued(), timeout)
            return not self._queued()

    def stop(self) -> None:
        """What is queued stays in the store."""
        self._stop(closed())

    def join(self) -> None:
        """After stop(), and once the connection is closed."""
        if self._thread:
            self._thread.join()

    def _queued(self) -> list[Outgoing]:
        return [outgoing for outgoing in self._messages.values() if outgoing.status == QUEUED]

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gochat outbox", daemon=True)
            self._thread.start()

    def _stop(self, error: ChatError) -> None:
        """Nothing is sent any more."""
        with self._changed:
            self._is_over = self._is_over or error
            for outgoing in self._queued():
                outgoing._end(QUEUED, self._is_over)
            self._changed.notify_all()

    def _run(self) -> None:
        waits = full_jitter(*self._connection.backoff)
        while batch := self._next():
            try:
                error = self._send(batch)
            except ChatError as failed:
                error = failed
            if error is None:
                waits = full_jitter(*self._connection.backoff)
                self._batch = min(self._batch + 1, MAX_BATCH)
            elif error.code in _FOR_ALL or error.reason == "STORE_FAILED":
                self._stop(error)
            elif error.is_transient:
                for outgoing in batch:
                    outgoing.error = error
                self._batch = max(1, len(batch) // 2)  # what a bad connection carries, or a rate limit lets through
                self._connection.on_closed.wait(error.retry_after or next(waits))
            elif len(batch) > 1:  # more than the rate limit ever lets through at once, or one that no server takes
                self._batch = len(batch) // 2
            else:
                self._failed(batch[0], error)

    def _next(self) -> list[Outgoing]:
        """Waits until something is queued; empty once it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._queued())
            return [] if self._is_over else self._queued()[: self._batch]

    def _send(self, batch: list[Outgoing]) -> ChatError | None:
        """The error of those that are to be sent again. Raises ChatError."""
        request = SendMessagesRequest(messages=[outgoing.request for outgoing in batch])
        answer = self._connection.call(self._connection.message.SendMessages, request, self._token_of)
        transient = None
        for outgoing, result in zip(batch, answer.results, strict=True):
            if not result.HasField("error"):
                self._sent(outgoing, result)
            elif (error := from_body(result.error)).is_transient:
                transient = error
            else:
                self._failed(outgoing, error)
        with self._changed:
            self._changed.notify_all()
        return transient

    def _sent(self, outgoing: Outgoing, result: SendResult) -> None:
        self._store.delete_outgoing(outgoing.client_msg_id)
        outgoing.message_id, outgoing.created_at = result.message_id, result.created_at
        with self._changed:
            del self._messages[outgoing.client_msg_id]
        outgoing._end(SENT)

    def _failed(self, outgoing: Outgoing, error: ChatError) -> None:
        self._store.set_failed(outgoing.client_msg_id, f"{error.code}\n{error.reason}\n{error.message}")
        with self._changed:
            outgoing._end(FAILED, error)
            self._changed.notify_all()


def _read_error(text: str) -> ChatError | None:
    if not text:
        return None
    code, reason, message = text.split("\n", 2)
    return ChatError(code, message, reason)
