"""What people do with messages, and importing: MessageService but for sending in bulk. Each RPC says who acts and asks
that of its name of MessageStoreService, whose answer it passes on as it is."""

from gochat.api.message.v1 import message_pb2 as pb
from gochat.context import current
from gochat.domain import policy
from gochat.internal.message.v1 import message_pb2 as store_pb
from gochat.internal.message.v1.message_pb2_grpc import MessageStoreServiceStub
from gochat.logic.acting import acting, actor
from gochat.logic.before_send import Ask, asked


class MessageActs:
    """ask: before a user's edit is stored."""

    def __init__(self, store: MessageStoreServiceStub, ask: Ask | None = None) -> None:
        self._store = store
        self._ask = ask

    def ImportMessages(self, request: pb.ImportMessagesRequest) -> pb.ImportMessagesResponse:
        for each in request.messages:
            policy.send(current().caller, each.message_type)
        return self._store.ImportMessages(request)

    def ListMessages(self, request: pb.ListMessagesRequest) -> pb.ListMessagesResponse:
        return self._store.ListMessages(store_pb.ListMessagesRequest(**acting(), request=request))

    def GetMessage(self, request: pb.GetMessageRequest) -> pb.GetMessageResponse:
        return self._store.GetMessage(store_pb.GetMessageRequest(**acting(), request=request))

    def EditMessage(self, request: pb.EditMessageRequest) -> pb.EditMessageResponse:
        caller = current().caller
        request = asked(self._ask, caller, caller.user_id, request)
        return self._store.EditMessage(store_pb.EditMessageRequest(**acting(), request=request))

    def ListVersions(self, request: pb.ListVersionsRequest) -> pb.ListVersionsResponse:
        return self._store.ListVersions(store_pb.ListVersionsRequest(**acting(), request=request))

    def RecallMessage(self, request: pb.RecallMessageRequest) -> pb.RecallMessageResponse:
        return self._store.RecallMessage(store_pb.RecallMessageRequest(**acting(), request=request))

    def DeleteMessage(self, request: pb.DeleteMessageRequest) -> pb.DeleteMessageResponse:
        return self._store.DeleteMessage(store_pb.DeleteMessageRequest(user_id=actor(request.user_id), request=request))

    def AddReaction(self, request: pb.AddReactionRequest) -> pb.AddReactionResponse:
        return self._store.AddReaction(store_pb.AddReactionRequest(user_id=actor(request.user_id), request=request))

    def RemoveReaction(self, request: pb.RemoveReactionRequest) -> pb.RemoveReactionResponse:
        return self._store.RemoveReaction(
            store_pb.RemoveReactionRequest(user_id=actor(request.user_id), request=request)
        )

    def ListReactions(self, request: pb.ListReactionsRequest) -> pb.ListReactionsResponse:
        return self._store.ListReactions(store_pb.ListReactionsRequest(**acting(), request=request))

    def PinMessage(self, request: pb.PinMessageRequest) -> pb.PinMessageResponse:
        return self._store.PinMessage(store_pb.PinMessageRequest(**acting(), request=request))

    def UnpinMessage(self, request: pb.UnpinMessageRequest) -> pb.UnpinMessageResponse:
        return self._store.UnpinMessage(store_pb.UnpinMessageRequest(**acting(), request=request))

    def ListPinnedMessages(self, request: pb.ListPinnedMessagesRequest) -> pb.ListPinnedMessagesResponse:
        return self._store.ListPinnedMessages(store_pb.ListPinnedMessagesRequest(**acting(), request=request))
