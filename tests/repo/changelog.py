"""What tests of the change log share: the handlers of the repo half, and what the log has since a moment."""

from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Any

from gochat.api.repo.v1 import repo_pb2
from gochat.app import repo_handlers
from gochat.config import Messages
from gochat.domain.changes import Kind
from gochat.events.relay import Relay
from gochat.internal.account.v1 import account_pb2
from gochat.internal.change.v1 import change_pb2
from gochat.internal.push.v1 import push_pb2
from gochat.internal.reader.v1 import reader_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.repo.feed import Row, read_log
from gochat.repo.inboxes import Inboxes
from gochat.services import REPO, served_by
from gochat.serving.binding import bind
from gochat.storage.database import Database
from tests.commands.copying import opened
from tests.given import GIVEN_CLUSTER

_MODULES = (repo_pb2, store_pb2, account_pb2, change_pb2, push_pb2, reader_pb2)
LATER = 10**15  # Unix milliseconds
_names = count()


class Repo:
    """`repo.store.MarkRead(user_id=...)` calls the RPC of StoreService without a server; keywords are the fields of its
    request. So repo, account, change, push, reader."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._methods = bind(served_by(REPO), repo_handlers(database, Relay(), Messages(), Inboxes(database)))

    def __getattr__(self, noun: str) -> Any:
        (module,) = (module for module in _MODULES if module.__name__.endswith(f".{noun}_pb2"))
        (service,) = module.DESCRIPTOR.services_by_name.values()

        class Calls:
            def __getattr__(this, rpc: str) -> Callable[..., Any]:  # noqa: N805
                method = self._methods[f"/{service.full_name}/{rpc}"]
                return lambda **fields: method(method.request_class(**fields))

        return Calls()

    def user(self) -> str:
        return str(self.repo.CreateUser(username=f"user{next(_names)}", password="x").user_id)

    def users(self, number: int) -> list[str]:
        return [self.user() for _ in range(number)]

    def group(self, owner: str, *members: str) -> str:
        return str(self.store.CreateGroup(name="g", owner_id=owner, member_ids=members).group.group_id)

    def send(self, sender: str, to: str, content: str = "x", **fields: Any) -> str:
        """Returns the message id. to: a conversation or a user."""
        where = {"to_user_id" if to.startswith("u") else "conversation_id": to}
        return str(self.repo.CreateMessage(from_user_id=sender, content=content, **where, **fields).message_id)


class Reader:
    """Reads on in the log from where it is: at first, from now on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.position = change_pb2.Position()
        self.read()

    def read(self) -> list[Row]:
        """Without what a transaction in progress may still precede, be it of another database of the server."""
        return self._read()[0]

    def read_all(self) -> list[Row]:
        """Of what is committed; waits for other transactions."""
        rows, held_back = self._read()
        until = monotonic() + 20
        while held_back and monotonic() < until:
            more, held_back = self._read()
            rows += more
        return rows

    def _read(self) -> tuple[list[Row], bool]:
        self._database.collect()
        log = self._database.read(lambda tx: read_log(tx, self.position), one_statement=True)
        assert not log.gap
        self.position = log.now
        return log.complete, len(log.complete) < len(log.rows)


def said(rows: list[Row]) -> list[tuple[Any, ...]]:
    """What rows say: the kind, then what is not empty but for times."""
    parts = [(row.conversation_id, row.user_id, row.first_seq, row.seq, row.detail) for row in rows]
    return [(Kind(row.kind).name, *filter(None, part)) for row, part in zip(rows, parts, strict=True)]


def kinds_of(url: str) -> list[Kind]:
    """Of all rows of the log, in their order."""
    with opened(url) as cursor:
        if GIVEN_CLUSTER and url.startswith("postgresql"):
            cursor.execute("SELECT collect_changes()")
        cursor.execute(f"SELECT kind FROM changes ORDER BY {'id' if url.startswith('postgresql') else 'position'}")
        return [Kind(kind) for (kind,) in cursor.fetchall()]
