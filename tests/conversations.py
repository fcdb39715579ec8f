"""What tests do with conversations as clients do: make them, take their ids from answers, read them to the end.

A reader or an owner is a Person, or as_service(app).logic.
"""

from collections.abc import Iterable
from typing import Any

from gochat.api.common.v1 import common_pb2


def group(owner: Any, *members: Any, **fields: Any) -> str:
    """The id of a new group. members: people."""
    named = {"name": "group", "member_ids": [member.id for member in members]} | fields
    return str(owner.CreateGroup(**named).group_id)


def single(one: Any, other: Any) -> str:
    """The id of the one-to-one conversation of two people, which is made unless it is there."""
    return str(one.CreateConversation(type="single", user_ids=[other.id]).conversation_id)


def _message_id(sent: Any) -> str:
    return sent if isinstance(sent, str) else str(sent.message_id)


def conversation_of(sent: Any) -> str:
    """The id of the conversation that something was sent to. sent: a message, the answer to a send, or a message id."""
    return _message_id(sent).rpartition("-")[0]


def seq_of(sent: Any) -> int:
    """The sequence number of what was sent, as of conversation_of()."""
    return int(_message_id(sent).rpartition("-")[2])


def seqs(sent: Iterable[Any]) -> list[int]:
    return [seq_of(each) for each in sent]


def contents(reader: Any, conversation_id: str, **fields: Any) -> list[str]:
    """Of a page of history, newest first. fields: of GetMessageHistoryRequest."""
    return [message.content for message in reader.GetMessageHistory(conversation_id=conversation_id, **fields).messages]


def history(reader: Any, conversation_id: str, limit: int = 200) -> list[common_pb2.Message]:
    """The whole of it, oldest first, page by page."""
    newest_first: list[common_pb2.Message] = []
    more = True
    while more:
        before = newest_first[-1].message_id if newest_first else ""
        page = reader.GetMessageHistory(conversation_id=conversation_id, before_message_id=before, limit=limit)
        assert len(page.messages) == limit or not page.has_more
        newest_first += page.messages
        more = page.has_more
    return newest_first[::-1]


def unread(reader: Any, conversation_id: str) -> int:
    """How many messages of a conversation a person has not read."""
    answer = reader.GetUnreadMessages()
    counts = {info.conversation_id: info.unread_count for info in answer.conversations}
    assert 0 not in counts.values()
    assert answer.total_count == sum(counts.values())
    return int(counts.get(conversation_id, 0))
