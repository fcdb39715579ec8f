"""The RPCs of EventService, and those of SignalService that need no database."""

from gochat.api.event.v1 import event_pb2 as pb
from gochat.context import current
from gochat.domain import cursors, policy
from gochat.events.hub import Hub
from gochat.events.relay import Relay, Watch
from gochat.events.stream import Stream
from gochat.internal.change.v1 import change_pb2
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub
from gochat.internal.signal.v1 import signal_pb2
from gochat.internal.signal.v1.signal_pb2_grpc import SignalServiceStub


class Events:
    def __init__(self, changes: ChangeServiceStub, signals: SignalServiceStub, hub: Hub) -> None:
        self._changes, self._signals, self._hub = changes, signals, hub

    def Subscribe(self, request: pb.SubscribeRequest) -> Stream:
        caller = current().caller
        is_everything = caller.privileged and not request.user_id
        user_id = "" if is_everything else policy.actor(caller, request.user_id, "user_id")
        start, watched = cursors.decode(request.cursor), dict[str, int]()
        if request.presence_user_ids:  # those who share no conversation with the user have no presence
            wanted = signal_pb2.ListActivityRequest(user_id=user_id, user_ids=request.presence_user_ids)
            watched = {user.user_id: user.at for user in self._signals.ListActivity(wanted).users}
        return self._hub.open(caller, user_id, start, typing=request.typing, watched=watched)

    def GetState(self, request: pb.GetStateRequest) -> pb.GetStateResponse:
        page = self._changes.ListStates(
            change_pb2.ListStatesRequest(
                user_id=policy.actor(current().caller, request.user_id, "user_id"),
                page_token=request.page_token,
                limit=request.limit,
            )
        )
        return pb.GetStateResponse(
            conversations=page.conversations,
            next_page_token=page.next_page_token,
            cursor=cursors.encode(page.position),
        )

    def Acknowledge(self, request: pb.AcknowledgeRequest) -> pb.AcknowledgeResponse:
        user_id = policy.actor(current().caller, request.user_id, "user_id")
        self._changes.Acknowledge(change_pb2.AcknowledgeRequest(user_id=user_id, message_ids=request.message_ids))
        return pb.AcknowledgeResponse(success=True)

    def SetTyping(self, request: pb.SetTypingRequest) -> pb.SetTypingResponse:
        user_id = policy.actor(current().caller, request.user_id, "user_id")
        wanted = signal_pb2.CheckTypingRequest(conversation_id=request.conversation_id, user_id=user_id)
        if self._signals.CheckTyping(wanted).is_shown:
            self._hub.typing(request.conversation_id, user_id, request.typing)
        return pb.SetTypingResponse(success=True)


class Signals:
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def Watch(self, _: signal_pb2.WatchRequest) -> Watch:
        return self._relay.watch()

    def Publish(self, request: signal_pb2.PublishRequest) -> signal_pb2.PublishResponse:
        self._relay.publish(request.signals)
        return signal_pb2.PublishResponse()
