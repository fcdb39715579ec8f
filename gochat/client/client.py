"""Client: a signed-in user, or a service, on one connection."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Self

from gochat.api.logic.v1.logic_pb2 import AuthRequest, SendMessageRequest
from gochat.api.session.v1.session_pb2 import RefreshTokenRequest
from gochat.client.connection import Connection, Tls
from gochat.client.conversations import Conversations
from gochat.client.errors import ChatError
from gochat.client.events import Events
from gochat.client.groups import Groups
from gochat.client.invitations import Invitations
from gochat.client.messages import Messages, joined
from gochat.client.moderation import Moderation
from gochat.client.outbox import Outbox, Outgoing
from gochat.client.people import People
from gochat.client.push import Push
from gochat.client.session import Session, Tokens
from gochat.client.store import Store

TIMEOUT = 10.0  # seconds
BACKOFF = (0.5, 30.0)  # seconds
NOT_FORWARDED = {"client_msg_id", "reply_to", "mentions", "forwarded_from"}
"""Keys of metadata that say something of the one message alone."""


class Client(People, Messages, Conversations, Groups, Moderation, Invitations, Push):
    """What an app does with a GoChat server. Every method raises ChatError; calls raise it after `timeout` at the
    latest.

    address: HOST:PORT. username, password: of the user; a session that ended by itself is renewed with them, one that
    was revoked is not. Or token_provider: returns an access token, whenever one is needed. user_id: for a service or
    an admin, whom to act for.

    tls: True for the certificate authorities of the system, or a file of PEM certificates to trust, or
    grpc.ChannelCredentials. store: an SQLite file, made with mode 0600, for one client at a time: with it queued
    messages, the place in events(), conversations and messages survive the program. keep_session: the session too;
    then the file holds a refresh token, and the password may be left out from the second time on. device_id: names
    this installation; without one it is made at random, and kept in the store.

    timeout: seconds for a call. backoff: seconds between two attempts to reconnect: each is random, below a limit that
    doubles from the first to the second.

    Nothing is sent before the first call. All methods are for any thread; an iterator of events() is for one at a time.
    """

    def __init__(
        self,
        address: str,
        *,
        username: str = "",
        password: str = "",
        token_provider: Callable[[], str] | None = None,
        user_id: str = "",
        tls: Tls = False,
        store: str | Path | None = None,
        keep_session: bool = False,
        device_id: str = "",
        timeout: float = TIMEOUT,
        backoff: tuple[float, float] = BACKOFF,
    ) -> None:
        if keep_session and store is None:
            raise ValueError("keep_session needs a store")
        self._username, self._password, self._token_provider = username, password, token_provider
        self._acting_for, self._keep_session = user_id, keep_session
        self._store = Store(store)
        self._device_id = device_id or self._store.device_id
        self._connection = Connection(address, tls, timeout, backoff)
        kept = self._store.get("refresh_token") if keep_session else ""
        self._session = Session(self._new_tokens, self._renewed_tokens, kept, self._on_tokens)
        self._outbox = Outbox(self._connection, self._token, self._store)
        self._events: Events | None = None
        self._opening = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, timeout: float = 5.0) -> None:
        """Waits until the queue is sent, at most so many seconds; then ends events() and closes the connection. What is
        still queued is sent by the next client with this store."""
        self._outbox.flush(timeout)
        self._outbox.stop()
        with self._opening:
            if self._events:
                self._events.close()
        self._connection.close()
        self._outbox.join()
        self._store.close()

    def send(
        self,
        content: str,
        *,
        to: str = "",
        conversation_id: str = "",
        message_type: str = "text",
        reply_to: str = "",
        mentions: Sequence[str] = (),
        forwarded_from: str = "",
        metadata: Mapping[str, str] | None = None,
        client_msg_id: str = "",
    ) -> Outgoing:
        """Puts a message into the queue, and returns at once. It is sent in the order of its conversation, exactly
        once, as soon as the server is there: `send(...).result()` waits for that.

        to: a user id; or conversation_id. content: 1 byte to 16 KiB of UTF-8. message_type: "text", "image", "file",
        "audio", "video", "location" or "custom". reply_to: the id of a message of the conversation that this one
        answers. mentions: at most 100 user ids of members; or ALL, for managers of a group. forwarded_from: the id of
        a message that the user sees. metadata: at most 32 entries, 4 KiB in all. client_msg_id: 1 to 128 bytes, another
        one for each message; without one it is made at random.
        """
        given = {"reply_to": reply_to, "mentions": joined(mentions), "forwarded_from": forwarded_from}
        named = {name: value for name, value in given.items() if value}
        request = SendMessageRequest(
            from_user_id=self._acting_for,
            conversation_id=conversation_id,
            to_user_id=to,
            content=content,
            message_type=message_type,
            metadata={**(metadata or {}), **named, "client_msg_id": client_msg_id or uuid.uuid4().hex},
        )
        return self._outbox.put(request)

    def forward(self, message_id: str, *, to: str = "", conversation_id: str = "") -> Outgoing:
        """Reads a message, and sends what it says as a message of the user's own. to, conversation_id: as of send.
        Errors: NOT_FOUND."""
        message = self.message(message_id).message
        return self.send(
            message.content,
            to=to,
            conversation_id=conversation_id,
            message_type=message.message_type,
            forwarded_from=message_id,
            metadata={name: value for name, value in message.metadata.items() if name not in NOT_FORWARDED},
        )

    def outgoing(self) -> Sequence[Outgoing]:
        """Messages that are queued or failed, in their order, also those of an earlier program."""
        return self._outbox.all()

    def retry(self, outgoing: Outgoing) -> Outgoing:
        """Queues one that is failed again, behind all others."""
        return self._outbox.retry(outgoing.client_msg_id)

    def discard(self, outgoing: Outgoing) -> None:
        """Forgets one that is failed."""
        self._outbox.discard(outgoing.client_msg_id)

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until nothing is queued, at most so many seconds. Did it come to that?"""
        return self._outbox.flush(timeout)

    def events(self, *, typing: bool = False, presence: Sequence[str] = ()) -> Events:
        """What happens, as gochat.api.event.v1.event_pb2.Event, until the client or the iterator is closed; a second
        call closes the iterator of the first.

        It reconnects by itself, and goes on from where the store is; a new store begins now (for a service that gets
        everything: with the first event). Each message comes once (message_sent), in the order of its
        conversation. After a long absence each conversation comes as it is now (conversation_updated), with the
        messages that were missed. An event counts as handed over when the next one is asked for; what a program was
        killed over comes again.

        typing: also who types. presence: also whether these users are online, at most 200. Errors: UNAUTHENTICATED once
        the session has ended; CANCELLED with the reason STREAM_REPLACED if the user opens too many streams.
        """
        events = self._open_events(typing, presence)
        events.begin()
        return events

    def _open_events(self, typing: bool, presence: Sequence[str]) -> Events:
        with self._opening:
            if self._events:
                self._events.close()
            self._events = Events(
                self._connection, self._session, self._store, lambda: self.user_id, typing=typing, presence=presence
            )
            return self._events

    def _new_tokens(self) -> Tokens:
        if self._token_provider:
            try:
                token = self._token_provider()
            except ChatError:
                raise
            except Exception as error:
                raise ChatError("UNAVAILABLE", f"no token: {error}", "TOKEN_PROVIDER_FAILED") from error
            return Tokens(token, user_id=self._acting_for or self._user_of(token))
        if not self._username:
            raise ChatError("UNAUTHENTICATED", "sign in with a password, or sign_in_with()", "NO_CREDENTIALS")
        request = AuthRequest(username=self._username, password=self._password, device_id=self._device_id)
        answer = self._connection.call(self._connection.logic.Authenticate, request)
        return Tokens(answer.access_token, answer.refresh_token, answer.expires_in, answer.user_info.user_id)

    def _renewed_tokens(self, refresh_token: str) -> Tokens:
        request = RefreshTokenRequest(refresh_token=refresh_token)
        answer = self._connection.call(self._connection.session.RefreshToken, request)
        return Tokens(answer.access_token, answer.refresh_token, answer.expires_in)
