"""The forms of the requests of ChangeService."""

from collections.abc import Sequence

from google.protobuf.message import Message

from gochat.domain.changes import Kind
from gochat.domain.forms.rules import Form, anything, each, form, identifier, number
from gochat.domain.limits import MAX_ACKNOWLEDGED, MAX_BATCH, MAX_STATES
from gochat.errors import invalid
from gochat.internal.change.v1 import change_pb2 as pb

_KINDS = frozenset(Kind)


def _changes(name: str, values: Sequence[pb.Change]) -> None:
    """Rows as the log has them; as many as were read."""
    for position, change in enumerate(values):
        if change.kind not in _KINDS:
            raise invalid(f"{name}[{position}].kind", "must be a kind of change")
        if change.first_seq and not 0 < change.first_seq <= change.seq < change.first_seq + MAX_BATCH:
            raise invalid(f"{name}[{position}].seq", f"must be of at most {MAX_BATCH} messages from first_seq on")
        for field in ("conversation_id", "user_id", "actor_id", "detail"):
            identifier(f"{name}[{position}].{field}", getattr(change, field))


FORMS: dict[type[Message], Form] = {
    pb.ReadChangesRequest: form(start=anything, piecewise=anything),
    pb.DescribeChangesRequest: form(changes=_changes, user_id=identifier),
    pb.OpenFeedRequest: form(start=anything, is_acted_for=anything),
    pb.ListStatesRequest: form("user_id", limit=number(0, MAX_STATES)),
    pb.AcknowledgeRequest: form("user_id", "message_ids", message_ids=each(identifier, MAX_ACKNOWLEDGED)),
}
