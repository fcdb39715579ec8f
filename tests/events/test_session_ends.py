"""A stream ends with its session, in time whatever is slow, and it does not end with its token."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import psycopg2
import pytest

from gochat.api.event.v1.event_pb2 import SubscribeRequest
from gochat.api.logic.v1 import logic_pb2_grpc
from gochat.api.session.v1 import session_pb2_grpc
from gochat.internal.account.v1 import account_pb2
from tests.conftest import Own
from tests.events.test_signals import two_workers
from tests.harness import PASSWORD, Deployment, Person, as_service, bearer, refused
from tests.rpc.workers import TWO
from tests.streams import listening
from tests.waiting import eventually, status_of

IN_TIME = 5.0  # seconds after which no stream of an ended session is left
WITHOUT_HINTS = {"GOCHAT_EVENTS_NOTIFY": "false", "GOCHAT_EVENTS_POLL": "60"}


def ends_of(app: Deployment, person: Person) -> dict[str, Callable[[], Any]]:
    """The ways in which the person's session ends: by themselves, from another device, by an operator."""
    other = app.signed_in(person.id, person.username)
    set_password = account_pb2.SetPasswordRequest(user_id=person.id, password="battery staple")
    return {
        "logout": lambda: person.Logout(),
        "revoke": lambda: other.RevokeSession(
            session_id=next(each.session_id for each in other.ListSessions().sessions if not each.current)
        ),
        "disable": lambda: as_service(app).repo.UpdateUser(user_id=person.id, status=2),
        "password": lambda: other.ChangePassword(old_password=PASSWORD, new_password="battery staple"),
        "reset": lambda: app.account.SetPassword(set_password, metadata=app.service),
    }


@pytest.mark.parametrize("how", ["logout", "revoke", "disable", "password", "reset"])
def test_a_stream_ends_with_its_session(app: Deployment, how: str) -> None:
    ann = app.person(password=PASSWORD)
    end = ends_of(app, ann)[how]
    with listening(app, ann.metadata) as listener, listening(app, app.service, user_id=ann.id) as by_service:
        end()
        assert listener.goodbye == "SESSION_ENDED"
        assert listener.ended() == "UNAVAILABLE"
        by_service.until(lambda each: each.of_kind("session_ended"))
    with refused("UNAUTHENTICATED"):
        next(iter(app.event.Subscribe(SubscribeRequest(cursor=listener.cursor), metadata=ann.metadata)))


def test_also_where_no_hint_comes(own: Own) -> None:
    """It ends by one worker; its stream is on another one, which hears of nothing and reads the log once a minute."""
    app = own("postgres", env=TWO | WITHOUT_HINTS)
    people = app.people(3, PASSWORD)
    with two_workers(app) as (one, other), ExitStack() as streams:
        listeners = [streams.enter_context(listening(app, each.metadata, channel=other)) for each in people]
        app.logic, app.session = logic_pb2_grpc.LogicServiceStub(one), session_pb2_grpc.SessionServiceStub(one)
        for person, how in zip(people, ("logout", "revoke", "password"), strict=True):
            ends_of(app, person)[how]()
        for listener in listeners:
            listener.until(lambda each: each.error, IN_TIME)
            assert listener.goodbye == "SESSION_ENDED"


def test_also_while_a_transaction_holds_the_log_back(own: Own) -> None:
    app = own("postgres-split")
    people = app.people(2, PASSWORD)
    with (
        listening(app, people[0].metadata) as of_one,
        listening(app, people[1].metadata) as of_another,
        closing(psycopg2.connect(app.url)) as connection,
    ):
        connection.cursor().execute("SELECT pg_current_xact_id()")
        for person, how in zip(people, ("logout", "disable"), strict=True):
            ends_of(app, person)[how]()
        for listener in (of_one, of_another):
            listener.until(lambda each: each.error, IN_TIME)
            assert listener.goodbye == "SESSION_ENDED"


def test_a_stream_outlives_its_token(own: Own) -> None:
    """Until the session ends, which another token of it may do."""
    app = own(env={"GOCHAT_AUTH_ACCESS_TTL": "3"})
    ann = app.person(password=PASSWORD)
    ben = app.create_user()
    with listening(app, ann.metadata) as before:
        eventually(lambda: status_of(ann.GetUserProfile) == "UNAUTHENTICATED")
        with refused("UNAUTHENTICATED"):
            next(iter(app.event.Subscribe(SubscribeRequest(cursor=before.cursor), metadata=ann.metadata)))
        renewed = ann.RefreshToken(refresh_token=ann.refresh_token)
        with listening(app, bearer(renewed.access_token), cursor=before.cursor) as after:
            as_service(app).logic.SendMessage(from_user_id=ben, to_user_id=ann.id, content="hello")
            for listener in (before, after):
                listener.until(lambda each: each.contents == ["hello"])
            token = ann.RefreshToken(refresh_token=renewed.refresh_token).access_token
            Person(app, ann.id, ann.username, token, "").Logout()
            assert [each.goodbye for each in (before, after)] == ["SESSION_ENDED"] * 2
