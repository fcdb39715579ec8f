"""What every method of a client needs: a connection, a session, a store."""

from typing import TypeVar

import grpc
from google.protobuf.message import Message

from gochat.api.logic.v1.logic_pb2 import ValidateTokenRequest
from gochat.client.connection import Connection
from gochat.client.errors import ChatError
from gochat.client.resync import Reader
from gochat.client.session import Session, Tokens
from gochat.client.store import Store

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response")


class Calls:
    """acting_for: the user whom a service or an admin acts for; empty for users."""

    _connection: Connection
    _session: Session
    _store: Store
    _acting_for: str
    _keep_session: bool
    _known_user_id: str | None = None

    @property
    def user_id(self) -> str:
        """Whose client this is; empty for a service that acts for nobody in particular. The first time it may sign in.
        Raises ChatError."""
        if user_id := self._acting_for or self._store.get("user_id"):
            return user_id
        if self._known_user_id is None:
            found = self._user_of(self._token())
            self._learn(found)
            self._known_user_id = found
        return self._known_user_id

    def _user_of(self, token: str) -> str:
        """Empty for a service. Raises ChatError."""
        request = ValidateTokenRequest(token=token)
        return self._connection.call(self._connection.logic.ValidateToken, request, lambda _: token).user_id

    def _token(self, rejected: str = "") -> str:
        return self._session.token(rejected)

    def _call(
        self,
        rpc: "grpc.UnaryUnaryMultiCallable[_Request, _Response]",
        request: _Request,
        timeout: float | None = None,
    ) -> _Response:
        return self._connection.call(rpc, request, self._token, timeout)

    def _reader(self) -> Reader:
        return Reader(self._connection, self._token, self._store, self.user_id)

    def _on_tokens(self, tokens: Tokens) -> None:
        self._learn(tokens.user_id)
        if self._keep_session:
            self._store.set("refresh_token", tokens.refresh)

    def _learn(self, user_id: str) -> None:
        """Whose store this is. Raises ChatError if it is another user's."""
        if not user_id or self._acting_for:
            return
        known = self._store.get("user_id")
        if known and known != user_id:
            raise ChatError("FAILED_PRECONDITION", "the store is of another user", "STORE_OF_ANOTHER_USER")
        self._store.set("user_id", user_id)
