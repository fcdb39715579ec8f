"""The events of changes as webhooks send them: each with an id that stays the same, however often it is sent."""

import hashlib
import json
from base64 import b32encode
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from google.protobuf.json_format import MessageToDict

from gochat.api.event.v1.event_pb2 import Event
from gochat.api.webhook.v1.webhook_pb2 import WebhookFilter
from gochat.domain import ids
from gochat.internal.change.v1.change_pb2 import Change, Delivery
from gochat.webhooks.signing import rfc3339

_HAVE_A_MESSAGE = ("message_sent", "message_updated")


class Item(NamedTuple):
    """change: of this event alone. number: which of those that it is described as."""

    event: Event
    change: Change
    number: int

    @property
    def name(self) -> str:
        return str(self.event.WhichOneof("event"))

    @property
    def lane(self) -> str:
        """What is delivered in order: a conversation, else a user."""
        return self.change.conversation_id or self.change.user_id

    @property
    def id(self) -> str:
        said = self.change.SerializeToString(deterministic=True) + bytes([self.number])
        return "evt_" + b32encode(hashlib.blake2b(said, digest_size=15).digest()).decode().lower()

    def body(self) -> bytes:
        data = {"type": self.name, "timestamp": rfc3339(self.event.at), "data": MessageToDict(self.event)}
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def items_of(change: Change, deliveries: Sequence[Delivery]) -> Iterator[Item]:
    """deliveries: as of a stream of everything, which gets each change once."""
    for number, delivery in enumerate(deliveries):
        if delivery.user_ids and number:
            continue
        event = delivery.event
        if event.HasField("message_sent"):
            one = Change()
            one.CopyFrom(change)
            sent = ids.parse_message(event.message_sent.message.message_id)
            assert sent
            one.first_seq = one.seq = sent[1]
            yield Item(event, one, 0)
        else:
            yield Item(event, change, number)


def is_wanted(item: Item, wanted: WebhookFilter) -> bool:
    name = item.name

    def is_one(value: str, of: Collection[str]) -> bool:
        return not of or value in of

    if not is_one(name, wanted.events) or not is_one(item.change.conversation_id, wanted.conversation_ids):
        return False
    return name not in _HAVE_A_MESSAGE or is_one(getattr(item.event, name).message.message_type, wanted.message_types)
