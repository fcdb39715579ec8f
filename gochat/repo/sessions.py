"""Sessions: one a device, known by the id of the one refresh token that still works."""

from gochat.api.store.v1 import store_pb2
from gochat.domain import ids
from gochat.errors import ChatError, unauthorized
from gochat.repo.database import Database, Tx
from gochat.repo.models import Session, User
from gochat.repo.users import ACTIVE, found


class Sessions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def CreateSession(self, request: store_pb2.CreateSessionRequest) -> store_pb2.CreateSessionResponse:
        now = ids.now_ms()
        session_id = ids.new_session()
        device_id = request.device_id or session_id

        def work(tx: Tx) -> None:
            _active(tx, request.user_id)
            tx.run(Session.delete().where(Session.user_id == request.user_id, Session.expires_at <= now))
            row = {
                Session.session_id: session_id,
                Session.user_id: request.user_id,
                Session.device_id: device_id,
                Session.refresh_id: request.refresh_id,
                Session.created_at: now,
                Session.refreshed_at: now,
                Session.expires_at: request.expires_at,
            }
            # An upsert, since two sign-ins of one device may race.
            device = (Session.user_id, Session.device_id)
            tx.run(Session.insert(row).on_conflict(conflict_target=device, preserve=tuple(row)))

        self._database.write(work)
        return store_pb2.CreateSessionResponse(session_id=session_id)

    def RotateSession(self, request: store_pb2.RotateSessionRequest) -> store_pb2.RotateSessionResponse:
        now = ids.now_ms()
        this = Session.session_id == request.session_id

        def work(tx: Tx) -> User | ChatError:
            session = tx.one(Session.select().where(this, Session.expires_at > now))
            if session is None:
                return _ended()
            rotated = tx.run(
                Session.update(
                    refresh_id=request.next_refresh_id, refreshed_at=now, expires_at=request.expires_at
                ).where(this, Session.refresh_id == request.refresh_id)
            )
            if not rotated:
                # A refresh token that was used before: a copy is abroad, so the session ends, for both holders.
                tx.run(Session.delete().where(this))
                return _ended()
            return _active(tx, session.user_id)

        # The refusal is returned and not raised within: raising would take the end of the session back.
        user = self._database.write(work)
        if isinstance(user, ChatError):
            raise user
        return store_pb2.RotateSessionResponse(user_id=user.user_id, role=user.role)

    def EndSession(self, request: store_pb2.EndSessionRequest) -> store_pb2.EndSessionResponse:
        self._database.write(lambda tx: tx.run(Session.delete().where(Session.session_id == request.session_id)))
        return store_pb2.EndSessionResponse(success=True)


def _active(tx: Tx, user_id: str) -> User:
    user = found(tx, user_id)
    if user.status != ACTIVE:
        raise unauthorized("the user is not active", "USER_NOT_ACTIVE")
    return user


def _ended() -> ChatError:
    return unauthorized("the session has ended; sign in again", "SESSION_ENDED")
