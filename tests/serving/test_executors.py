"""Where calls run, and when they get a thread."""

import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import closing
from types import SimpleNamespace
from typing import Any

from gochat.context import Call, Caller, Lane, TooLongError
from gochat.domain.access import RULES, Cost
from gochat.errors import ChatError, deadline_exceeded
from gochat.serving.inline import Inline
from gochat.serving.pool import Pool
from tests.conftest import Own
from tests.harness import Person
from tests.waiting import eventually


class Asked:
    """As much of a ServerCall as an executor asks for."""

    def __init__(self, run: Callable[[Call], None], user: str = "", seconds: float = 30) -> None:
        self.call = Call(Caller(user), "r", time.monotonic() + seconds, lane=Lane.INLINE)
        self.left = False
        self.run = run
        self.transport = SimpleNamespace(on_wait=lambda: None)
        self.ended: list[Exception | None] = []

    def skip_error(self) -> Exception | None:
        return deadline_exceeded() if self.left else None

    def done(self, error: Exception | None = None) -> None:
        self.ended.append(error)


def nothing(_: Call) -> None:
    pass


def executed(pool: Pool | Inline, *calls: Any) -> None:
    for call in calls:
        pool.execute(call)


def test_rpcs_that_hash_a_password_write_or_search_do_not_run_inline() -> None:
    inline = {path.rpartition("/")[2] for path, rule in RULES.items() if rule.cost in (Cost.NOTHING, Cost.PAGE)}
    others = {"ValidateToken", "SetTyping", "CheckTyping", "Watch", "Publish", "ResolveUsers"}
    assert {name for name in inline if not name.startswith(("Get", "List"))} == others
    hashing = {path.rpartition("/")[2] for path, rule in RULES.items() if rule.cost is Cost.HASH}
    assert {
        "Authenticate",
        "Register",
        "CreateUser",
        "ChangePassword",
        "SignIn",
        "SetPassword",
        "ClaimAccount",
        "UpsertUsers",
    } == hashing
    searching = {path.rpartition("/")[2] for path, rule in RULES.items() if rule.cost is Cost.SEARCH}
    assert searching == {"SearchUsers", "SearchGroups", "FindUsers", "ListEvents", "ListUsers"}


def test_a_pool_counts_what_runs_and_what_waits() -> None:
    gate, pool = threading.Event(), Pool("test", 2, max_running_per_user=9, max_waiting_per_user=9)
    calls = [Asked(lambda _: assert_true(gate.wait(10))) for _ in range(5)]
    executed(pool, *calls)
    eventually(lambda: (pool.active, pool.waiting) == (2, 3))
    gate.set()
    eventually(lambda: all(call.ended == [None] for call in calls))
    eventually(lambda: (pool.active, pool.waiting) == (0, 0))


def assert_true(value: bool) -> None:
    assert value


def test_a_pool_that_is_full_refuses_and_goes_on() -> None:
    gate, pool = threading.Event(), Pool("test", 1, max_waiting=2, max_running_per_user=9, max_waiting_per_user=9)
    running = Asked(lambda _: assert_true(gate.wait(10)))
    executed(pool, running)
    eventually(lambda: pool.active == 1)
    waiting, refused = [Asked(nothing), Asked(nothing)], Asked(nothing)
    executed(pool, *waiting, refused)
    (error,) = refused.ended
    assert isinstance(error, ChatError)
    assert error.reason == "BUSY"
    gate.set()
    eventually(lambda: [call.ended for call in (running, *waiting)] == [[None]] * 3)


def test_one_user_has_a_share_of_a_pool_and_a_queue_of_their_own() -> None:
    gate, pool, order = threading.Event(), Pool("test", 3, max_running_per_user=2, max_waiting_per_user=1), list[str]()

    def mine(number: int) -> Asked:
        def run(_: Call) -> None:
            order.append(f"mine {number}")
            assert gate.wait(10)

        return Asked(run, "me")

    running, waiting, refused = [mine(1), mine(2)], mine(3), mine(4)
    another = Asked(lambda _: order.append("another"), "another")
    executed(pool, *running, waiting, refused, another)
    (error,) = refused.ended
    assert isinstance(error, ChatError)
    eventually(lambda: another.ended == [None])
    assert (waiting.ended, pool.waiting, sorted(order[:2]), order[2]) == ([], 1, ["mine 1", "mine 2"], "another")
    gate.set()
    eventually(lambda: [call.ended for call in (*running, waiting)] == [[None]] * 3)
    again = mine(5)
    executed(pool, again)
    eventually(lambda: again.ended == [None] and pool.waiting == 0)


