"""Readers of the change log: how far each has come, and which process reads. Leases end by the clock of the database's
host."""

from gochat.domain import ids
from gochat.errors import aborted
from gochat.internal.change.v1.change_pb2 import Position
from gochat.internal.reader.v1 import reader_pb2 as pb
from gochat.repo.feed import kept_epoch, kept_position, read_log
from gochat.storage.database import Database, Row, Tx

_CLAIM = """
UPDATE log_readers SET holder = ?, held_until = ? WHERE name = ? AND (holder = ? OR held_until <= ?)
RETURNING epoch, position"""
_BEGIN = """
INSERT INTO log_readers (name, holder, held_until, epoch, position) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name) DO NOTHING RETURNING epoch, position"""
_ADVANCE = "UPDATE log_readers SET epoch = ?, position = ? WHERE name = ? AND holder = ? RETURNING 1"
_RELEASE = "UPDATE log_readers SET holder = '', held_until = 0 WHERE name = ? AND holder = ?"


class Readers:
    """Of ReaderService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def Claim(self, request: pb.ClaimRequest) -> pb.ClaimResponse:
        def work(tx: Tx) -> pb.ClaimResponse:
            name, holder, now = request.name, request.holder, ids.now_ms()
            until = now + request.seconds * 1000
            row = tx.fetch_one(_CLAIM, holder, until, name, holder, now)
            if row is None and tx.fetch_one("SELECT 1 FROM log_readers WHERE name = ?", name) is None:
                row = begin(tx, name, holder, until)
            if row is None:
                return pb.ClaimResponse()
            return pb.ClaimResponse(held=True, position=kept_position(tx, *row))

        return self._database.write(work)

    def Advance(self, request: pb.AdvanceRequest) -> pb.AdvanceResponse:
        """Back too, where the log of a database that was restored is shorter: the holder alone knows. What it has read
        on another server, which this one has taken over from, is no position here."""

        def work(tx: Tx) -> bool:
            epoch = kept_epoch(tx, request.position)
            return epoch != "" and bool(
                tx.fetch_one(_ADVANCE, epoch, request.position.at, request.name, request.holder)
            )

        if not self._database.write(work):
            raise aborted("another process reads on", "LEASE_LOST")
        return pb.AdvanceResponse()

    def Release(self, request: pb.ReleaseRequest) -> pb.ReleaseResponse:
        self._database.write(lambda tx: tx.sql(_RELEASE, request.name, request.holder))
        return pb.ReleaseResponse()


def begin(tx: Tx, name: str, holder: str = "", held_until: int = 0) -> Row | None:
    """A new reader, from the log's position of now on, which it returns; None where there is one of that name."""
    here = read_log(tx, Position()).now
    return tx.fetch_one(_BEGIN, name, holder, held_until, kept_epoch(tx, here), here.at)
