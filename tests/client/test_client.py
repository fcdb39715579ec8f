"""What an app does, by the methods of the clients; and what a store keeps for when there is no server."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gochat.client import AsyncClient, ChatError, Client
from tests.client.clients import TIMEOUT, client_of, program
from tests.conversations import conversation_of, group
from tests.harness import PASSWORD, Deployment, as_service, fresh
from tests.processes import free_address

MAX_IMPORT = 0.25  # seconds of CPU


def test_what_an_app_does(app: Deployment) -> None:
    ann, ben, cem = (app.person(password=PASSWORD, nickname=name) for name in ("Ann", "Ben", "切姆"))
    with client_of(app, ann) as anns, client_of(app, ben) as bens:
        (found,) = anns.search_people(ben.username.upper()).users
        assert (found.user_id, anns.profile(found.user_id).nickname) == (ben.id, "Ben")
        assert anns.update_profile(bio="herself").bio == "herself"
        assert (anns.user_id, anns.profile().bio) == (ann.id, "herself")

        direct = anns.open_direct(ben.id).state.info.conversation_id
        sent = [anns.send(content, conversation_id=direct).result(TIMEOUT) for content in ("one", "two", "three")]
        assert [message.content for message in bens.history(direct, before=sent[2], limit=1).messages] == ["two"]
        after = bens.messages_after(direct, after=sent[0], limit=1)
        assert ([each.message.content for each in after.messages], after.has_more) == (["two"], True)
        bens.acknowledge(sent)
        assert [message.status for message in anns.history(direct).messages] == [2, 2, 2]
        assert bens.unread().total_count == 3
        bens.mark_read(sent[1])
        assert bens.unread().total_count == 1
        assert [message.status for message in anns.history(direct).messages] == [2, 3, 3]
        bens.set_typing(direct)

        made = anns.create_group("Readers", [ben.id], description="of books")
        assert anns.group(made.group_id).description == "of books"
        assert anns.update_group(made.group_id, name="Writers").name == "Writers"
        assert anns.update_conversation(made.group_id, avatar="a").avatar == "a"
        assert anns.add_members(made.group_id, [ben.id, cem.id]) == [cem.id]
        anns.remove_member(made.group_id, cem.id)
        assert [member.user_id for member in anns.members(made.group_id).members] == [ann.id, ben.id]
        assert [state.info.name for state in anns.search_conversations("writ")] == ["Writers"]
        bens.leave_group(made.group_id)
        bens.join_group(made.group_id)
        assert [info.name for info in bens.conversations(limit=1).conversations] == ["Writers"]
        bens.hide(made.group_id)
        assert [state.info.conversation_id for state in bens.state()] == [direct]
        assert bens.state()[0].peer_user_id == ann.id


def test_what_a_service_does_for_users(app: Deployment) -> None:
    ann, ben = app.people(2, PASSWORD)
    token = app.token("service")
    room = group(ann, ben)
    sent = ann.send(room).message_id
    with Client(app.address, token_provider=lambda: token, user_id=ann.id) as service:
        service.recall(sent)
        service.set_role(room, ben.id, "admin")
        service.update_settings(room, pinned=True)
        service.react(service.send("by the service", conversation_id=room).result(TIMEOUT), "👍")
    reacted, message = ben.GetMessageHistory(conversation_id=room).messages
    assert (message.status, message.content) == (4, "")
    with client_of(app, ben) as client:
        assert [member.role for member in client.members(room).members] == ["owner", "admin"]
        assert client.message(reacted.message_id).reactions[0].user_ids == [ann.id]
    with client_of(app, ann) as client:
        assert client.conversation(room).settings.pinned_at


@pytest.mark.parametrize(
    ("call", "code", "reason", "field"),
    [
        (lambda client: client.history("nowhere"), "NOT_FOUND", "CONVERSATION_NOT_FOUND", "conversation_id"),
        (lambda client: client.search_people(""), "INVALID_ARGUMENT", "INVALID_FIELD", "query"),
        (lambda client: client.join_group("nowhere"), "NOT_FOUND", "GROUP_NOT_FOUND", "group_id"),
        (lambda client: client.change_password("wrong", "another horse"), "UNAUTHENTICATED", "BAD_CREDENTIALS", ""),
    ],
)
def test_errors(app: Deployment, call: Callable[[Client], Any], code: str, reason: str, field: str) -> None:
    with client_of(app, app.person(password=PASSWORD)) as client, pytest.raises(ChatError) as refused:
        call(client)
    assert (refused.value.code, refused.value.reason) == (code, reason)
    assert list(refused.value.fields) == ([field] if field else [])
    assert refused.value.request_id
    assert reason in str(refused.value)


def test_a_store_is_read_without_a_server(app: Deployment, tmp_path: Path) -> None:
    ann, ben = app.people(2, PASSWORD)
    store, name = tmp_path / "chat.db", fresh("group")
    with client_of(app, ben, store=store) as client, program(client) as running:
        direct = conversation_of(ann.send(ben.id, "one"))
        ann.send(ben.id, "two")
        recalled = ann.send(ben.id, "three").message_id
        room = group(ann, ben, name=name)
        ann.send(room, "hello")
        as_service(app).repo.UpdateMessageStatus(message_id=recalled, status=4, user_id=ann.id)
        ben.MarkMessageRead(conversation_id=direct, message_id=f"{direct}-000000000001")
        running.until(lambda each: [event for event in each.events if event.HasField("read")])
        kept = [(each.info.conversation_id, each.info.unread_count) for each in client.stored_conversations()]
        assert kept == [(room, 1), (direct, 1)]
        asked = [(each.info.conversation_id, each.info.unread_count) for each in client.state()]
        assert kept == asked, "what events say is what the server says"
    with client_of(app, ben, store=store, address=free_address(), timeout=0.2) as offline:
        assert offline.user_id == ben.id
        names = [(each.info.name, each.info.last_message.content) for each in offline.stored_conversations()]
        assert names == [(name, "hello"), (ann.username, "")]
        assert [each.message.content for each in offline.stored_messages(direct)] == ["", "two", "one"]
        before = offline.stored_messages(direct, limit=2)[-1].message.message_id
        assert [each.message.content for each in offline.stored_messages(direct, before=before)] == ["one"]
        with pytest.raises(ChatError, match="UNAVAILABLE"):
            offline.history(direct)


def test_a_store_is_one_clients_and_one_users(app: Deployment, tmp_path: Path) -> None:
    ann, ben = app.people(2, PASSWORD)
    store = tmp_path / "chat.db"
    with client_of(app, ann, store=store) as client:
        client.sign_in()
        with pytest.raises(ChatError, match="STORE_IN_USE"):
            client_of(app, ann, store=store)
    with client_of(app, ann, store=store, address=free_address(), timeout=0.2) as offline:
        offline.send("by ann", to=ben.id)
        offline.close(0)
    other: dict[str, Any]
    for other in ({}, {"username": "", "password": "", "token_provider": lambda: ben.access_token}):
        with client_of(app, ben, store=store, **other) as client:
            for _ in range(2):
                with pytest.raises(ChatError, match="STORE_OF_ANOTHER_USER"):
                    client.profile()
            assert not client.flush(0.5)
            assert [outgoing.status for outgoing in client.outgoing()] == ["queued"]
    with client_of(app, ann, store=store) as client:
        assert client.flush(TIMEOUT)
    (conversation,) = ben.GetConversations().conversations
    assert conversation.last_message.from_user_id == ann.id
    (tmp_path / "other").write_text("this is no database, and long enough to be seen as none" * 20)
    with pytest.raises(ChatError, match="STORE_FAILED"):
        client_of(app, ann, store=tmp_path / "other")


def test_asyncio_has_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        public = {name: each for name, each in vars(kind).items() if callable(each) and not name.startswith("_")}
        return {name: list(inspect.signature(each).parameters) for name, each in public.items()}

    of_client = {name: each for kind in Client.__mro__[:-1] for name, each in methods(kind).items()}
    of_async = methods(AsyncClient)
    assert of_async.pop("user_id") == ["self"]
    assert of_async == of_client
    init = [list(inspect.signature(kind.__init__).parameters) for kind in (Client, AsyncClient)]
    assert init[0] == init[1]


IMPORT = """
import json, sys, time
begun = time.process_time()
import gochat.client
took = time.process_time() - begun
print(json.dumps([took, [name for name in sys.modules if name.startswith("gochat.")]]))
"""


def test_it_is_imported_in_a_quarter_of_a_second_and_without_the_server() -> None:
    runs = [subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True) for _ in range(5)]
    found = [json.loads(run.stdout) for run in runs]
    assert min(took for took, _ in found) < MAX_IMPORT
    assert [name for name in found[0][1] if not name.startswith(("gochat.client", "gochat.api"))] == []
