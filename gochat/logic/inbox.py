"""Conversations as one of their participants has them: ConversationService."""

from typing import Any

from gochat.api.conversation.v1 import conversation_pb2 as pb
from gochat.internal.conversation.v1 import conversation_pb2 as store_pb
from gochat.internal.conversation.v1.conversation_pb2_grpc import ConversationStoreServiceStub
from gochat.logic.acting import actor


class Inbox:
    def __init__(self, store: ConversationStoreServiceStub) -> None:
        self._store = store

    def OpenDirect(self, request: pb.OpenDirectRequest) -> pb.OpenDirectResponse:
        return self._store.OpenDirect(store_pb.OpenDirectRequest(**_personal(request)))

    def GetConversation(self, request: pb.GetConversationRequest) -> pb.GetConversationResponse:
        return self._store.GetConversation(store_pb.GetConversationRequest(**_personal(request)))

    def UpdateSettings(self, request: pb.UpdateSettingsRequest) -> pb.UpdateSettingsResponse:
        return self._store.UpdateSettings(store_pb.UpdateSettingsRequest(**_personal(request)))

    def ListConversations(self, request: pb.ListConversationsRequest) -> pb.ListConversationsResponse:
        return self._store.ListConversations(store_pb.ListConversationsRequest(**_personal(request)))

    def GetReceipts(self, request: pb.GetReceiptsRequest) -> pb.GetReceiptsResponse:
        return self._store.GetReceipts(store_pb.GetReceiptsRequest(**_personal(request)))


def _personal(request: Any) -> dict[str, Any]:
    """Of the internal request: the user whose act it is, and what they ask."""
    return {"user_id": actor(request.user_id), "request": request}
