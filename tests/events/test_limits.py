"""Rate limits, and who is online, of several processes that have a broker: each is one for all of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

import grpc
import pytest

from gochat.api.event.v1.event_pb2 import SetTypingRequest
from gochat.api.event.v1.event_pb2_grpc import EventServiceStub
from gochat.api.logic.v1 import logic_pb2
from gochat.api.logic.v1.logic_pb2_grpc import LogicServiceStub
from gochat.domain.rates import FREE_FAILURES
from gochat.events.limits import SETTLE_INTERVAL
from gochat.events.presence import CLAIM_TIMEOUT
from tests.attacks.answers import Answer, answer
from tests.conftest import Own
from tests.conversations import conversation_of, group
from tests.events.test_presence import OFF, ON, presence_of, watching
from tests.harness import Deployment, Person, fresh
from tests.processes import Process
from tests.redis import Redis, running_redis
from tests.rpc.workers import connect_to, workers
from tests.streams import listening
from tests.waiting import eventually, polled

WORKERS = 4
RATE, BURST = 10, 50  # sends a second, and in one go
SECONDS = 3.0
LIMITS = {
    "GOCHAT_LIMITS_SENDS_PER_SECOND": f"{RATE}",
    "GOCHAT_LIMITS_CALLS_PER_SECOND": "1000",  # so that typing is limited
    "GOCHAT_LIMITS_FAILED_SIGN_INS_PER_MINUTE": "6",
    "GOCHAT_SERVER_WORKERS": f"{WORKERS}",
    "GOCHAT_DATABASE_POOL_MIN": "2",
}
SLACK = 2 * WORKERS  # what each process lets through before it hears of the others, once there is nothing left
PAUSE = 0.3  # seconds, in which processes settle; the time is what is tested


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running_redis() as server:
        yield server


@contextmanager
def all_workers(app: Deployment) -> Iterator[list[grpc.Channel]]:
    with ExitStack() as open_channels:
        found = eventually(lambda: len(there := workers(app.processes[0])) == WORKERS and there)
        yield [open_channels.enter_context(connect_to(app, each)) for each in sorted(found)]


def sending(person: Person, to: str) -> Callable[[grpc.Channel], Answer]:
    return lambda channel: answer(lambda: person.begin_send(to, channel).result())


def typing(person: Person, room: str) -> Callable[[grpc.Channel], Answer]:
    request = SetTypingRequest(conversation_id=room, typing=True)
    return lambda channel: answer(
        lambda: EventServiceStub(channel).SetTyping(request, metadata=person.metadata, timeout=30)
    )


def guessing(name: Callable[[], str]) -> Callable[[grpc.Channel], Answer]:
    def guess(channel: grpc.Channel) -> Answer:
        request = logic_pb2.AuthRequest(username=name(), password="a guess")
        return answer(lambda: LogicServiceStub(channel).Authenticate(request, timeout=30))

    return guess


def let_through(
    call: Callable[[grpc.Channel], Answer], channels: list[grpc.Channel], seconds: float, pause: float = 0
) -> int:
    """Calls by all processes in turn, as fast as that goes, or with pauses: what is beyond the burst before processes
    hear of each other is made up for later."""
    until, number = time.monotonic() + seconds, 0
    for channel in cycle(channels):
        if time.monotonic() > until:
            break
        refusal = call(channel)
        time.sleep(pause)
        number += refusal.status != "RESOURCE_EXHAUSTED"
    return number


def test_a_limit_is_one_for_all_processes(own: Own, redis: Redis) -> None:
    app = own("postgres", env=LIMITS | {"GOCHAT_EVENTS_BROKER": redis.url})
    ann, ben = app.people(2)
    room = conversation_of(ann.send(ben.id))
    with all_workers(app) as channels:
        begun = time.monotonic()
        sent = let_through(sending(ann, ben.id), channels, SECONDS, 0.005)
        assert BURST <= sent + 1 <= BURST + RATE * (time.monotonic() - begun) + SLACK
        begun = time.monotonic()
        noticed = let_through(typing(ann, room), channels, SECONDS, 0.02)
        assert 20 <= noticed <= 20 + 2 * (time.monotonic() - begun) + SLACK
        begun = time.monotonic()
        heard = let_through(guessing(fresh), channels, SECONDS)
        assert 6 <= heard <= 6 + (time.monotonic() - begun) / 10 + SLACK
    keys = redis.keys()
    assert {key.split(".")[2] for key in keys} >= {"sign-ins", "guesses"}, "that of sends has expired"
    assert not any(text in key for key in keys for text in (ann.id, ann.username, "127.0.0.1"))
    assert all(redis.expires(key) for key in keys)


def test_without_a_broker_each_process_has_its_own_limit(own: Own) -> None:
    app = own("postgres", env=LIMITS)
    ann, ben = app.people(2)
    with all_workers(app) as channels:
        assert let_through(sending(ann, ben.id), channels, SECONDS) > 2 * BURST + RATE * SECONDS


def test_guesses_at_a_name_count_in_all_processes(own: Own, redis: Redis) -> None:
    app = own(
        "postgres", env=LIMITS | {"GOCHAT_EVENTS_BROKER": redis.url, "GOCHAT_LIMITS_FAILED_SIGN_INS_PER_MINUTE": "0"}
    )
    with all_workers(app) as channels:

        def answers() -> set[str]:
            """Of each process, where one has heard as many guesses at a new name as are free."""
            app.create_user(name := fresh("victim"))
            guess = guessing(lambda: name)
            assert {guess(channels[0]).reason for _ in range(FREE_FAILURES)} == {"BAD_CREDENTIALS"}
            time.sleep(PAUSE)
            for channel in channels[1:]:
                guess(channel)  # heard, since the process has not asked for the name yet: one in each
            time.sleep(PAUSE)
            return {guess(channel).reason for channel in channels}

        # On a busy machine processes may not have heard of each other by then. By itself none of the others delays any.
        assert polled(answers, lambda reasons: reasons == {"ACCOUNT_DELAYED"}, 60) == {"ACCOUNT_DELAYED"}


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_without_the_broker_limits_go_on_in_each_process_and_no_call_waits(own: Own, redis: Redis, fault: str) -> None:
    app = own("postgres", env=LIMITS | {"GOCHAT_EVENTS_BROKER": redis.url})
    ann, ben, cem = app.people(3)
    ann.send(ben.id)
    with all_workers(app) as channels:
        with ExitStack() as broken:
            if fault == "frozen":
                broken.enter_context(redis.frozen())
            else:
                redis.stop()
                broken.callback(redis.start)
            slowest = 0.0
            for channel in channels * 10:
                began = time.monotonic()
                assert sending(ann, ben.id)(channel).status == "OK"
                slowest = max(slowest, time.monotonic() - began)
            assert slowest < 1, "nothing waits for Redis"
            sent = let_through(sending(ben, ann.id), channels, SECONDS)
            assert 2 * BURST < sent <= WORKERS * (BURST + RATE * (SECONDS + 1)), "of each process by itself"
            eventually(lambda: "settling rate limits: failed" in app.logs())
        eventually(lambda: app.logs().count("settling rate limits: works again") == WORKERS)
        begun = time.monotonic()
        sent = let_through(sending(cem, ann.id), channels, SECONDS, 0.005)
        assert sent <= BURST + RATE * (time.monotonic() - begun) + SLACK
    assert app.logs().count("settling rate limits: failed:") <= WORKERS, "said once by each"


def test_hosts_that_share_redis_and_the_database_alone_know_who_is_online(
    own: Own, redis: Redis, tmp_path: Path
) -> None:
    """Also that a host was killed, once its claims have expired: it waits as long as users do."""
    env = {"GOCHAT_EVENTS_BROKER": redis.url, "GOCHAT_EVENTS_NOTIFY": "false", "GOCHAT_AUTH_SECRET": "s" * 32}
    app = own("postgres", env=env)
    ann, ben = app.people(2)
    group(ann, ben)
    arguments = ("serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    with (
        Process(*arguments, env=app.env, log=tmp_path / "second.log") as second,
        watching(app, ann, ben) as listener,
    ):
        listener.until(lambda each: presence_of(each) == [(ben.id, OFF)])
        with listening(app, ben.metadata, address=second.address):
            listener.until(lambda each: presence_of(each)[1:] == [(ben.id, ON)])
            second.kill()
            killed_at = time.time()
            listener.until(lambda each: presence_of(each)[2:] == [(ben.id, OFF)], seconds=CLAIM_TIMEOUT + 5)
        last_active = listener.of_kind("presence")[-1].last_active_at / 1000
        assert killed_at - 20 < last_active < killed_at + 1, "when it was last heard of"
    assert set(app.stop()) == {0}
    app.start()
    with listening(app, ann.metadata, presence_user_ids=[ben.id]) as listener:
        listener.until(lambda each: presence_of(each) == [(ben.id, OFF)])
        assert abs(listener.of_kind("presence")[0].last_active_at / 1000 - last_active) < 1, "it is remembered"


assert SETTLE_INTERVAL < PAUSE
