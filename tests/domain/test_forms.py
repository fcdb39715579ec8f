"""The form of requests: every RPC has rules, and what breaks one is named."""

import pytest
from google.protobuf.message import Message

from gochat.api.common.v1.common_pb2 import ERROR_CODE_INVALID_PARAMS, PaginationRequest
from gochat.api.logic.v1 import logic_pb2
from gochat.api.message.v1 import message_pb2, message_types_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.user.v1 import user_pb2
from gochat.api.webhook.v1 import webhook_pb2
from gochat.domain import forms
from gochat.domain.forms.rules import FIELDS
from gochat.errors import ChatError
from gochat.internal.account.v1 import account_pb2
from gochat.internal.change.v1 import change_pb2
from gochat.internal.push.v1 import push_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.services import rpcs

SEND = {"content": "x", "conversation_id": "c"}


def test_forms_and_fields_are_those_of_the_contract() -> None:
    nested = (
        *(user_pb2.UserUpsert, message_types_pb2.ImportedMessage, webhook_pb2.WebhookFilter),
        *(push_pb2.Retry, store_pb2.Call),
    )  # each is checked by itself
    types = [*(rpc.input_type for rpc in rpcs().values()), *(each.DESCRIPTOR for each in nested)]
    requests = {each.full_name: set(each.fields_by_name) for each in types}
    assert forms.FORMS.keys() == requests.keys()
    for request, (required, fields) in forms.FORMS.items():
        assert {*required, *fields} <= requests[request], request
    assert set(FIELDS) <= set().union(*requests.values())


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (webhook_pb2.CreateWebhookRequest(), "url"),
        *(
            (webhook_pb2.CreateWebhookRequest(url=url), "url")
            for url in (
                *("ftp://example.com", "https://", "example.com", "https://a:b@example.com/", "https://example.com:0/"),
                *("https://example.com/#a", "https://example.com/a b", "https://exämple.com/", "https://[::1/"),
                *("https://example.com:port/", "https://example.com/" + "x" * 2048),
            )
        ),
        (webhook_pb2.CreateWebhookRequest(url="https://a/", filter={"events": ["poem"]}), "events[0]"),
        (webhook_pb2.CreateWebhookRequest(url="https://a/", filter={"events": ["typing"]}), "events[0]"),
        (webhook_pb2.CreateWebhookRequest(url="https://a/", filter={"message_types": ["poem"]}), "message_types[0]"),
        (webhook_pb2.RotateSecretRequest(webhook_id="w", keep_seconds=7 * 86400 + 1), "keep_seconds"),
        (webhook_pb2.ListDeliveriesRequest(webhook_id="w", state="done"), "state"),
        (logic_pb2.SendMessageRequest(conversation_id="c"), "content"),
        (change_pb2.DescribeChangesRequest(changes=[{"kind": 2442}]), "changes[0].kind"),
        (change_pb2.DescribeChangesRequest(changes=[{"kind": 1, "first_seq": 1, "seq": 2**62}]), "changes[0].seq"),
        (change_pb2.DescribeChangesRequest(changes=[{"kind": 3}, {"kind": 8, "user_id": "\0"}]), "changes[1].user_id"),
        (logic_pb2.SendMessageRequest(**SEND | {"content": "a\0b"}), "content"),
        (logic_pb2.SendMessageRequest(**SEND | {"content": "x" * 16385}), "content"),
        (logic_pb2.SendMessageRequest(**SEND | {"content": "é" * 8193}), "content"),
        (logic_pb2.SendMessageRequest(**SEND, message_type="poem"), "message_type"),
        (logic_pb2.SendMessageRequest(**SEND, metadata={str(n): "" for n in range(33)}), "metadata"),
        (logic_pb2.SendMessageRequest(**SEND, metadata={"": "x"}), "metadata"),
        (logic_pb2.SendMessageRequest(**SEND, metadata={"k" * 65: "x"}), "metadata"),
        (logic_pb2.SendMessageRequest(**SEND, metadata={"k": "x\0"}), "metadata[k]"),
        (logic_pb2.SendMessageRequest(**SEND, metadata={"k": "x" * 4096}), "metadata"),
        (logic_pb2.SendMessageRequest(**SEND, metadata={"client_msg_id": ""}), "metadata[client_msg_id]"),
        (logic_pb2.SendMessageRequest(**SEND, metadata={"client_msg_id": "x" * 129}), "metadata[client_msg_id]"),
        (logic_pb2.GetMessageHistoryRequest(conversation_id="c", limit=-1), "limit"),
        (logic_pb2.GetMessageHistoryRequest(conversation_id="c", limit=201), "limit"),
        (logic_pb2.GetConversationsRequest(pagination=PaginationRequest(page=-1)), "pagination.page"),
        (logic_pb2.GetConversationsRequest(pagination=PaginationRequest(limit=101)), "pagination.limit"),
        (logic_pb2.GetGroupMembersRequest(group_id="g", pagination=PaginationRequest(limit=201)), "pagination.limit"),
        (logic_pb2.CreateGroupRequest(name="g", member_ids=["a", ""]), "member_ids[1]"),
        (logic_pb2.CreateGroupRequest(name="g", max_members=-1), "max_members"),
        (logic_pb2.CreateGroupRequest(name="g" * 101), "name"),
        (logic_pb2.CreateConversationRequest(), "type"),
        (logic_pb2.CreateConversationRequest(type="club"), "type"),
        (repo_pb2.GetUsersRequest(user_ids=["u"] * 1001), "user_ids"),
        (store_pb2.GetHistoryRequest(conversation_id="c"), "user_id"),
        (store_pb2.GetHistoryRequest(conversation_id="c", user_id=""), "user_id"),
        (store_pb2.GetHistoryRequest(conversation_id="c", user_id="x" * 129), "user_id"),
        (store_pb2.GetHistoryRequest(conversation_id="c", service=False), "service"),
        (message_pb2.SendMessagesRequest(), "messages"),
        (message_pb2.SendMessagesRequest(messages=[logic_pb2.SendMessageRequest()] * 1001), "messages"),
        (repo_pb2.CreateUserRequest(username="a b", password="x"), "username"),
        (repo_pb2.CreateUserRequest(username="a\u202eb", password="x"), "username"),
        (repo_pb2.CreateUserRequest(username="a", password="x", email="a"), "email"),
        (repo_pb2.CreateUserRequest(username="a", password="x", email="a\x01@b"), "email"),
        (repo_pb2.CreateUserRequest(username="a", password="x", nickname=" \u3000"), "nickname"),
        (repo_pb2.CreateUserRequest(username="a", password="x", nickname="a\nb"), "nickname"),
        (repo_pb2.UpdateUserRequest(user_id="u", status=4), "status"),
        (repo_pb2.UpdateMessageStatusRequest(message_id="m", user_id="u", status=1), "status"),
        (repo_pb2.AddGroupMemberRequest(group_id="g", user_id="u", role="owner"), "role"),
        (repo_pb2.GetMessagesRequest(conversation_id="c", offset=-1), "offset"),
        (account_pb2.SetUserRoleRequest(user_id="u", role="owner"), "role"),
    ],
)
def test_a_bad_field_is_named_with_its_rule(request_: Message, field: str) -> None:
    with pytest.raises(ChatError) as caught:
        forms.check(request_)
    assert caught.value.code == ERROR_CODE_INVALID_PARAMS
    assert list(caught.value.fields) == [field]
    assert caught.value.message.startswith(f"{field} must ")


@pytest.mark.parametrize(
    "request_",
    [
        logic_pb2.SendMessageRequest(**SEND | {"content": "x" * 16384}),
        logic_pb2.SendMessageRequest(**SEND | {"content": "é" * 8192}),
        logic_pb2.SendMessageRequest(**SEND, metadata={"k" * 64: "x" * 4032}),
        logic_pb2.GetMessageHistoryRequest(conversation_id="c", limit=200),
        logic_pb2.GetConversationsRequest(pagination=PaginationRequest(page=2**31 - 1, limit=100)),
        logic_pb2.GetGroupMembersRequest(group_id="g", pagination=PaginationRequest(limit=200)),
        repo_pb2.GetUsersRequest(user_ids=["u"] * 1000),
        repo_pb2.CreateUserRequest(username="名" * 64, password="x" * 1024, email="a@b"),
    ],
)
def test_values_at_a_limit_are_accepted(request_: Message) -> None:
    forms.check(request_)
