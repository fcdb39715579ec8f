"""Sessions: one for each device of a user, with the id of the one refresh token that is still valid."""

from gochat.api.session.v1 import session_pb2
from gochat.config import MAX_SESSIONS
from gochat.domain import ids, policy
from gochat.errors import ChatError, unauthorized
from gochat.internal.account.v1 import account_pb2
from gochat.repo.audit import REFUSED, record
from gochat.repo.endings import end, end_of_device, end_surplus, ended_since
from gochat.repo.users import ACTIVE, get_user
from gochat.storage.database import Database, Tx
from gochat.storage.models import Activity, Session, User

MAX_DEVICES = 50  # of a user that are remembered: those on which they signed in last
_REMEMBER_DEVICE = """
INSERT INTO devices (user_id, device_id, seen_at)
VALUES (?, ?, ?)
ON CONFLICT (user_id, device_id) DO UPDATE SET seen_at = excluded.seen_at"""
_FORGET_DEVICES = """
DELETE FROM devices
WHERE user_id = ? AND device_id IN (
    SELECT device_id FROM devices WHERE user_id = ? ORDER BY seen_at DESC, device_id LIMIT 1000000000 OFFSET ?
)"""


class Sessions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def RotateSession(self, request: account_pb2.RotateSessionRequest) -> account_pb2.RotateSessionResponse:
        now = ids.now_ms()

        def work(tx: Tx) -> account_pb2.RotateSessionResponse | ChatError:
            session = locked_session(tx, request.session_id)
            if session is None or session.expires_at <= now:
                return ended()
            verdict = policy.rotation(session, request.refresh_id, now)
            if verdict == policy.END:
                end(tx, request.session_id)
                record(tx, "session.reuse", session.user_id, request.session_id, REFUSED)
                return ended()
            user = lock_active_user(tx, session.user_id)
            if verdict == policy.ROTATE:
                session.previous_refresh_id, session.refresh_id = session.refresh_id, request.next_refresh_id
                session.expires_at = request.expires_at
                tx.run(
                    Session.update(
                        refresh_id=session.refresh_id,
                        previous_refresh_id=session.previous_refresh_id,
                        refreshed_at=now,
                        expires_at=session.expires_at,
                    ).where(Session.session_id == request.session_id)
                )
                _seen(tx, user.user_id, now)
            return account_pb2.RotateSessionResponse(
                user_id=user.user_id, role=user.role, refresh_id=session.refresh_id, expires_at=session.expires_at
            )

        # Returned and not raised inside the transaction, which would roll back the end of the session.
        answer = self._database.write(work)
        if isinstance(answer, ChatError):
            raise answer
        return answer

    def EndSession(self, request: account_pb2.EndSessionRequest) -> account_pb2.EndSessionResponse:
        def work(tx: Tx) -> bool:
            session = locked_session(tx, request.session_id, request.user_id)
            if session is not None:
                end(tx, request.session_id)
                record(tx, "session.end", session.user_id, request.session_id)
            return session is not None

        return account_pb2.EndSessionResponse(ended=self._database.write(work))

    def ListUserSessions(self, request: account_pb2.ListUserSessionsRequest) -> account_pb2.ListUserSessionsResponse:
        theirs = (Session.user_id == request.user_id) & (Session.expires_at > ids.now_ms())
        latest_first = (Session.refreshed_at.desc(), Session.session_id)

        def work(tx: Tx) -> list[Session]:
            get_user(tx, request.user_id)
            return tx.model_all(Session.select().where(theirs).order_by(*latest_first).limit(MAX_SESSIONS))

        sessions = [
            session_pb2.Session(
                session_id=session.session_id,
                device_id=session.device_id,
                created_at=session.created_at,
                refreshed_at=session.refreshed_at,
                expires_at=session.expires_at,
            )
            for session in self._database.read(work)
        ]
        return account_pb2.ListUserSessionsResponse(sessions=sessions)

    def ListEndedSessions(self, request: account_pb2.ListEndedSessionsRequest) -> account_pb2.ListEndedSessionsResponse:
        position, session_ids = self._database.read(lambda tx: ended_since(tx, request.position), one_statement=True)
        return account_pb2.ListEndedSessionsResponse(
            session_ids=session_ids, position=position, now=ids.now_ms(), read_only=not self._database.is_writable
        )


def lock_active_user(tx: Tx, user_id: str) -> User:
    """The user, whose row is locked until the commit. Raises NOT_FOUND, UNAUTHORIZED."""
    user = get_user(tx, user_id, lock=True)
    if user.status != ACTIVE:
        raise unauthorized("the user is not active", "USER_NOT_ACTIVE")
    return user


def owned(tx: Tx, session_id: str, user_id: str) -> Session | None:
    """user_id: whose it must be; "" for anyone's."""
    this = Session.session_id == session_id
    session: Session | None = tx.model_one(
        Session.select().where(this & (Session.user_id == user_id) if user_id else this)
    )
    return session


def locked_session(tx: Tx, session_id: str, user_id: str = "") -> Session | None:
    """As owned(), once its user is locked, under whose lock all sessions of theirs change."""
    found = owned(tx, session_id, user_id)
    if found is None:
        return None
    get_user(tx, found.user_id, lock=True)
    return owned(tx, session_id, user_id)


def ended() -> ChatError:
    return unauthorized("the session has ended; sign in again", "SESSION_ENDED")


def replace_session(
    tx: Tx, user_id: str, device_id: str, refresh_id: str, expires_at: int, max_sessions: int = 0
) -> str:
    """Opens the session of a device, in place of the one that it had; returns its id. max_sessions: of the user; 0: any
    number."""
    session_id = ids.new_session()
    now = ids.now_ms()
    row = {
        Session.session_id: session_id,
        Session.user_id: user_id,
        Session.device_id: device_id or session_id,
        Session.refresh_id: refresh_id,
        Session.created_at: now,
        Session.refreshed_at: now,
        Session.expires_at: expires_at,
    }
    end_of_device(tx, user_id, device_id)
    tx.run(Session.insert(row))
    if max_sessions:
        end_surplus(tx, user_id, session_id, max_sessions)
    if device_id:
        _remember_device(tx, user_id, device_id, now)
    _seen(tx, user_id, now)
    record(tx, "session.begin", user_id, session_id)
    return session_id


def _remember_device(tx: Tx, user_id: str, device_id: str, now: int) -> None:
    tx.sql(_REMEMBER_DEVICE, user_id, device_id, now)
    tx.sql(_FORGET_DEVICES, user_id, user_id, MAX_DEVICES)


def _seen(tx: Tx, user_id: str, now: int) -> None:
    tx.run(
        Activity.insert(user_id=user_id, active_at=now).on_conflict(
            conflict_target=[Activity.user_id], preserve=[Activity.active_at]
        )
    )


def forget_expired(tx: Tx, user_id: str) -> None:
    """A push token that they had does not count any more, and goes when one too many is registered."""
    tx.run(Session.delete().where(Session.user_id == user_id, Session.expires_at <= ids.now_ms()))
