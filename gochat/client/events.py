"""events(): what happens, one after the other, across disconnects, restarts of the server and Resync."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Self

import grpc

from gochat.api.event.v1.event_pb2 import Event, Goodbye, Resync, SubscribeRequest
from gochat.client import ids
from gochat.client.backoff import full_jitter
from gochat.client.connection import Connection, bearer, is_about_token
from gochat.client.errors import ChatError, closed, from_rpc_error
from gochat.client.resync import Reader
from gochat.client.session import Session
from gochat.client.store import Store

OPEN_TIMEOUT = 30.0  # seconds until the first response
SILENCE = 2.5  # heartbeats
CHECK_INTERVAL = 0.5  # seconds


class Watchdog:
    """Cancels a stream that has been silent for too long while its reader waits. on_stop: set once it is over."""

    def __init__(self, check_interval: float = CHECK_INTERVAL) -> None:
        self.on_stop = threading.Event()
        self.limit = OPEN_TIMEOUT
        self._lock = threading.Lock()
        self._call: grpc.Call | None = None
        self._since = 0.0
        self._check_interval = check_interval
        threading.Thread(target=self._run, name="gochat watchdog", daemon=True).start()

    def waits_for(self, call: grpc.Call | None) -> None:
        """The reader waits for a response of this stream; None: for nothing."""
        with self._lock:
            self._call, self._since = call, monotonic()
        if call and self.on_stop.is_set():
            call.cancel()

    def stop(self) -> None:
        self.on_stop.set()
        with self._lock:
            if self._call:
                self._call.cancel()

    def _run(self) -> None:
        while not self.on_stop.wait(self._check_interval):
            with self._lock:
                if self._call and monotonic() - self._since > self.limit:
                    self._call.cancel()


class Events:
    """An iterator of events, for one thread at a time; close() is for any. It ends when it or its client is closed.

    An event counts as handed over when the next one is asked for, or when the iterator is closed: what a program was
    killed over comes again. user_id_of(): whose events, or empty for a service that gets everything.
    """

    def __init__(
        self,
        connection: Connection,
        session: Session,
        store: Store,
        user_id_of: Callable[[], str],
        *,
        typing: bool = False,
        presence: Sequence[str] = (),
    ) -> None:
        self._connection, self._session, self._store, self._user_id_of = connection, session, store, user_id_of
        self._typing, self._presence = typing, presence
        self._user_id = ""
        self._watchdog = Watchdog()
        self._rejected = ""  # a token
        self._waits = full_jitter(*connection.backoff)
        self._events = self._run()
        self.is_connected = False
        """A stream is open."""
        self.is_unread = False
        """What was handed over last has reached nobody: it comes again."""

    def begin(self) -> None:
        """Has it begin now, and not with the first event, if the server is there. Raises ChatError where trying again
        would not help."""
        try:
            self._begin()
        except ChatError as error:
            if not error.is_transient:
                raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        self._watchdog.stop()
        with suppress(ValueError):  # of one that is in use: it ends by itself
            self._events.close()

    @property
    def is_closed(self) -> bool:
        return self._watchdog.on_stop.is_set()

    def _run(self) -> Generator[Event, None, None]:
        while not self.is_closed:
            try:
                wait = yield from self._stream()
            except ChatError as error:
                if self.is_closed:
                    return
                if not error.is_transient:
                    self._watchdog.stop()
                    raise
                if not error.retry_after:
                    self._back_off(next(self._waits))
                    continue
                wait = error.retry_after
            self._watchdog.on_stop.wait(wait)

    def _back_off(self, seconds: float) -> None:
        """At most: once another call is answered, the server is back."""
        began = monotonic()
        while (left := began + seconds - monotonic()) > 0 and self._connection.answered_at < began:
            if self._watchdog.on_stop.wait(min(left, CHECK_INTERVAL)):
                return

    def _stream(self) -> Generator[Event, None, float]:
        """One stream, to its end; returns the seconds to wait before the next. Raises ChatError."""
        self._begin()
        number, token = self._session.number, self._session.token()
        request = SubscribeRequest(
            cursor=self._store.get("cursor"),
            user_id=self._user_id,
            typing=self._typing,
            presence_user_ids=self._presence,
        )
        try:
            call = self._connection.event.Subscribe(request, metadata=bearer(token))
        except ValueError:
            raise closed() from None
        self._watchdog.limit = OPEN_TIMEOUT
        self._watchdog.waits_for(call)
        try:
            for response in call:
                self._watchdog.waits_for(None)
                if response.HasField("ready"):
                    self.is_connected = True
                    self._watchdog.limit = response.ready.heartbeat_seconds * SILENCE
                    self._waits = full_jitter(*self._connection.backoff)
                elif response.HasField("resync"):
                    yield from self._resync(response.resync, response.cursor)
                elif response.HasField("goodbye"):
                    return self._goodbye(response.goodbye, number)
                for event in response.batch.events:
                    yield from self._hand_over(event)
                if response.cursor:
                    self._store.set("cursor", response.cursor)
                self._watchdog.waits_for(call)
        except grpc.RpcError as failed:
            error = from_rpc_error(failed)
            if is_about_token(error) and token != self._rejected:
                self._rejected = token
                return next(self._waits)
            raise error from None
        finally:
            self.is_connected = False
            self._watchdog.waits_for(None)
            call.cancel()
        raise ChatError("UNAVAILABLE", "the stream ended without a goodbye")

    def _begin(self) -> None:
        self._session.token(self._rejected)  # signs in where nobody is yet
        self._user_id = self._user_id_of()
        if self._user_id and not self._store.get("cursor"):
            self._reader().begin()
        elif self._user_id and not self._store.get("has_settings"):  # a store of an earlier version
            self._reader().settings()

    def _reader(self) -> Reader:
        return Reader(self._connection, self._session.token, self._store, self._user_id)

    def _hand_over(self, event: Event) -> Iterator[Event]:
        """Unless it is a message that was handed over before."""
        conversation_id, seq = "", 0
        if event.HasField("message_sent"):
            conversation_id, seq = ids.split(event.message_sent.message.message_id)
            if seq <= (self._store.delivered_seq(conversation_id) or 0):
                return
        self._store.apply(event, self._user_id)
        try:
            yield event
        finally:
            if seq and not self.is_unread:
                self._store.set_delivered(conversation_id, seq)

    def _resync(self, resync: Resync, cursor: str) -> Iterator[Event]:
        if self._user_id:
            for event in self._reader().missed(resync.reason):
                yield from self._hand_over(event)
            return
        self._store.set("cursor", cursor)  # of everything that happens nobody keeps a state
        reason = Resync.Reason.Name(resync.reason).removeprefix("REASON_")
        raise ChatError("DATA_LOSS", "events were missed; the next ones follow from here", reason)

    def _goodbye(self, goodbye: Goodbye, number: int) -> float:
        if goodbye.reason == Goodbye.REASON_SESSION_ENDED:
            if not self._session.is_replaced(number):
                error = ChatError("UNAUTHENTICATED", "the session has ended; sign in again", "SESSION_ENDED")
                self._session.end(error)
                raise error
        elif goodbye.reason == Goodbye.REASON_REPLACED:
            raise ChatError("CANCELLED", "another stream of the user took the place of this one", "STREAM_REPLACED")
        return goodbye.retry_after_ms / 1000
