"""Accounts: credentials and platform roles."""

from typing import Any

from gochat.domain import ids
from gochat.domain.guesses import Attempt, Guesses, address_limited, changing, signing_in
from gochat.domain.rates import Counts
from gochat.domain.text import casefold_key, full_casefold, skeleton
from gochat.errors import ChatError, limited, unauthorized
from gochat.internal.account.v1 import account_pb2
from gochat.repo import passwords
from gochat.repo.administration import set_role
from gochat.repo.audit import REFUSED, record
from gochat.repo.endings import end_all
from gochat.repo.sessions import ended, forget_expired, lock_active_user, owned, replace_session
from gochat.repo.users import ACTIVE, COLUMNS, get_user, insert_user, new_user, not_active, of_row, profile
from gochat.storage.database import Database, Tx, placeholders
from gochat.storage.models import User


class Accounts:
    def __init__(self, database: Database, counts: Counts) -> None:
        self._database = database
        self._guesses = Guesses(counts.failures("guesses"))

    def Register(self, request: account_pb2.RegisterRequest) -> account_pb2.RegisterResponse:
        user = new_user(request)

        def work(tx: Tx) -> str:
            insert_user(tx, user)
            return replace_session(tx, user.user_id, request.device_id, request.refresh_id, request.expires_at)

        session_id = self._database.write(work)
        return account_pb2.RegisterResponse(user_id=user.user_id, role=user.role, session_id=session_id)

    def SignIn(self, request: account_pb2.SignInRequest) -> account_pb2.SignInResponse:
        name, device_id = request.username, request.device_id
        user, is_known_device = self._database.read(lambda tx: _named(tx, name, device_id), one_statement=True)
        attempt = signing_in(
            skeleton(name).strip(),
            _hash_of(user),
            device_id,
            is_known_device=is_known_device,
            address_delay=request.address_delay_ms / 1000,
        )
        known = self._verified(user, attempt, request.password, "session.begin")

        def work(tx: Tx) -> tuple[User, str]:
            user = lock_active_user(tx, known.user_id)
            if user.password_hash != known.password_hash:  # changed since it was read
                raise bad_credentials()
            return user, _open_session(tx, user, request)

        user, session_id = self._database.write(work)
        return account_pb2.SignInResponse(profile=profile(user), role=user.role, session_id=session_id)

    def OpenSession(self, request: account_pb2.OpenSessionRequest) -> account_pb2.OpenSessionResponse:
        def work(tx: Tx) -> tuple[User, str]:
            user = get_user(tx, request.user_id, lock=True)
            if user.status != ACTIVE:
                raise not_active()
            return user, _open_session(tx, user, request)

        user, session_id = self._database.write(work)
        return account_pb2.OpenSessionResponse(profile=profile(user), role=user.role, session_id=session_id)

    def ChangePassword(self, request: account_pb2.ChangePasswordRequest) -> account_pb2.ChangePasswordResponse:
        user = self._database.read(lambda tx: get_user(tx, request.user_id), one_statement=True)
        attempt = changing(skeleton(user.username), user.password_hash, request.session_id)
        self._verified(user, attempt, request.old_password, "user.password")
        password_hash = passwords.hashed(request.new_password)

        def work(tx: Tx) -> tuple[str, str]:
            now = lock_active_user(tx, request.user_id)
            session = owned(tx, request.session_id, request.user_id)
            if session is None or now.password_hash != user.password_hash:
                raise ended()
            _set_password(tx, request.user_id, password_hash)
            return replace_session(
                tx, user.user_id, session.device_id, request.refresh_id, request.expires_at
            ), now.role

        session_id, role = self._database.write(work)
        return account_pb2.ChangePasswordResponse(session_id=session_id, role=role)

    def SetPassword(self, request: account_pb2.SetPasswordRequest) -> account_pb2.SetPasswordResponse:
        password_hash = passwords.hashed(request.password)

        def work(tx: Tx) -> None:
            get_user(tx, request.user_id, lock=True)
            _set_password(tx, request.user_id, password_hash)

        self._database.write(work)
        return account_pb2.SetPasswordResponse()

    def SetUserRole(self, request: account_pb2.SetUserRoleRequest) -> account_pb2.SetUserRoleResponse:
        self._database.write(lambda tx: set_role(tx, request.user_id, request.role))
        return account_pb2.SetUserRoleResponse()

    def GetUserRoles(self, request: account_pb2.GetUserRolesRequest) -> account_pb2.GetUserRolesResponse:
        wanted = list(dict.fromkeys(request.user_ids))
        text = f"SELECT user_id, role FROM users WHERE user_id IN ({placeholders(wanted)})"
        rows: list[Any] = self._database.read(lambda tx: tx.fetch_all(text, *wanted), one_statement=True)
        return account_pb2.GetUserRolesResponse(roles=dict(rows))

    def _verified(self, user: User | None, attempt: Attempt, password: str, action: str) -> User:
        """The user. Raises UNAUTHORIZED unless they are active and this is their password, and RATE_LIMIT after
        failures, whether or not there is a user of that name.

        The hash is compared outside of any transaction, since that takes long, and also for a name that nobody has.
        """
        with passwords.hashing_slots:
            # Within the slot, so that guesses made at the same time do not all count as the first.
            wait, is_heard = self._guesses.admit(attempt)
            # Compared also where it is not heard, if that depends on what only the user is to know: their devices.
            right = (is_heard or attempt.may_be_heard) and passwords.matches(_hash_of(user), password)
            if is_heard and right and user is not None and user.status == ACTIVE:
                self._guesses.succeeded(attempt)
                return user
            self._guesses.failed(attempt)
        if attempt.address_delay:
            raise address_limited(attempt.address_delay)
        if wait:
            raise limited("too many failed sign-ins for this name", "ACCOUNT_DELAYED", wait)
        target = user.user_id if user else ""
        self._database.write(lambda tx: record(tx, action, target, outcome=REFUSED))
        raise bad_credentials()


