"""The RPCs of EventService."""

from gochat.api.event.v1 import event_pb2 as pb
from gochat.context import current
from gochat.domain import cursors, policy
from gochat.errors import denied
from gochat.events.hub import Hub
from gochat.events.stream import Stream
from gochat.internal.change.v1 import change_pb2
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub


class Events:
    def __init__(self, changes: ChangeServiceStub, hub: Hub) -> None:
        self._changes, self._hub = changes, hub

    def Subscribe(self, request: pb.SubscribeRequest) -> Stream:
        caller = current().caller
        is_everything = caller.privileged and not request.user_id
        user_id = "" if is_everything else policy.actor(caller, request.user_id, "user_id")
        return self._hub.open(caller, user_id, cursors.decode(request.cursor))

    def GetState(self, request: pb.GetStateRequest) -> pb.GetStateResponse:
        position, after = cursors.decode_page(request.page_token)
        page = self._changes.ListStates(
            change_pb2.ListStatesRequest(
                user_id=policy.actor(current().caller, request.user_id, "user_id"),
                after_conversation_id=after,
                limit=request.limit,
            )
        )
        position = position if after else page.position
        answer = pb.GetStateResponse(conversations=page.conversations, cursor=cursors.encode(position))
        if page.has_more:
            answer.next_page_token = cursors.encode_page(position, page.conversations[-1].info.conversation_id)
        return answer

    def Acknowledge(self, request: pb.AcknowledgeRequest) -> pb.AcknowledgeResponse:
        user_id = policy.actor(current().caller, request.user_id, "user_id")
        self._changes.Acknowledge(change_pb2.AcknowledgeRequest(user_id=user_id, message_ids=request.message_ids))
        return pb.AcknowledgeResponse(success=True)

    def SetTyping(self, request: pb.SetTypingRequest) -> pb.SetTypingResponse:
        raise denied("not yet", "NOT_YET")