def test_a_call_that_nobody_waits_for_is_not_run() -> None:
    ran: list[str] = []
    left = Asked(lambda _: ran.append("left"))
    left.left = True
    executed(Pool("test", 1, max_running_per_user=9, max_waiting_per_user=9), left)
    eventually(lambda: left.ended)
    assert not ran


def test_a_thread_releases_a_finished_call() -> None:
    pool, call = Pool("test", 1, max_running_per_user=9, max_waiting_per_user=9), Asked(nothing)
    gone = weakref.ref(call)
    executed(pool, call)
    eventually(lambda: pool.active == 0)
    del call
    eventually(lambda: gone() is None)


def test_a_slow_inline_call_lets_another_thread_serve() -> None:
    entered, gate = threading.Event(), threading.Event()
    pooled: list[Any] = []
    inline = Inline(pooled.append)

    def slow(_: Call) -> None:
        entered.set()
        gate.wait(10)

    call = Asked(slow)
    thread = threading.Thread(target=executed, args=(inline, call))
    thread.start()
    assert entered.wait(10)
    assert not inline.take_over(60, lambda: True), "it is not slow yet"
    assert not inline.take_over(0, lambda: False), "it waits for the processor, as another would"
    eventually(lambda: inline.take_over(0.01, lambda: True))
    assert not inline.take_over(0, lambda: True), "once"
    ident = thread.ident
    gate.set()
    thread.join()
    assert call.ended == [None], "it is answered all the same"
    assert inline.replaced == {ident}
    inline.execute_read(read := Asked(nothing))  # type: ignore[arg-type]
    assert pooled == [read], "reads get a thread for a while"
    executed(inline, quick := Asked(nothing))
    assert quick.ended == [None]


def test_an_inline_call_that_gives_up_is_run_by_the_pool() -> None:
    def too_long(_: Call) -> None:
        raise TooLongError

    pooled: list[Any] = []
    inline = Inline(pooled.append)
    executed(inline, call := Asked(too_long, "me"))
    assert (pooled, call.ended) == ([call], [])
    inline.execute_read(mine := Asked(nothing, "me"))  # type: ignore[arg-type]
    inline.execute_read(another := Asked(nothing, "another"))  # type: ignore[arg-type]
    assert (pooled, mine.ended, another.ended) == ([call, mine], [], [None]), "for a while, of this user"


def test_a_pool_runs_calls_in_its_lane() -> None:
    lanes: list[Lane] = []
    executed(
        Pool("test", 1, Lane.CONTROL, max_running_per_user=9, max_waiting_per_user=9),
        call := Asked(lambda call: lanes.append(call.lane)),
    )
    eventually(lambda: call.ended)
    assert lanes == [Lane.CONTROL]


def test_an_inline_read_that_takes_long_is_answered_from_a_thread(own: Own) -> None:
    app = own()
    person = app.person()
    app.stop()
    rows = [(f"g{number}", person.id, number) for number in range(4000)]
    with closing(sqlite3.connect(app.data / "gochat.db")) as database, database:
        database.executemany(
            "INSERT INTO conversations (conversation_id, type, name, description, avatar, owner_id, max_members,"
            " member_count, last_seq, created_at, updated_at, dissolved_at)"
            " VALUES (?1, 'group', '', '', '', ?2, 9, 1, 0, ?3, ?3, 0)",
            rows,
        )
        database.executemany(
            "INSERT INTO members (conversation_id, user_id, role, read_seq, joined_at, last_seq, active_at)"
            " VALUES (?1, ?2, 'owner', 0, ?3, 0, ?3)",
            rows,
        )
    app.start()
    answer = Person(app, person.id, person.username, person.access_token, "").GetConversations()
    assert answer.pagination.total == 4000
    assert [info.updated_at for info in answer.conversations] == list(range(3999, 3979, -1))
