"""Conversations of a user."""

from collections.abc import Sequence
from typing import Any

from gochat.api.logic.v1 import logic_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.context import Call, Caller, current
from gochat.domain import policy
from gochat.errors import ChatError, invalid
from gochat.internal.store.v1 import store_pb2
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.logic.acting import acting, actor
from gochat.logic.together import together


class Conversations:
    def __init__(self, repo: RepoServiceStub, store: StoreServiceStub) -> None:
        self._repo = repo
        self._store = store

    def CreateConversation(self, request: logic_pb2.CreateConversationRequest) -> logic_pb2.CreateConversationResponse:
        # The creator comes first: that makes them the owner of a group. A service, which is no person, creates for
        # those it names.
        creator = current().caller.user_id
        participants = list(dict.fromkeys([*filter(None, [creator]), *request.user_ids]))
        if request.type == "single" and len(participants) != 2:
            raise invalid("user_ids", "must name exactly one other user" if creator else "must name exactly two users")
        if not participants:
            raise invalid("user_ids", "must name the owner first, since your token is no person's")
        try:
            created = self._repo.CreateConversation(
                repo_pb2.CreateConversationRequest(type=request.type, name=request.name, participant_ids=participants)
            )
        except ChatError as error:
            raise error.renamed("participant_ids", "user_ids") from None
        return logic_pb2.CreateConversationResponse(
            conversation_id=created.conversation_id, conversation=created.conversation
        )

    def GetConversations(self, request: logic_pb2.GetConversationsRequest) -> repo_pb2.GetConversationsByUserResponse:
        """Returns the repo's answer: on the wire it is a GetConversationsResponse too, and to copy a list is slow."""
        return self._repo.GetConversationsByUser(_to_list(current().caller, request))

    def batch_GetConversations(self, calls: Sequence[tuple[Call, logic_pb2.GetConversationsRequest]]) -> list[Any]:
        return together(self._store, "get_conversations", calls, _to_list)

    def UpdateConversation(self, request: logic_pb2.UpdateConversationRequest) -> logic_pb2.UpdateConversationResponse:
        changed = self._store.UpdateConversation(
            store_pb2.UpdateConversationRequest(
                conversation_id=request.conversation_id,
                name=request.name,
                avatar=request.avatar,
                **acting(),
            )
        )
        return logic_pb2.UpdateConversationResponse(success=True, conversation=changed.conversation)

    def DeleteConversation(self, request: logic_pb2.DeleteConversationRequest) -> logic_pb2.DeleteConversationResponse:
        self._store.HideConversation(
            store_pb2.HideConversationRequest(
                conversation_id=request.conversation_id,
                user_id=actor(request.user_id),
            )
        )
        return logic_pb2.DeleteConversationResponse(success=True)


def _to_list(caller: Caller, request: logic_pb2.GetConversationsRequest) -> repo_pb2.GetConversationsByUserRequest:
    user_id = policy.actor(caller, request.user_id, "user_id")
    return repo_pb2.GetConversationsByUserRequest(user_id=user_id, pagination=request.pagination)
