"""A client in another language, made from the .proto files alone: what it sees is what the contract promises."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Own
from tests.conversations import group
from tests.harness import PASSWORD, Deployment
from tests.npm import installed
from tests.processes import free_address

HERE = Path(__file__).parent
PROTO = HERE.parents[1] / "proto"


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """client.mjs with what it needs installed beside it, outside of the project."""
    folder = tmp_path_factory.mktemp("clients") / "node"
    return installed(HERE / "node", folder, "run a client in another language") / "client.mjs"


def test_a_client_in_another_language_sees_what_the_contract_promises(app: Deployment, client: Path) -> None:
    me, friend = app.person("node", password=PASSWORD, nickname="诺德"), app.person("friend", password=PASSWORD)
    arguments = (PROTO, app.address, me.username.upper(), friend.username, PASSWORD)
    run = subprocess.run(
        ["node", str(client), *map(str, arguments)], capture_output=True, text=True, encoding="utf-8", timeout=60
    )
    assert run.returncode == 0, run.stderr
    saw: dict[str, Any] = json.loads(run.stdout)

    signed_in = saw["signed_in"]
    assert (signed_in["user"]["user_id"], signed_in["friend"]["user_id"]) == (me.id, friend.id)
    assert (signed_in["user"]["username"], signed_in["user"]["nickname"]) == (me.username, "诺德")
    assert signed_in["expires_in"] == 900

    assert saw["sent"] == saw["repeated"]
    assert abs(saw["sent"]["created_at"] - time.time() * 1000) < 60_000
    assert saw["sent"]["error"] is None
    (message,) = saw["history"]["messages"]
    assert message == {
        "message_id": saw["sent"]["message_id"],
        "conversation_id": saw["conversation"]["conversation_id"],
        "from_user_id": me.id,
        "to_user_id": friend.id,
        "content": "你好 from node 🌍",
        "message_type": "text",
        "status": 3,
        "metadata": {"client_msg_id": "node-1", "color": "red"},
        "created_at": saw["sent"]["created_at"],
        "updated_at": message["updated_at"],
    }
    assert saw["history"]["has_more"] is False
    assert (saw["conversation"]["type"], saw["conversation"]["last_message"]["status"]) == ("single", 1)

    assert saw["unread"]["total_count"] == 1
    assert [info["unread_count"] for info in saw["unread"]["conversations"]] == [1]
    assert saw["marked"]["success"] is True
    assert (saw["unread_then"]["total_count"], saw["unread_then"]["conversations"]) == (0, [])

    assert (saw["group"]["name"], saw["group"]["owner_id"]) == ("Node 组", me.id)
    assert (saw["group"]["current_members"], saw["group"]["max_members"]) == (2, 2)
    assert [member["role"] for member in saw["members"]["members"]] == ["member"]
    assert saw["members"]["pagination"] == {"total": 2, "page": 2, "limit": 1}

    assert saw["renewed"]["user_id"] == me.id
    check_errors(saw)


def test_a_stream_in_another_language_goes_on_after_kill_9(own: Own, client: Path) -> None:
    app = own(listen=free_address())
    ann, ben = app.people(2, PASSWORD)
    room = group(ann, ben)
    arguments = ("node", str(client.with_name("listen.mjs")), str(PROTO), app.address, ben.access_token, "3")
    listener = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    assert listener.stderr is not None
    assert listener.stderr.readline() == "ready\n"
    ann.send(room, "你好")
    app.kill()
    app.start()
    ann = app.signed_in(ann.id, ann.username)
    ann.send(room, "after the restart")
    assert listener.stderr.readline() == "resumed\n"
    ann.send(room, "and again")
    out, _ = listener.communicate(timeout=30)
    assert json.loads(out) == {"told": ["你好", "after the restart", "and again"], "connections": 2}


def check_errors(saw: dict[str, Any]) -> None:
    """Each error twice, as status and as details, and the request id in the trailing metadata of every call."""
    assert saw["answered"] == "node-42"
    assert saw["refused"]["requestId"] == "node-43"
    for error, status, code, reason in (
        (saw["refused"]["error"], "INVALID_ARGUMENT", "ERROR_CODE_INVALID_PARAMS", "INVALID_FIELD"),
        (saw["without_token"]["error"], "UNAUTHENTICATED", "ERROR_CODE_UNAUTHORIZED", "NO_TOKEN"),
        (saw["not_mine"], "PERMISSION_DENIED", "ERROR_CODE_PERMISSION_DENIED", "NOT_YOURSELF"),
        (saw["reused"], "ALREADY_EXISTS", "ERROR_CODE_DUPLICATE_OPERATION", "CLIENT_MSG_ID_REUSED"),
        (saw["refresh_reused"], "UNAUTHENTICATED", "ERROR_CODE_UNAUTHORIZED", "SESSION_ENDED"),
    ):
        assert error["status"] == status
        assert error["packed"] == {"code": status, "message": error["message"]}
        assert error["details"]["google.rpc.ErrorInfo"] == {"reason": reason, "domain": "gochat", "metadata": {}}
        answer = error["details"]["gochat.api.common.v1.ErrorResponse"]
        assert (answer["code"], answer["message"], answer["details"]["reason"]) == (code, error["message"], reason)
        assert abs(answer["timestamp"] - time.time() * 1000) < 60_000
        assert answer["request_id"]
    details = saw["refused"]["error"]["details"]
    violation = {"field": "limit", "description": "must be from 0 to 200, not -1"}
    assert details["google.rpc.BadRequest"] == {"field_violations": [violation]}
    assert details["gochat.api.common.v1.ErrorResponse"]["request_id"] == "node-43"

    in_body = saw["refused_in_body"]["response"]
    assert (in_body["messages"], in_body["error"]["code"]) == ([], "ERROR_CODE_INVALID_PARAMS")
    assert in_body["error"]["details"]["limit"] == violation["description"]
    assert saw["refused_in_body"]["requestId"]
    assert saw["without_token"]["requestId"]
