"""Reads of one statement, which are made alone or several together: what they ask for, and what they make of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from gochat.storage.database import Database, Row
from gochat.storage.kept import Kept


class AloneError(Exception):
    """This one takes more than its statement: it is to be made alone."""


class Read(NamedTuple):
    """parameters(request): of the statement. fill(answer, request, rows): how many conversations were looked up for it,
    which is for inboxes.py. Raises ChatError and, where the read is to be made alone if it is not, AloneError. replica:
    as of Database.read."""

    statement: Kept
    parameters: Callable[[Any], tuple[Any, ...]]
    fill: Callable[[Any, Any, Sequence[Row]], int]
    replica: bool = False

    def alone(self, database: Database, request: Message, answer: Message) -> int:
        """Fills the answer."""
        values = self.parameters(request)
        rows = database.read(lambda tx: tx.fetch_all(self.statement, *values), one_statement=True, replica=self.replica)
        return self.fill(answer, request, rows)

    def together(self, database: Database, requests: Sequence[Any]) -> list[list[Row]]:
        """The rows of each."""
        values = [self.parameters(request) for request in requests]
        return database.read(lambda tx: tx.fetch_each(self.statement, values), one_statement=True, replica=self.replica)
