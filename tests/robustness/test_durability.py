"""The answer to a write leaves the server after the write is on disk; no kill can show that."""

import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from gochat.storage.postgres import PostgresDatabase
from tests.conftest import Own
from tests.harness import Person, fresh
from tests.postgres import Postgres
from tests.waiting import eventually

SENDERS, SENDS = 4, 10
CALLS = "trace=pwrite64,pwritev,fsync,fdatasync,sendmsg,sendto,write,writev"
UNFINISHED, RESUMED = " <unfinished ...>", re.compile(r"<\.\.\. \w+ resumed>")


def events(trace: Sequence[str]) -> list[tuple[int, int, str]]:
    """(line where it began, line where it ended, what it was) of each system call; lines of `strace -f -o`."""
    begun: dict[str, tuple[int, str]] = {}
    found = []
    for number, line in enumerate(trace):
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith(UNFINISHED):
            begun[thread] = number, call
        elif RESUMED.match(call) and thread in begun:
            first, start = begun.pop(thread)
            found.append((first, number, start + call))
        else:
            found.append((number, number, call))
    return found


def answered_too_early(trace: Sequence[str], sent: dict[str, str]) -> list[str]:
    """sent: content -> message id. Those whose id left in an answer before a sync of the WAL, begun after the content
    was written to it, had ended."""
    calls = events(trace)
    written = [call for call in calls if call[2].startswith("pwrite") and ".db-wal>" in call[2]]
    synced = [call for call in calls if re.match(r"f(data)?sync\(\d+<[^>]*\.db-wal>", call[2]) and "= 0" in call[2]]
    answers = [call for call in calls if call[2].startswith(("sendmsg", "sendto", "write"))]
    early = []
    for content, message_id in sent.items():
        on_disk = min((end for _, end, what in written if content in what), default=len(trace))
        answered = min(begin for begin, _, what in answers if message_id in what)
        if not any(on_disk < begin and end < answered for begin, end, _ in synced):
            early.append(content)
    return early


WRITTEN = '1 pwrite64(9</data/gochat.db-wal>, "... a word", 4096, 32) = 4096'
SYNCED = "1 fdatasync(9</data/gochat.db-wal>) = 0"
SYNCING = ("1 fdatasync(9</data/gochat.db-wal> <unfinished ...>", "1 <... fdatasync resumed>) = 0")
ANSWERED = '2 sendmsg(5<socket:[1]>, {msg_iov=[{iov_base="... c-000000000001"}]}, 0) = 30'


@pytest.mark.parametrize(
    ("trace", "too_early"),
    [
        ((WRITTEN, SYNCED, ANSWERED), False),
        ((WRITTEN, ANSWERED, SYNCED), True),
        ((SYNCED, WRITTEN, ANSWERED), True),
        ((WRITTEN, ANSWERED), True),
        ((WRITTEN, *SYNCING, ANSWERED), False),
        ((WRITTEN, SYNCING[0], ANSWERED, SYNCING[1]), True),
        ((SYNCING[0], WRITTEN, SYNCING[1], ANSWERED), True),
        ((WRITTEN, "1 fdatasync(7</data/gochat.db>) = 0", ANSWERED), True),
    ],
)
def test_answers_before_the_sync_are_found_in_a_trace(trace: tuple[str, ...], too_early: bool) -> None:
    assert answered_too_early(trace, {"a word": "c-000000000001"}) == ["a word"] * too_early


def say(person: Person, friend: str, words: list[str]) -> dict[str, str]:
    return {word: person.send(friend, word).message_id for word in words}


def is_open(file: Path) -> bool:
    """Has any process this file open?"""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if descriptor.readlink() == file:
                return True
        except OSError:
            continue
    return False


def test_sqlite_answers_after_the_sync(own: Own, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("it needs strace")
    trace = tmp_path / "trace"
    # -D: strace is a grandchild, and what the harness started is the server.
    within = ("strace", "-D", "-f", "-q", "-y", "-s", "70000", "-e", CALLS, "-o", str(trace))
    app = own(within=within)
    people, friend = app.people(SENDERS), app.create_user()
    words = [[fresh("word") for _ in range(SENDS)] for _ in people]
    with ThreadPoolExecutor(SENDERS) as pool:
        sent = pool.map(say, people, [friend] * SENDERS, words)
        acknowledged = {word: message_id for each in sent for word, message_id in each.items()}
    app.kill()  # a signal to a traced process may reach another thread than the one that waits for it
    eventually(lambda: not is_open(trace))  # strace has written all it saw
    assert len(acknowledged) == SENDERS * SENDS
    assert answered_too_early(trace.read_text(errors="replace").splitlines(), acknowledged) == []


def test_postgres_answers_after_the_sync(own: Own, postgres: Postgres) -> None:
    """PostgreSQL, which has fsync on by itself, syncs before COMMIT returns, where the session lets it; and what was
    answered, others see."""
    url = postgres.create_database()
    database = PostgresDatabase(url, pool_min=1, pool_max=1)
    assert database.read(lambda tx: tx.fetch_one("SHOW synchronous_commit")) == ("on",)
    assert database.read(lambda tx: tx.fetch_one("SELECT boot_val FROM pg_settings WHERE name = 'fsync'")) == ("on",)
    database.close()
    app = own(url=url)
    person, friend = app.person(), app.create_user()
    with psycopg2.connect(url) as another:
        another.autocommit = True
        cursor = another.cursor()
        for number in range(1, 51):
            person.send(friend, fresh("word"))
            cursor.execute("SELECT COUNT(*) FROM messages")
            assert cursor.fetchone() == (number,)
