"""Push tokens: where the devices of users get notifications. A token ends with its session (endings.py); one of no
session when its user is not active any more."""

import hashlib

from gochat.api.push.v1 import push_pb2 as pb
from gochat.domain import ids, webpush
from gochat.errors import denied
from gochat.internal.push.v1 import push_pb2 as store
from gochat.repo.sessions import ended, lock_active_user
from gochat.repo.users import get_user
from gochat.storage.database import Database, Tx

MAX_TOKENS = 20  # of a user
VAPID = "vapid"
"""The name of the private key among the secrets of a database."""

# What counts of push_tokens: a session that has expired, and its tokens, may have rows until its user signs in again.
VALID = """FROM push_tokens AS token
JOIN users AS owner ON owner.user_id = token.user_id AND owner.status = 1
LEFT JOIN sessions AS session ON session.session_id = token.session_id
WHERE (token.session_id = '' OR session.expires_at > ?)"""
_LIST = f"""
SELECT token.platform, token.token, token.device_id, token.registered_at
{VALID} AND token.user_id = ?
ORDER BY token.registered_at DESC, token.token_id"""
_SESSION = "SELECT device_id FROM sessions WHERE session_id = ? AND user_id = ? AND expires_at > ?"
_SESSION_OF_DEVICE = "SELECT session_id FROM sessions WHERE user_id = ? AND device_id = ? AND expires_at > ?"
_REGISTER = """
INSERT INTO push_tokens
    (token_id, user_id, session_id, device_id, platform, token, p256dh, auth, registered_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (token_id) DO UPDATE SET user_id = excluded.user_id, session_id = excluded.session_id,
    device_id = excluded.device_id, p256dh = excluded.p256dh, auth = excluded.auth,
    registered_at = excluded.registered_at"""
# What waits to be sent to a browser is of the one who had it before.
_FORGET_OTHERS = """
DELETE FROM push_deliveries
WHERE token_id IN (SELECT token_id FROM push_tokens WHERE token_id = ? AND user_id <> ?)"""
_END_OLDEST = """
DELETE FROM push_tokens
WHERE token_id IN (
    SELECT token_id FROM push_tokens WHERE user_id = ?
    ORDER BY registered_at DESC, token_id LIMIT 1000000000 OFFSET ?
)"""
_UNREGISTER = "DELETE FROM push_tokens WHERE token_id = ? AND user_id = ?"
_END_OF_USER = "DELETE FROM push_tokens WHERE user_id = ?"
_SECRET = "SELECT value FROM secrets WHERE name = ?"  # noqa: S105 - no secret
_KEEP_SECRET = "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING"  # noqa: S105


class PushTokens:
    """Of PushStoreService."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def RegisterPushToken(self, request: store.RegisterPushTokenRequest) -> pb.RegisterPushTokenResponse:
        wanted, user_id, now = request.request, request.user_id, ids.now_ms()

        def work(tx: Tx) -> pb.PushToken:
            lock_active_user(tx, user_id)
            session_id, device_id = _session(tx, request, now)
            token_id = token_id_of(wanted.platform, wanted.token)
            tx.sql(_FORGET_OTHERS, token_id, user_id)
            tx.sql(
                _REGISTER,
                *(token_id, user_id, session_id, device_id),
                *(wanted.platform, wanted.token, wanted.p256dh, wanted.auth, now),
            )
            tx.sql(_END_OLDEST, user_id, MAX_TOKENS)
            return pb.PushToken(platform=wanted.platform, token=wanted.token, device_id=device_id, registered_at=now)

        return pb.RegisterPushTokenResponse(token=self._database.write(work))

    def UnregisterPushToken(self, request: store.UnregisterPushTokenRequest) -> pb.UnregisterPushTokenResponse:
        token_id = token_id_of(request.request.platform, request.request.token)
        self._database.write(lambda tx: tx.sql(_UNREGISTER, token_id, request.user_id), one_statement=True)
        return pb.UnregisterPushTokenResponse(success=True)

    def ListPushTokens(self, request: store.ListPushTokensRequest) -> pb.ListPushTokensResponse:
        def work(tx: Tx) -> list[pb.PushToken]:
            get_user(tx, request.user_id)
            return [
                pb.PushToken(platform=platform, token=token, device_id=device_id, registered_at=at)
                for platform, token, device_id, at in tx.fetch_all(_LIST, ids.now_ms(), request.user_id)
            ]

        return pb.ListPushTokensResponse(tokens=self._database.read(work))

    def GetVapidKey(self, _: store.GetVapidKeyRequest) -> store.GetVapidKeyResponse:
        row = self._database.read(lambda tx: tx.fetch_one(_SECRET, VAPID), one_statement=True)
        if row is None:
            row = self._database.write(_make_key)
        scalar = webpush.decode(row[0])
        return store.GetVapidKeyResponse(private_key=scalar, public_key=webpush.public_key(scalar))


def token_id_of(platform: str, token: str) -> str:
    return hashlib.sha256(f"{platform} {token}".encode()).hexdigest()[:32]


def end_tokens(tx: Tx, user_id: str) -> None:
    """Of a user who is not active any more."""
    tx.sql(_END_OF_USER, user_id)


def _session(tx: Tx, request: store.RegisterPushTokenRequest, now: int) -> tuple[str, str]:
    """(the session with which the token ends, or ""; its device). Raises UNAUTHORIZED, PERMISSION_DENIED."""
    device_id = request.request.device_id
    if request.session_id:
        row = tx.fetch_one(_SESSION, request.session_id, request.user_id, now)
        if row is None:
            raise ended()
        if device_id not in ("", row[0]):
            raise denied("device_id must be empty or that of your session", "NOT_YOURSELF")
        return request.session_id, row[0]
    row = tx.fetch_one(_SESSION_OF_DEVICE, request.user_id, device_id, now) if device_id else None
    return (row[0] if row else ""), device_id


def _make_key(tx: Tx) -> tuple[str]:
    """One that another process has made meanwhile stays."""
    tx.sql(_KEEP_SECRET, VAPID, webpush.encode(webpush.new_key()))
    return (str(tx.fetch_all(_SECRET, VAPID)[0][0]),)
