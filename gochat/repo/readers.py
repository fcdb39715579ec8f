"""Readers of the change log: how far each has come, and which process reads. Leases end by the clock of the database's
host."""

from gochat.domain import ids
from gochat.errors import aborted
from gochat.internal.change.v1.change_pb2 import Position
from gochat.internal.reader.v1 import reader_pb2 as pb
from gochat.repo.feed import read_log
from gochat.storage.database import Database, Tx

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
                here = read_log(tx, Position()).now
                row = tx.fetch_one(_BEGIN, name, holder, until, here.epoch, here.at)
            if row is None:
                return pb.ClaimResponse()
            return pb.ClaimResponse(held=True, position=Position(epoch=row[0], at=row[1]))

        return self._database.write(work)

    def Advance(self, request: pb.AdvanceRequest) -> pb.AdvanceResponse:
        """Back too, where the log of a database that was restored is shorter: the holder alone knows."""
        here = request.position
        if not self._database.write(
            lambda tx: tx.fetch_one(_ADVANCE, here.epoch, here.at, request.name, request.holder)
        ):
            raise aborted("another process reads on", "LEASE_LOST")
        return pb.AdvanceResponse()

    def Release(self, request: pb.ReleaseRequest) -> pb.ReleaseResponse:
        self._database.write(lambda tx: tx.sql(_RELEASE, request.name, request.holder))
        return pb.ReleaseResponse()
