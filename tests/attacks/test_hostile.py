"""An ordinary client is served while others do what they should not, and after; and nothing of it is left behind."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import not_
from pathlib import Path
from typing import Any

import pytest

from gochat.api.logic.v1 import logic_pb2, logic_pb2_grpc
from tests.attacks.hostile import (
    ATTACKED,
    ATTACKS,
    BODY_WAIT,
    KINDS,
    PROFILE,
    SEARCH_ALL,
    WITHOUT_HANDLER,
    Target,
    advance,
    connected,
    missing,
    opened,
    skipped_on_plain,
    take_in,
)
from tests.attacks.ordinary import Footprint, Ordinary, footprint
from tests.attacks.wire import Raw
from tests.conftest import Own
from tests.harness import PASSWORD, Deployment, new_connection
from tests.waiting import eventually, polled

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="/proc says what a process holds")

MAX_STREAMS = 100  # of a connection, where a test sets it
MAX_POOL_THREADS, MAX_POOL_DESCRIPTORS = 80, 20  # that pools may start meanwhile, and keep
POOL = {"GOCHAT_DATABASE_POOL_MIN": "30", "GOCHAT_DATABASE_POOL_MAX": "30"}  # on PostgreSQL: as many all the time


class Stage:
    """A GoChat that tests share; the one after a failed test gets a new one."""

    def __init__(self, make: Callable[[], Deployment]) -> None:
        self._make = make
        self._app: Deployment | None = None
        self.spoilt = False

    def ready(self) -> Deployment:
        if self._app is None or self.spoilt:
            self.close()
            self._app, self.spoilt = self._make(), False
            self.ordinary, self.target = Ordinary(self._app), Target(self._app)
            self._fill_pools()
        return self._app

    def _fill_pools(self) -> None:
        """So that the threads and connections that are kept anyway are there before an attack."""
        logic, person = self._app.logic, self.ordinary.person
        sign_in = logic_pb2.AuthRequest(username=person.username, password=PASSWORD)
        search = logic_pb2.SearchUsersRequest.FromString(SEARCH_ALL)
        calls = [logic.Authenticate.future(sign_in, timeout=60) for _ in range(20)]
        searches = [logic.SearchUsers.future(search, metadata=person.metadata, timeout=60) for _ in range(150)]
        assert {call.code().name for call in calls} == {"OK"}
        assert {call.code().name for call in searches} <= {"OK", "RESOURCE_EXHAUSTED"}

    def close(self) -> None:
        if self._app:
            self._app.kill()


@pytest.fixture(scope="module", params=ATTACKED)
def stages(request: pytest.FixtureRequest, own_of_module: Own) -> Iterator[Stage]:
    stage = Stage(lambda: own_of_module(request.param, env=POOL))
    yield stage
    stage.close()


@pytest.fixture
def stage(stages: Stage) -> Stage:
    stages.ready()
    return stages


def unfinished(app: Deployment) -> dict[str, float]:
    """What the metrics say that runs or waits."""
    names = ("grpc_server_in_flight", "gochat_pool_busy_threads", "gochat_pool_waiting_calls")
    scrapes = [process.metrics() for process in app.processes]
    return {name: sum(scrape(name) for scrape in scrapes) for name in names}


def left_behind(app: Deployment, before: Footprint, at_rest: dict[str, float]) -> dict[str, float]:
    """What there is more of than before, and by how much."""
    after, running = footprint(app), unfinished(app)
    more = {name: running[name] - at_rest[name] for name in running}
    more["threads"] = after.threads - before.threads - MAX_POOL_THREADS * len(app.processes)
    more["descriptors"] = after.descriptors - before.descriptors - MAX_POOL_DESCRIPTORS
    return {name: number for name, number in more.items() if number > 0}


def test_nothing_counts_as_unfinished_once_a_burst_is_over(stage: Stage) -> None:
    app = stage.ready()
    assert polled(lambda: {name: n for name, n in unfinished(app).items() if n}, not_, 5) == {}


def attacks(*, with_handler: bool) -> pytest.MarkDecorator:
    """Parametrizes a test by their names. with_handler: those that come to a handler of GoChat's own, or the others."""
    names = [
        pytest.param(name, marks=skipped_on_plain(attack.fast_only))
        for kind, attacks in KINDS.items()
        for name, attack in attacks.items()
        if (kind not in WITHOUT_HANDLER) == with_handler
    ]
    return pytest.mark.parametrize("name", names)