_NAMED = f"""
SELECT {", ".join(f"users.{column}" for column in COLUMNS)}, EXISTS (
    SELECT 1 FROM devices WHERE devices.user_id = users.user_id AND devices.device_id = ?
)
FROM users
WHERE username_key IN (?, ?) OR username_shape = ?
ORDER BY CASE username_key WHEN ? THEN 0 WHEN ? THEN 1 ELSE 2 END
LIMIT 1"""


def _named(tx: Tx, name: str, device_id: str) -> tuple[User | None, bool]:
    """The user whose name was typed so, and whether they have signed in on this device. Spaces around the name are what
    keyboards add. As no two names look the same, one that looks the same is meant."""
    keys = (full_casefold(name).strip(), casefold_key(name).strip())  # the former of an account from before schema 11
    row = tx.fetch_one(_NAMED, device_id, *keys, skeleton(name).strip(), *keys)
    return (of_row(row[:-1]), bool(row[-1])) if row else (None, False)


def _open_session(tx: Tx, user: User, request: account_pb2.SignInRequest | account_pb2.OpenSessionRequest) -> str:
    """Of a user who is locked and active. Returns its id."""
    forget_expired(tx, user.user_id)
    return replace_session(
        tx, user.user_id, request.device_id, request.refresh_id, request.expires_at, request.max_sessions
    )


def _hash_of(user: User | None) -> str:
    return user.password_hash if user else ""


def bad_credentials() -> ChatError:
    return unauthorized("unknown username or wrong password", "BAD_CREDENTIALS")


def _set_password(tx: Tx, user_id: str, password_hash: str) -> None:
    tx.run(User.update(password_hash=password_hash, updated_at=ids.now_ms()).where(User.user_id == user_id))
    end_all(tx, user_id)
    record(tx, "user.password", user_id)
