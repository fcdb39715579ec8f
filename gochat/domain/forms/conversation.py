"""The forms of the requests of ConversationService and ConversationStoreService."""

from google.protobuf.message import Message

from gochat.api.conversation.v1 import conversation_pb2 as pb
from gochat.domain.forms.rules import Form, anything, form, nested, number, one_of, text, user
from gochat.internal.conversation.v1 import conversation_pb2 as store_pb

_TIME = number(0, 2**63 - 1)

FORMS: dict[type[Message], Form] = {
    pb.OpenDirectRequest: form("peer_user_id", peer_user_id=user),
    pb.GetConversationRequest: form("conversation_id"),
    pb.UpdateSettingsRequest: form(
        "conversation_id", muted_until=_TIME, pinned=anything, archived=anything, marked_unread=anything
    ),
    pb.ListConversationsRequest: form(
        page_token=text(size=512),
        unread=anything,
        archived=anything,
        type=one_of("", "single", "group"),
        mentioned=anything,
        pinned=anything,
    ),
    pb.GetReceiptsRequest: form("message_id"),
    **{
        request: form("user_id", request=nested)
        for request in (
            store_pb.OpenDirectRequest,
            store_pb.GetConversationRequest,
            store_pb.UpdateSettingsRequest,
            store_pb.ListConversationsRequest,
            store_pb.GetReceiptsRequest,
        )
    },
}