@attacks(with_handler=True)
def test_an_ordinary_client_is_served_during_and_after_an_attack(stage: Stage, name: str) -> None:
    must_serve(stage, name)


@pytest.mark.parametrize("stages", ATTACKED[:1], indirect=True, scope="module")
@attacks(with_handler=False)
def test_an_ordinary_client_is_served_where_no_handler_is_attacked(stage: Stage, name: str) -> None:
    must_serve(stage, name)


def must_serve(stage: Stage, name: str) -> None:
    """During and after an attack; and nothing of that is left behind."""
    app, attack, ordinary = stage.ready(), ATTACKS[name], stage.ordinary
    stage.spoilt = True  # until it has turned out well
    steps = list(attack.steps(stage.target))
    before, at_rest = footprint(app), unfinished(app)
    with connected(app, attack) as peers, ThreadPoolExecutor(1) as pool:
        for step in steps:
            beside = pool.submit(ordinary.round)
            advance(peers, attack, step)
            beside.result()
            assert footprint(app).memory - before.memory < attack.growth

        def not_ended() -> dict[str, int]:
            take_in(peers, attack)
            return missing(peers, attack)

        ordinary.round()
        assert polled(not_ended, not_, 5) == {}
        assert footprint(app).memory - before.memory < attack.growth
        ordinary.round()
    ordinary.round()
    ordinary.comes_again()
    assert polled(lambda: left_behind(app, before, at_rest), not_, 10) == {}
    assert footprint(app).memory - before.memory < attack.growth
    stage.spoilt = False


@skipped_on_plain(BODY_WAIT)
def test_finished_calls_are_released_while_another_stalls(stage: Stage) -> None:
    """3,000 calls, of which a connection may have 1,000 at a time, within the 10 s that a request may take."""
    app, person = stage.ready(), stage.ordinary.person
    stage.spoilt = True
    stalled = Raw(app.address)
    stalled.send(opened([1], PROFILE))
    with new_connection(app.address) as channel:
        profile = logic_pb2_grpc.LogicServiceStub(channel).GetUserProfile
        codes: Counter[str] = Counter()
        for _ in range(30):
            request = logic_pb2.GetUserProfileRequest()
            calls = [profile.future(request, metadata=person.metadata, timeout=5) for _ in range(100)]
            codes += Counter(call.code().name for call in calls)
        assert codes == {"OK": 3000}
    stalled.close()
    stage.spoilt = False


@pytest.mark.parametrize("mode", ATTACKED)
def test_a_burst_of_sends_frees_the_streams_of_its_connection(own: Own, mode: str) -> None:
    """As many sends as a connection may have calls."""
    app = own(mode, env={"GOCHAT_LIMITS_STREAMS_PER_CONNECTION": str(MAX_STREAMS)})
    person, friend = app.person(password=PASSWORD), app.create_user()
    person.send(friend)
    message = logic_pb2.SendMessageRequest(to_user_id=friend, content="x")
    with new_connection(app.address) as channel:
        logic = logic_pb2_grpc.LogicServiceStub(channel)

        def served(call: Any, request: Any, number: int) -> Counter[str]:
            calls = [call.future(request, metadata=person.metadata, timeout=20) for _ in range(number)]
            return Counter(call.code().name for call in calls)

        assert served(logic.SendMessage, message, MAX_STREAMS) == {"OK": MAX_STREAMS}
        some = MAX_STREAMS * 6 // 10  # a client has an answer a moment before the server has done with its stream
        profile = logic_pb2.GetUserProfileRequest()
        eventually(lambda: served(logic.GetUserProfile, profile, some) == {"OK": some}, 3)
