"""Every answer fits the 4 MiB that gRPC clients take by default: the channels here have that limit."""

from typing import Any

from gochat.api.common.v1.common_pb2 import PaginationRequest
from tests.harness import Deployment, as_service, fresh, refused

LIMIT = 4 * 2**20
CONTENT = "é" * (8 * 1024)
METADATA = {f"k{n:02}{'k' * 61}": "v" * (4096 // 32 - 64) for n in range(32)}
MESSAGE = {"content": CONTENT, "message_type": "location", "metadata": METADATA}


def fits(answer: Any) -> Any:
    assert answer.ByteSize() < LIMIT
    return answer


def test_pages_of_the_largest_messages(app: Deployment) -> None:
    ann, ben = app.people(2)
    conversation_id = ann.send(ben.id).message_id.rpartition("-")[0]
    bulk, repo = as_service(app).message, as_service(app).repo
    ids: list[str] = []
    while len(ids) < 201:
        sends = [{"from_user_id": ann.id, "conversation_id": conversation_id, **MESSAGE}] * 40
        ids += [result.message_id for result in bulk.SendMessages(messages=sends).results]
    assert len(fits(ben.GetMessageHistory(conversation_id=conversation_id, limit=200)).messages) == 200
    assert len(fits(repo.GetMessages(conversation_id=conversation_id, message_ids=ids[:200])).messages) == 200
    assert len(fits(repo.GetMessages(conversation_id=conversation_id, limit=200)).messages) == 200
    with refused("INVALID_ARGUMENT", "message_ids"):
        repo.GetMessages(conversation_id=conversation_id, message_ids=ids[:201])


def test_pages_of_the_largest_conversations(app: Deployment) -> None:
    ann = app.person()
    names = {"name": "😀" * 100, "avatar": "x" * 2048, "description": "😀" * 1000}
    for _ in range(100):
        group_id = ann.CreateGroup(**names).group_id
        as_service(app).logic.SendMessage(from_user_id=ann.id, conversation_id=group_id, **MESSAGE)
    page = PaginationRequest(limit=100)
    assert len(fits(ann.GetConversations(pagination=page)).conversations) == 100
    ben = app.person()
    as_service(app).repo.AddGroupMember(group_id=group_id, user_id=ben.id)
    assert len(fits(as_service(app).repo.GetGroupsByUser(user_id=ann.id, pagination=page)).groups) == 100


def test_lists_of_the_largest_users(app: Deployment) -> None:
    repo, tail = as_service(app).repo, fresh("")
    user_ids = []
    for n in range(20):
        name = f"{'😀' * (60 - len(tail))}{n:02}{tail}"
        user_ids.append(app.create_user(name, email="e" * 240 + "@example.com", nickname="😀" * 64, password="x"))
        repo.UpdateUser(user_id=user_ids[-1], avatar="x" * 2048)
    answer = repo.GetUsers(user_ids=user_ids)
    assert len(answer.users) == 20
    assert answer.ByteSize() * 1000 / 20 < LIMIT
