"""What the operator's own system has to say to a message before it is stored: nothing, no, or other words.

Asked for what users send and edit, by whatever way; what services send is not asked for.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict

from gochat.api.logic.v1.logic_pb2 import SendMessageRequest
from gochat.api.message.v1.message_pb2 import EditMessageRequest
from gochat.context import Caller
from gochat.domain import forms, policy
from gochat.errors import denied

Ask = Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None]
"""(kind, what) -> the answer, of which the action is allow, refuse or change; None for none. Raises ChatError."""
PATHS = (
    "/gochat.api.logic.v1.LogicService/SendMessage",
    "/gochat.api.message.v1.MessageService/SendMessages",
    "/gochat.api.message.v1.MessageService/EditMessage",
)
"""The RPCs that ask, where there is somebody to ask, and so may wait."""
MAX_REASON = 200  # characters that the sender is shown

T = TypeVar("T", SendMessageRequest, EditMessageRequest)


def asked(ask: Ask | None, caller: Caller, user_id: str, request: T) -> T:
    """The request as it is to be done. user_id: the sender. Raises PERMISSION_DENIED, reason SEND_REFUSED, where it is
    not to be; INVALID_PARAMS where the other words break the form; UNAVAILABLE."""
    if ask is None or policy.is_unrestricted(caller):
        return request
    what = {"userId": user_id, "rpc": _RPCS[type(request)], "request": MessageToDict(request)}
    answer = ask("before_send", what) or {"action": "allow"}
    if answer["action"] == "refuse":
        reason = "".join(filter(str.isprintable, answer.get("reason") or "the message was refused"))
        raise denied(reason[:MAX_REASON], "SEND_REFUSED")
    if answer["action"] == "allow":
        return request
    changed = type(request)()
    changed.CopyFrom(request)
    changed.content = answer["content"]
    forms.check(changed)
    return changed


_RPCS: Mapping[type, str] = {SendMessageRequest: "SendMessage", EditMessageRequest: "EditMessage"}
