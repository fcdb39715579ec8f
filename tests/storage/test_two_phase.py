"""A node of a Citus cluster that hears COMMIT PREPARED late, or not at all: what was acknowledged comes late, once, and
is not lost. Run where GOCHAT_TEST_DATABASE_URL names a cluster whose nodes talk without TLS, and reach this machine."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from gochat.api.repo.v1 import repo_pb2
from tests.conftest import Own
from tests.conversations import group
from tests.given import GivenCluster, needs_cluster
from tests.harness import Deployment, Person
from tests.postgres import asked
from tests.proxy import Connection, Proxy, proxy
from tests.storage.test_distributed import place
from tests.streams import Listener, listening
from tests.waiting import eventually, polled, status_of

pytestmark = needs_cluster

_DELETED = 3
_PENDING = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"
_RECOVER = "SELECT recover_prepared_transactions()"


class Holding(Connection):
    """From the coordinator to a node. Once it is armed, it keeps the next COMMIT PREPARED until `release` is set. last:
    the one that did."""

    armed: ClassVar[threading.Event]
    held: ClassVar[threading.Event]
    release: ClassVar[threading.Event]
    last: ClassVar[Connection]

    def from_client(self, data: bytes) -> None:
        if b"COMMIT PREPARED" in data and self.armed.is_set():
            self.armed.clear()
            type(self).last = self
            self.held.set()
            self.release.wait()
        super().from_client(data)


@pytest.fixture
def holding() -> type[Holding]:
    class Kind(Holding):
        armed, held, release = threading.Event(), threading.Event(), threading.Event()

    return Kind


@contextmanager
def slow_node(own: Own, cluster: GivenCluster, kind: type[Holding]) -> Iterator[tuple[Deployment, str, Proxy]]:
    """A GoChat, the URL of a node of its cluster, and the proxy that the coordinator reaches it by."""
    url = cluster.create_database()
    node = asked(url, "SELECT nodename || ':' || nodeport FROM pg_dist_node WHERE groupid > 0 ORDER BY groupid LIMIT 1")
    host = asked(url, "SELECT nodename FROM pg_dist_node WHERE groupid = 0")
    with proxy(node, kind) as between:
        asked(
            url,
            f"SELECT citus_update_node(nodeid, '{host}', {between.port}) FROM pg_dist_node"
            f" WHERE nodename || ':' || nodeport = '{node}'",
        )
        parts = urlsplit(url)
        app = own("postgres", url=url)
        yield app, parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{node}").geturl(), between
        kind.release.set()
        app.kill()
        eventually(lambda: asked(url, _RECOVER) == 0 and all(asked(each, _PENDING) == 0 for each in nodes(url)))


def nodes(url: str) -> list[str]:
    """The URLs of the nodes that have shards."""
    addresses = "SELECT array_agg(nodename || ':' || nodeport) FROM pg_dist_node WHERE groupid > 0"
    parts, found = urlsplit(url), asked(url, addresses)
    return [parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{each}").geturl() for each in found]


def all_collected(app: Deployment) -> bool:
    return asked(app.url, "SELECT count(*) FROM outgoing_changes") == 0 and all(
        asked(each, _PENDING) == 0 for each in nodes(app.url)
    )


def groups_of_both(app: Deployment, port: int, *people: Person) -> tuple[str, str]:
    """A group on the node with this port, and one elsewhere."""
    found = dict[bool, str]()
    for _ in range(50):
        room = group(*people)
        found[urlsplit(place(app, "messages", room)[1]).port == port] = room
        if len(found) == 2:
            return found[True], found[False]
    raise AssertionError("all on one node")


def left(listener: Listener) -> list[str]:
    return [each.conversation_id for each in listener.events if each.HasField("member_left")]


@pytest.mark.parametrize("ends", ["late", "cut"])
def test_what_one_node_commits_late_comes_late_and_once(
    own: Own, postgres: GivenCluster, holding: type[Holding], ends: str
) -> None:
    with slow_node(own, postgres, holding) as (app, node, between), ThreadPoolExecutor() as pool:
        ann, ben, zoe = app.people(3)
        behind, elsewhere = groups_of_both(app, between.port, ann, ben, zoe)
        with listening(app, ben.metadata) as listener:
            eventually(lambda: all_collected(app))
            holding.armed.set()
            request = repo_pb2.UpdateUserRequest(user_id=zoe.id, status=_DELETED)
            deleted = pool.submit(app.repo.UpdateUser, request, metadata=app.service, timeout=60)
            assert holding.held.wait(20)  # the coordinator has committed, and so has the other node
            assert asked(node, _PENDING) == 1
            listener.until(lambda each: elsewhere in left(each))
            ann.send(elsewhere, "one")
            listener.until(lambda each: "one" in each.contents)  # nobody waits for the other node
            assert not polled(lambda: behind in left(listener), seconds=1)
            if ends == "cut":
                holding.last.cut()
                eventually(lambda: asked(app.url, _RECOVER), seconds=30)  # Citus's daemon does so once a minute
            holding.release.set()
            listener.until(lambda each: behind in left(each))
            deleted.exception()
            ann.send(behind, "two")
            listener.until(lambda each: "two" in each.contents)
            assert [left(listener).count(each) for each in (behind, elsewhere)] == [1, 1]


@pytest.mark.parametrize("ends", ["late", "cut"])
def test_what_is_moved_into_the_log_is_there_once(
    own: Own, postgres: GivenCluster, holding: type[Holding], ends: str
) -> None:
    with slow_node(own, postgres, holding) as (app, node, between):
        ann, ben = app.people(2)
        behind, elsewhere = groups_of_both(app, between.port, ann, ben)
        with listening(app, ben.metadata) as listener:
            eventually(lambda: all_collected(app))
            holding.armed.set()
            ann.send(behind, "one")  # commits by itself; the log takes it by a transaction of two nodes
            assert holding.held.wait(20)
            assert asked(node, _PENDING) == 1
            ann.send(elsewhere, "two")
            if ends == "cut":
                holding.last.cut()
                eventually(lambda: asked(app.url, _RECOVER), seconds=30)
            holding.release.set()
            ann.send(behind, "three")
            listener.until(lambda each: {"one", "two", "three"} <= set(each.contents))
            ann.send(behind, "four")
            listener.until(lambda each: "four" in each.contents)
            assert sorted(listener.contents) == ["four", "one", "three", "two"]
            of_behind = [each for each in listener.contents if each != "two"]
            assert of_behind == ["one", "three", "four"]


def test_what_is_elsewhere_goes_on_while_a_node_is_away(
    own: Own, postgres: GivenCluster, holding: type[Holding]
) -> None:
    with slow_node(own, postgres, holding) as (app, node, between):
        ann, ben = app.people(2)
        behind, elsewhere = groups_of_both(app, between.port, ann, ben)
        with listening(app, ben.metadata) as listener:
            ann.send(behind, "one")
            listener.until(lambda each: "one" in each.contents)
            between.close()
            assert status_of(lambda: ann.send(behind, "never")) == "UNAVAILABLE"
            ann.send(elsewhere, "two")
            assert not polled(lambda: "two" in listener.contents, seconds=1)
            back = urlsplit(node)
            asked(
                app.url,
                f"SELECT citus_update_node(nodeid, '{back.hostname}', {back.port}) FROM pg_dist_node"
                f" WHERE nodeport = {between.port}",
            )
            eventually(lambda: status_of(lambda: ann.send(behind, "three")) == "OK", seconds=30)
            listener.until(lambda each: {"two", "three"} <= set(each.contents))
            assert "never" not in listener.contents
