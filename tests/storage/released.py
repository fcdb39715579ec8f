"""The databases of released versions, as a real server left them, frozen in tests/storage/released/: what stood in them
and what people read in them. Run once for each release that has a new schema, before it is released:

    .venv/bin/python -m tests.storage.released
"""

import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from gochat.storage.migrate import migrations
from gochat.storage.models import ALL
from tests.harness import Deployment, caller
from tests.life import lived

FOLDER = Path(__file__).parent / "released"
Read = tuple[str, str, dict[str, Any]]
"""A service, one of its RPCs, the fields of the request."""


@dataclass(frozen=True)
class Released:
    """username: of one who can sign in with PASSWORD and is in the group. checksums: of the migrations, by dialect.
    columns: by table. rows: (table, row). reads: each with its answer."""

    version: int
    username: str
    group: str
    checksums: dict[str, list[str]]
    columns: dict[str, list[str]]
    rows: list[tuple[str, list[Any]]]
    reads: list[tuple[Read, Any]]


def frozen() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def load(file: Path) -> Released:
    return Released(**json.loads(file.read_text()))


def answer(app: Deployment, read: Read) -> Any:
    stub, rpc, fields = read
    module = sys.modules[type(getattr(app, stub)).__module__.removesuffix("_grpc")]
    response = caller(getattr(app, stub), module, f"{stub.title()}Service", rpc, app.service)(**fields)
    return MessageToDict(response, preserving_proto_field_name=True)


def _reads(connection: sqlite3.Connection) -> Iterator[Read]:
    """What every user can read."""
    for user_id, name in connection.execute("SELECT user_id, username FROM users WHERE status = 1 ORDER BY user_id"):
        yield "logic", "GetUserProfile", {"user_id": user_id}
        yield "logic", "GetConversations", {"user_id": user_id}
        yield "logic", "GetUnreadMessages", {"user_id": user_id}
        yield "logic", "SearchUsers", {"query": name}
    yield "logic", "SearchUsers", {"query": "大明"}
    living = "JOIN conversations USING (conversation_id) WHERE dissolved_at = 0 ORDER BY 1, 2"
    for where, whose in connection.execute(f"SELECT conversation_id, user_id FROM members {living}"):
        yield "store", "GetHistory", {"conversation_id": where, "user_id": whose}
    groups = "SELECT conversation_id FROM conversations WHERE type = 'group' AND dissolved_at = 0"
    for (group_id,) in connection.execute(groups):
        yield "repo", "GetGroup", {"group_id": group_id}
        yield "repo", "GetGroupMembers", {"group_id": group_id}
    yield "audit", "ListEvents", {"limit": 20}


def freeze() -> None:
    known = {dialect: migrations(dialect) for dialect in ("sqlite", "postgres")}
    version = len(known["sqlite"])
    file = FOLDER / f"{version:04d}.json"
    if file.exists():
        raise SystemExit(f"{file} is frozen")
    with tempfile.TemporaryDirectory() as folder:
        app = Deployment(Path(folder))
        life = lived(app)
        columns = {model._meta.table_name: [one.column_name for one in model._meta.sorted_fields] for model in ALL}
        with sqlite3.connect(f"file:{app.data / 'gochat.db'}?mode=ro", uri=True) as connection:
            reads = [(read, answer(app, read)) for read in list(_reads(connection))]
            rows = [
                (table, list(row))
                for table, names in columns.items()
                for row in connection.execute(f"SELECT {', '.join(names)} FROM {table}")
            ]
        app.stop()
    checksums = {dialect: [one.checksum for one in known[dialect]] for dialect in known}
    released = Released(version, life.bob.username, life.quiet, checksums, columns, rows, reads)
    FOLDER.mkdir(exist_ok=True)
    file.write_text(_lines(asdict(released)))


def _lines(released: dict[str, Any]) -> str:
    """JSON with a line a row, for those who read diffs."""
    parts = []
    for key, value in released.items():
        if isinstance(value, list):
            inside = ",\n".join(json.dumps(one, ensure_ascii=False) for one in value)
            parts.append(f'"{key}": [\n{inside}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    freeze()
