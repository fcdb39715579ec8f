"""The account that is signed in, its sessions, and other people."""

from collections.abc import Sequence
from typing import Any

from gochat.api.common.v1.common_pb2 import PaginationRequest, UserProfile
from gochat.api.logic.v1 import logic_pb2
from gochat.api.session.v1 import session_pb2
from gochat.client.calls import Calls
from gochat.client.errors import ChatError
from gochat.client.session import Tokens


class People(Calls):
    _username: str
    _password: str
    _device_id: str

    def sign_in(self) -> None:
        """Signs in now, and not with the first call. Errors: UNAUTHENTICATED, RESOURCE_EXHAUSTED with retry_after."""
        self._token()

    def register(self, email: str = "", nickname: str = "") -> str:
        """Makes an account of the client's username and password, and signs in; returns the user id. nickname: at most
        64 characters; empty: the username. Errors: PERMISSION_DENIED where registration is closed, ALREADY_EXISTS."""
        request = session_pb2.RegisterRequest(
            username=self._username,
            password=self._password,
            email=email,
            nickname=nickname,
            device_id=self._device_id,
        )
        return self._enter(self._connection.session.Register, request)

    def sign_out(self) -> None:
        """Ends the session on the server. The client makes no calls after that; a file keeps what is in it."""
        self._call(self._connection.session.Logout, session_pb2.LogoutRequest())
        self._session.end(ChatError("UNAUTHENTICATED", "this client has signed out", "SIGNED_OUT"))
        self._store.set("refresh_token", "")

    def sign_in_with(self, token: str) -> str:
        """Signs in by a token of the operator's own login; returns the user id. Errors: UNAUTHENTICATED for one that
        the server does not take, PERMISSION_DENIED where it knows no such user and makes none."""
        request = session_pb2.ExchangeTokenRequest(token=token, device_id=self._device_id)
        return self._enter(self._connection.session.ExchangeToken, request)

    def sign_in_as_guest(self, nickname: str = "") -> str:
        """Makes a guest, whose sessions are all that they have; returns the user id. Errors: PERMISSION_DENIED where
        guests are off, RESOURCE_EXHAUSTED with retry_after."""
        request = session_pb2.CreateGuestRequest(nickname=nickname, device_id=self._device_id)
        return self._enter(self._connection.session.CreateGuest, request)

    def claim_account(self, username: str = "", password: str = "", token: str = "") -> None:
        """Gives a guest a way to sign in: a username and a password, or a token as of sign_in_with(). Their id stays.
        Errors: PERMISSION_DENIED for who is no guest, ALREADY_EXISTS, INVALID_ARGUMENT."""
        request = session_pb2.ClaimAccountRequest(username=username, password=password, token=token)
        self._go_on(self._connection.session.ClaimAccount, request)
        self._username, self._password = username, password

    def change_password(self, old: str, new: str) -> None:
        """Ends all sessions of the user and goes on with a new one. new: 8 characters to 1,024 bytes. Errors:
        UNAUTHENTICATED for a wrong old one, INVALID_ARGUMENT, RESOURCE_EXHAUSTED with retry_after."""
        request = session_pb2.ChangePasswordRequest(old_password=old, new_password=new)
        self._go_on(self._connection.session.ChangePassword, request)
        self._password = new

    def _enter(self, rpc: Any, request: Any) -> str:
        """Signs in by an RPC whose answer has the user and their tokens; returns the user id."""

        def enter() -> Tokens:
            answer = self._connection.call(rpc, request)
            return Tokens(answer.access_token, answer.refresh_token, answer.expires_in, answer.user_id)

        self._session.replace(enter)
        return self.user_id

    def _go_on(self, rpc: Any, request: Any) -> None:
        """With a new session of the user, by an RPC that ends the present one."""

        def go_on() -> Tokens:
            answer = self._call(rpc, request)
            return Tokens(answer.access_token, answer.refresh_token, answer.expires_in)

        self._session.replace(go_on)

    def sessions(self) -> Sequence[session_pb2.Session]:
        """Of the user, the latest used first, at most 1,000."""
        request = session_pb2.ListSessionsRequest(user_id=self._acting_for)
        return self._call(self._connection.session.ListSessions, request).sessions

    def revoke_session(self, session_id: str) -> None:
        """Ends a session, such as that of a lost phone, within 5 seconds everywhere. Errors: NOT_FOUND."""
        self._call(self._connection.session.RevokeSession, session_pb2.RevokeSessionRequest(session_id=session_id))

    def profile(self, user_id: str = "") -> UserProfile:
        """Of anybody; of the user themselves where no id is given. Errors: NOT_FOUND."""
        request = logic_pb2.GetUserProfileRequest(user_id=user_id or self._acting_for)
        return self._call(self._connection.logic.GetUserProfile, request).profile

    def update_profile(self, nickname: str = "", avatar: str = "", bio: str = "") -> UserProfile:
        """Changes what is not empty. nickname: at most 64 characters. avatar: at most 2,048 bytes. bio: at most 1,000
        characters. Errors: INVALID_ARGUMENT."""
        request = logic_pb2.UpdateUserProfileRequest(
            user_id=self._acting_for, nickname=nickname, avatar=avatar, bio=bio
        )
        return self._call(self._connection.logic.UpdateUserProfile, request).profile

    def search_people(self, query: str, page: int = 1, limit: int = 20) -> logic_pb2.SearchUsersResponse:
        """Active users by username and nickname: exact matches first, then prefixes, then substrings. query: 1 to 64
        characters. page: from 1. limit: at most 100."""
        request = logic_pb2.SearchUsersRequest(query=query, pagination=PaginationRequest(page=page, limit=limit))
        return self._call(self._connection.logic.SearchUsers, request)
