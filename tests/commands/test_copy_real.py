"""gochat copy of real chats, killed on its way there and back."""

import os
import signal
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from tests.commands.copying import begin_copy, copied, opened, refused, rows_of
from tests.commands.importing import replayed, rooms_of, stored, unread, users_like
from tests.conftest import Own
from tests.postgres import Postgres
from tests.waiting import polled

SHARES = (0.01, 0.2, 0.5, 0.8, 1)  # of the rows, after which a copy is killed; 1: while it compares


def killed(source: str, target: str, rows: int) -> int:
    """Begins, or goes on, and is killed when so many rows are there; returns how many there are."""
    process = begin_copy(source, target)

    def copied_rows() -> int:
        with suppress(Exception), opened(target) as cursor:
            cursor.execute("SELECT place FROM copy_progress")
            return int(cursor.fetchone()[0].rpartition(",")[2].strip(" ]"))
        return -1

    there: int = polled(copied_rows, lambda number: number >= rows or process.poll() is not None, 120)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert there >= rows
    return there


def test_a_killed_copy_of_real_chats_resumes_there_and_back(
    own: Own, logs: tuple[Path, Path], postgres: Postgres, tmp_path: Path
) -> None:
    urls = [f"sqlite:///{tmp_path}/app/data/gochat.db", postgres.create_database(), f"sqlite:///{tmp_path}/back.db"]
    app = own(folder=tmp_path / "app")
    assert replayed(app, *logs) == (20_070, 1_338, 115)
    users, rooms = users_like(app), rooms_of(app, "importer")
    said = {name: stored(app, room) for name, room in rooms.items()}
    waiting = {name: unread(app, user) for name, user in list(users.items())[::100]}
    app.stop()
    before = rows_of(urls[0])
    total = sum(map(len, before.values()))

    reports: list[list[str]] = []
    for source, target in pairwise(urls):
        places = [killed(source, target, int(total * share)) for share in SHARES]
        assert places == sorted(places)
        with pytest.raises(AssertionError, match="holds a copy that is not complete: run that gochat copy again"):
            own(folder=tmp_path / "app", url=target)
        assert "not complete" in refused(target, urls[0])
        reports.append(copied(source, target)[:-1])
        assert rows_of(target) == before
    assert reports[0] == reports[1]

    for url in urls[1:]:
        app = own(folder=tmp_path / "app", url=url)
        assert users_like(app) == users
        assert {name: stored(app, room) for name, room in rooms.items()} == said
        assert {name: unread(app, users[name]) for name in waiting} == waiting
        assert app.run("check").stdout.startswith("clean: 1,339 users")
        app.stop()
