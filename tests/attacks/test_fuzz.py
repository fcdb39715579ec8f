"""Half a minute of the fuzz; python -m tests.attacks.fuzz runs it for as long as one likes."""

import os
from collections.abc import Callable

import pytest

from gochat.api.user.v1 import user_pb2
from tests.attacks.fuzz import ENV, World, fuzz
from tests.conftest import Own
from tests.harness import Deployment
from tests.waiting import eventually

SECONDS = 30


def test_random_requests_get_only_answers_that_clients_may_get(own: Own) -> None:
    seed = int(os.environ.get("FUZZ_SEED") or int.from_bytes(os.urandom(4)))
    report = fuzz(own(env=ENV), SECONDS, seed)
    assert not report.findings, f"FUZZ_SEED={seed}\n{report}"
    assert report.calls.total() > 200


def delete(app: Deployment, user_id: str) -> None:
    app.user.DeleteUser(user_pb2.DeleteUserRequest(user_id=user_id), metadata=app.service)


def disable(app: Deployment, user_id: str) -> None:
    app.user.DisableUser(user_pb2.DisableUserRequest(user_id=user_id), metadata=app.service)


@pytest.mark.parametrize("shut_out", [delete, disable])
def test_it_goes_on_where_a_request_has_shut_its_own_people_out(own: Own, shut_out: Callable[..., None]) -> None:
    app = own()
    world = World(app.channel, app.service)
    before = world.own[0]
    shut_out(app, before)
    eventually(lambda: (world.check(), world.own[0] != before)[1])
