"""Rate limits of users: of calls and of sends, apart from each other, and none for services and admins."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from tests.attacks.answers import OK, Answer, answer, wait_as_asked
from tests.conftest import SQLITE, Own
from tests.harness import Deployment, as_service


@pytest.fixture(scope="module", params=SQLITE)
def limited(request: pytest.FixtureRequest, own_of_module: Own) -> Deployment:
    env = {"GOCHAT_LIMITS_CALLS_PER_SECOND": "5", "GOCHAT_LIMITS_SENDS_PER_SECOND": "1"}
    return own_of_module(request.param, env=env)


def until_refused(call: Callable[[], object]) -> tuple[int, Answer]:
    for passed in range(200):
        if (refusal := answer(call)) != OK:
            return passed, refusal
    return 200, OK


def test_calls_of_a_user_are_limited_per_second(limited: Deployment) -> None:
    person, other = limited.people(2)
    passed, refusal = until_refused(person.GetUserProfile)
    assert passed >= 25, "the burst is that of five seconds"
    assert (refusal.status, refusal.reason) == ("RESOURCE_EXHAUSTED", "CALLS_LIMITED")
    assert 0 < refusal.delay <= 0.2
    assert other.GetUserProfile(), "other users have their own"
    wait_as_asked(refusal)
    assert person.GetUserProfile()
    again = limited.signed_in(person.id, person.username)
    until_refused(person.GetUserProfile)
    assert until_refused(again.GetUserProfile)[0] <= 3, "another session is of the same user"


def test_a_rate_limit_is_reported_in_the_body_too(limited: Deployment) -> None:
    person = limited.person()
    metadata = (*person.metadata, ("x-gochat-error-mode", "body"))
    for _ in range(200):
        error = limited.logic.GetUserProfile(logic_pb2.GetUserProfileRequest(), metadata=metadata, timeout=30).error
        if error.code:
            break
    assert error.code == common_pb2.ERROR_CODE_RATE_LIMIT
    assert error.details["reason"] == "CALLS_LIMITED"
    assert 0 < int(error.details["retry_after_ms"]) <= 200


def test_sends_of_a_user_are_limited_per_second(limited: Deployment) -> None:
    person, friend = limited.people(2)
    passed, refusal = until_refused(lambda: person.send(friend.id))
    assert passed >= 5
    assert (refusal.status, refusal.reason) == ("RESOURCE_EXHAUSTED", "SENDS_LIMITED")
    assert 0 < refusal.delay <= 1
    assert person.GetUserProfile(), "only sending is limited"
    assert friend.GetUnreadMessages().total_count == passed, "what was refused was not sent"
    assert friend.send(person.id), "other users have their own"
    wait_as_asked(refusal)
    assert person.send(friend.id)


def test_services_and_admins_have_no_rate_limit(limited: Deployment) -> None:
    admin, target = limited.person(admin=True), limited.person()
    calls = as_service(limited)
    for call in (admin.GetUserProfile, lambda: calls.repo.GetUser(user_id=target.id)):
        assert until_refused(call) == (200, OK)
    for _ in range(30):
        assert admin.send(target.id)
        assert calls.logic.SendMessage(to_user_id=admin.id, from_user_id=target.id, content="hello")


def test_a_rate_limit_of_0_limits_nothing(own: Own) -> None:
    person, friend = own().people(2)
    assert {answer(person.GetUserProfile) for _ in range(600)} == {OK}
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: answer(lambda: person.send(friend.id)), range(130))) == {OK}
