"""Sessions as their owner sees them."""

from gochat.api.session.v1 import session_pb2
from gochat.context import current
from gochat.domain import policy
from gochat.errors import not_found
from gochat.internal.account.v1 import account_pb2
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.logic.acting import acting


class Sessions:
    def __init__(self, accounts: AccountServiceStub) -> None:
        self._accounts = accounts

    def Logout(self, request: session_pb2.LogoutRequest) -> session_pb2.LogoutResponse:  # noqa: ARG002 - it is empty
        caller = policy.personal(current().caller)
        self._accounts.EndSession(account_pb2.EndSessionRequest(session_id=caller.session_id, user_id=caller.user_id))
        return session_pb2.LogoutResponse(success=True)

    def ListSessions(self, request: session_pb2.ListSessionsRequest) -> session_pb2.ListSessionsResponse:
        caller = current().caller
        user_id = policy.actor(caller, request.user_id, "user_id")
        listed = self._accounts.ListUserSessions(account_pb2.ListUserSessionsRequest(user_id=user_id))
        for session in listed.sessions:
            session.current = session.session_id == caller.session_id
        return session_pb2.ListSessionsResponse(sessions=listed.sessions)

    def RevokeSession(self, request: session_pb2.RevokeSessionRequest) -> session_pb2.RevokeSessionResponse:
        ended = self._accounts.EndSession(account_pb2.EndSessionRequest(session_id=request.session_id, **acting()))
        if not ended.ended:
            raise not_found("session", "session_id")
        return session_pb2.RevokeSessionResponse(success=True)
