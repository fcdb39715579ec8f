"""Signing in without a password: users of the operator's own login, and guests."""

import secrets
from dataclasses import replace

from gochat.api.user.v1.user_pb2 import OUTCOME_CREATED
from gochat.errors import ChatError, denied
from gochat.internal.login.v1 import login_pb2 as pb
from gochat.repo import passwords
from gochat.repo.audit import REFUSED, record
from gochat.repo.endings import end_all
from gochat.repo.provisioning import Verdict, Wanted, provision
from gochat.repo.sessions import ended, forget_expired, lock_active_user, owned, replace_session
from gochat.repo.users import get_user
from gochat.storage.database import Database, Tx

_BY_EXTERNAL_ID = "SELECT user_id FROM users WHERE external_id = ? AND external_id <> ''"


class Logins:
    def __init__(self, database: Database) -> None:
        self._database = database

    def SignInExternal(self, request: pb.SignInExternalRequest) -> pb.SignInExternalResponse:
        def work(tx: Tx) -> pb.SignInExternalResponse:
            user_id, created = _found_or_made(tx, request)
            user = lock_active_user(tx, user_id)
            forget_expired(tx, user_id)
            session_id = replace_session(
                tx, user_id, request.device_id, request.refresh_id, request.expires_at, request.max_sessions
            )
            return pb.SignInExternalResponse(user_id=user_id, role=user.role, session_id=session_id, created=created)

        return self._database.write(work)

    def CreateGuest(self, request: pb.CreateGuestRequest) -> pb.CreateGuestResponse:
        wanted = Wanted(username=f"guest-{secrets.token_hex(5)}", nickname=request.nickname, is_guest=True)

        def work(tx: Tx) -> pb.CreateGuestResponse:
            user_id, _ = provision(tx, wanted)
            session_id = replace_session(tx, user_id, request.device_id, request.refresh_id, request.expires_at)
            return pb.CreateGuestResponse(user_id=user_id, role="user", session_id=session_id)

        return self._database.write(work)

    def ClaimAccount(self, request: pb.ClaimAccountRequest) -> pb.ClaimAccountResponse:
        password_hash = passwords.hashed(request.password) if request.password else ""

        def work(tx: Tx) -> pb.ClaimAccountResponse:
            guest = get_user(tx, request.user_id)
            session = owned(tx, request.session_id, guest.user_id)
            if session is None:
                raise ended()
            wanted = Wanted(
                user_id=guest.user_id,
                external_id=request.external_id,
                username=request.username,
                nickname=request.username if guest.nickname == guest.username else "",
                password_hash=password_hash,
            )
            # Before their row is locked alone: it locks who has the name too, in the order of their ids.
            if password_hash:
                provision(tx, wanted)
            else:
                _provision_anyhow(tx, wanted)
            user = lock_active_user(tx, guest.user_id)
            if not user.is_guest:
                raise denied("only guests claim an account", "NOT_A_GUEST")
            tx.sql("UPDATE users SET is_guest = 0 WHERE user_id = ?", user.user_id)
            end_all(tx, user.user_id)
            record(tx, "user.claim", user.user_id)
            session_id = replace_session(tx, user.user_id, session.device_id, request.refresh_id, request.expires_at)
            return pb.ClaimAccountResponse(role=user.role, session_id=session_id)

        return self._database.write(work)

    def RecordRefusal(self, request: pb.RecordRefusalRequest) -> pb.RecordRefusalResponse:
        self._database.write(lambda tx: record(tx, "session.begin", "", request.issuer, REFUSED))
        return pb.RecordRefusalResponse()


def _found_or_made(tx: Tx, request: pb.SignInExternalRequest) -> tuple[str, bool]:
    if row := tx.fetch_one(_BY_EXTERNAL_ID, request.external_id):
        return row[0], False
    if not request.create:
        raise denied("you have no account here", "NO_ACCOUNT")
    wanted = Wanted(
        external_id=request.external_id,
        username=request.username,
        nickname=request.nickname,
        email=request.email,
        avatar=request.avatar,
    )
    user_id, outcome = _provision_anyhow(tx, wanted)
    return user_id, outcome == OUTCOME_CREATED


def _provision_anyhow(tx: Tx, wanted: Wanted) -> Verdict:
    """Under another name where theirs is taken."""
    try:
        return provision(tx, wanted)
    except ChatError as error:
        if error.reason != "USERNAME_TAKEN":
            raise
    return provision(tx, replace(wanted, username=""))
