"""Where calls run, and when they get a thread."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gochat.domain.access import RULES, Cost
from gochat.rpc import pool
from gochat.rpc.pool import PATIENCE
from tests.attacks.wire import END_HEADERS, HEADERS, RST_STREAM, Raw, frame, request
from tests.harness import Deployment, Person

PROFILE = "/gochat.api.logic.v1.LogicService/GetUserProfile"
END_STREAM = 1


def test_this_grpcio_is_one_that_the_pool_knows() -> None:
    assert pool.ABLE


def test_what_hashes_a_password_writes_or_searches_is_not_answered_where_it_comes_in() -> None:
    at_once = {path.rpartition("/")[2] for path, rule in RULES.items() if rule.cost in (Cost.NOTHING, Cost.PAGE)}
    assert {name for name in at_once if not name.startswith(("Get", "List"))} == {"ValidateToken"}
    hashing = {path.rpartition("/")[2] for path, rule in RULES.items() if rule.cost is Cost.HASH}
    assert {"Authenticate", "Register", "CreateUser", "ChangePassword", "SignIn", "SetPassword"} == hashing


def test_what_takes_long_after_all_is_answered_from_a_thread(own: Deployment) -> None:
    person = own.person()
    own.stop()
    rows = [(f"g{number}", person.id, number) for number in range(4000)]
    with closing(sqlite3.connect(own.data / "gochat.db")) as database, database:
        database.executemany("INSERT INTO conversations VALUES (?1, 'group', '', '', '', ?2, 9, 1, 0, ?3, ?3, 0)", rows)
        database.executemany("INSERT INTO members VALUES (?1, ?2, 'owner', 0, -1, ?3, 9, ?3)", rows)
    own.start()
    answer = Person(own, person.id, person.username, person.access_token, "").GetConversations()
    assert answer.pagination.total == 4000
    assert [info.updated_at for info in answer.conversations] == list(range(3999, 3979, -1))
    own.stop()


@pytest.fixture
def own(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def test_a_call_whose_request_never_comes_is_ended_in_time(own: Deployment) -> None:
    person, stranger = own.person(), Raw(own.address)
    stranger.send(frame(HEADERS, END_HEADERS, 1, request(PROFILE)))
    began = list(stranger.frames(PATIENCE + 0.5))
    assert not [received for received in began if received.stream == 1]
    person.GetUserProfile()  # with the next call it is seen that the time is over
    ended = [received for received in stranger.frames(1) if received.stream == 1]
    assert {received.kind for received in ended} <= {HEADERS, RST_STREAM}
    assert ended
    stranger.close()
    own.stop()


def test_a_call_that_ends_without_a_request_is_answered(own: Deployment) -> None:
    stranger = Raw(own.address)
    stranger.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, request(PROFILE)))
    assert [received.kind for received in stranger.frames(1) if received.stream == 1] in (
        [HEADERS],
        [HEADERS, RST_STREAM],
    )
    stranger.close()
    assert own.person().GetUserProfile().profile.username
    own.stop()
