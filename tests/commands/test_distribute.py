"""gochat distribute where there is no cluster; where there is one, see tests/storage/test_distributed.py."""

from pathlib import Path

import pytest

from tests.postgres import Postgres
from tests.processes import gochat


def sentence(url: str, *arguments: str, folder: Path) -> str:
    run = gochat("distribute", "--data", str(folder), *arguments, env={"GOCHAT_DATABASE_URL": url} if url else {})
    assert (run.stdout, run.returncode) == ("", 1)
    return run.stderr.splitlines()[-1]


def test_sqlite_is_not_distributed(tmp_path: Path) -> None:
    assert sentence("", folder=tmp_path) == (
        "gochat: database.url: only a PostgreSQL database, on a Citus cluster, can be distributed"
    )
    assert list(tmp_path.iterdir()) == []


def test_postgres_without_citus_is_not_distributed_and_stays_as_it_is(
    direct_postgres: Postgres, tmp_path: Path
) -> None:
    url = direct_postgres.create_database()
    assert sentence(url, folder=tmp_path).startswith("gochat: the database has no Citus: run CREATE EXTENSION citus")
    name = url.rpartition("/")[2]
    assert direct_postgres.ask("SELECT to_regclass('outgoing_changes')", name) is None
    run = gochat("check", "--data", str(tmp_path), env={"GOCHAT_DATABASE_URL": url})
    assert (run.stdout[:6], run.returncode) == ("clean:", 0)


@pytest.mark.parametrize("shards", ["0", "1025"])
def test_the_number_of_shards_has_bounds(tmp_path: Path, shards: str) -> None:
    assert sentence("", "--shards", shards, folder=tmp_path) == "gochat: --shards must be from 1 to 1024"
