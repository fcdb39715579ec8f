"""Users: accounts, profiles, credentials."""

from collections.abc import Callable, Collection, Sequence
from operator import attrgetter
from typing import Any

from gochat.api.common.v1 import common_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.domain import ids
from gochat.domain.changes import Kind
from gochat.domain.text import casefold_key, normal_name, skeleton
from gochat.errors import ChatError, denied, duplicate, not_found
from gochat.internal.account.v1 import account_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.repo import passwords
from gochat.repo.audit import record
from gochat.repo.changes import add_change
from gochat.repo.reads import Read
from gochat.storage.database import Database, Row, T, Tx, placeholders
from gochat.storage.kept import Kept
from gochat.storage.models import User

ACTIVE, DISABLED, DELETED = 1, 2, 3
STATUSES = {ACTIVE: "active", DISABLED: "disabled", DELETED: "deleted"}

# By hand, since looking a user up is what is done most: Peewee takes ten times as long to say the same.
COLUMNS = User._meta.sorted_field_names
_BY_ID = f"SELECT {', '.join(COLUMNS)} FROM users WHERE user_id = ?"
PROFILE_COLUMNS = ("user_id", "username", "nickname", "avatar", "bio", "status", "created_at", "updated_at")

_PROFILE = Kept(
    "profile",
    f"SELECT {', '.join(PROFILE_COLUMNS)} FROM users WHERE user_id = ?1 AND status < {DELETED}",
    ("TEXT",),  # user_id
    ("TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "INTEGER", "BIGINT", "BIGINT"),
)

# The search index of SQLite keeps no text of its own, so it has to be given the old names to forget them.
_NAMES = "number, text FROM user_names WHERE number IN (SELECT rowid FROM users WHERE user_id IN (%s))"
_INDEX = f"INSERT INTO user_search (rowid, text) SELECT {_NAMES}"
_UNINDEX = f"INSERT INTO user_search (user_search, rowid, text) SELECT 'delete', {_NAMES}"

_profile_of = attrgetter(*PROFILE_COLUMNS)

SEEN = frozenset({"username", "nickname", "avatar", "bio", "status"})
"""Fields of a profile that change."""


class Users:
    def __init__(self, database: Database) -> None:
        self._database = database

    def CreateUser(self, request: repo_pb2.CreateUserRequest) -> repo_pb2.CreateUserResponse:
        user = new_user(request)
        self._database.write(lambda tx: insert_user(tx, user))
        return repo_pb2.CreateUserResponse(user_id=user.user_id, user=as_user(user))

    def GetUser(self, request: repo_pb2.GetUserRequest) -> repo_pb2.GetUserResponse:
        return repo_pb2.GetUserResponse(
            user=as_user(self._database.read(lambda tx: get_user(tx, request.user_id), one_statement=True))
        )

    def GetUsers(self, request: repo_pb2.GetUsersRequest) -> repo_pb2.GetUsersResponse:
        wanted = list(dict.fromkeys(request.user_ids))
        rows = (
            self._database.read(lambda tx: tx.model_all(User.select().where(User.user_id.in_(wanted))))
            if wanted
            else []
        )
        by_id = {user.user_id: user for user in rows}
        return repo_pb2.GetUsersResponse(users=[as_user(by_id[user_id]) for user_id in wanted if user_id in by_id])

    def GetProfile(self, request: store_pb2.GetProfileRequest) -> store_pb2.GetProfileResponse:
        answer = store_pb2.GetProfileResponse()
        PROFILE.alone(self._database, request, answer)
        return answer

    def UpdateProfile(self, request: store_pb2.UpdateProfileRequest) -> store_pb2.UpdateProfileResponse:
        changes = {"nickname": request.nickname, "avatar": request.avatar, "bio": request.bio}

        def work(tx: Tx) -> User:
            before = get_user(tx, request.user_id, lock=True)
            must_exist(tx, [request.user_id], "user_id")
            user = changed(tx, before, changes)
            if user is not before:
                record(tx, "user.change", request.user_id)
            return user

        return store_pb2.UpdateProfileResponse(profile=profile(self._database.write(work)))


def are_none(database: Database) -> bool:
    """Are there no users, not even deleted ones?"""
    return not database.read(lambda tx: tx.fetch_all("SELECT 1 FROM users LIMIT 1"), one_statement=True)


def new_user(request: repo_pb2.CreateUserRequest | account_pb2.RegisterRequest) -> User:
    """An active user, whose password is hashed: outside of any transaction, since that takes long."""
    return make_user(
        normal_name(request.username),
        password_hash=passwords.hashed(request.password),
        email=request.email,
        nickname=request.nickname,
    )


def make_user(
    username: str,
    *,
    password_hash: str = "",
    email: str = "",
    nickname: str = "",
    avatar: str = "",
    bio: str = "",
    external_id: str = "",
    is_guest: bool = False,
) -> User:
    """An active user of this name, which is normal. Without a password_hash they cannot sign in by a password."""
    nickname = nickname or username
    now = ids.now_ms()
    return User(
        user_id=ids.new_user(),
        username=username,
        username_key=casefold_key(username),
        username_shape=skeleton(username),
        email=email,
        nickname=nickname,
        nickname_key=casefold_key(nickname),
        avatar=avatar,
        bio=bio,
        role="user",
        status=ACTIVE,
        password_hash=password_hash,
        external_id=external_id,
        is_guest=int(is_guest),
        created_at=now,
        updated_at=now,
    )


def insert_user(tx: Tx, user: User) -> None:
    """Raises DUPLICATE_OPERATION for a name that is taken."""
    query = User.insert(user.__data__).on_conflict_ignore().as_rowcount()
    if not write_names(tx, [user.user_id], lambda: tx.run(query)):
        raise username_taken()
    record(tx, "user.create", user.user_id)


def username_taken() -> ChatError:
    return duplicate("the username is taken, or looks like one that is", "USERNAME_TAKEN", "username")


def get_user(tx: Tx, user_id: str, *, lock: bool = False) -> User:
    """lock: until the commit nobody else changes the user. Raises NOT_FOUND for the field user_id."""
    if lock and tx.distributed:
        lock_users(tx, [user_id])
    row = tx.fetch_one(_BY_ID + tx.lock if lock and not tx.distributed else _BY_ID, user_id)
    if row is None:
        raise not_found("user", "user_id")
    return of_row(row)


def not_active() -> ChatError:
    """For a service that names the user."""
    return denied("the user is disabled or deleted", "USER_NOT_ACTIVE")


def of_row(row: Row) -> User:
    """row: its COLUMNS."""
    return User(**dict(zip(COLUMNS, row, strict=True)))


def lock_users(tx: Tx, user_ids: Sequence[str], *, share: bool = False) -> None:
    """On a Citus cluster, where a lock of a row of users is one on every node, and two that wait for it deadlock: one
    of the coordinator stands for it, until the commit. In the order of ids."""
    lock = "pg_advisory_xact_lock_shared" if share else "pg_advisory_xact_lock"
    values = ", ".join(["(?)"] * len(user_ids))
    tx.sql(f"SELECT {lock}(hashtextextended(user_id, 0)) FROM (VALUES {values}) AS each (user_id)", *sorted(user_ids))


def lock_existing(tx: Tx, user_ids: Sequence[str]) -> set[str]:
    """Those of the users who exist and are not deleted. Until the commit none of them is: code that makes them members
    of a conversation calls this before it locks the conversation, as code that deletes a user locks them in this order.
    """
    if not user_ids:
        return set()
    if tx.distributed:
        lock_users(tx, user_ids, share=True)
    share = " FOR SHARE" if tx.postgres and not tx.distributed else ""
    rows = tx.fetch_all(
        f"SELECT user_id FROM users WHERE user_id IN ({placeholders(user_ids)}) AND status < ?{share}",
        *(*user_ids, DELETED),
    )
    return {user_id for (user_id,) in rows}


def must_be_among(existing: Collection[str], user_ids: Sequence[str], field: str) -> None:
    """Raises NOT_FOUND for the field, naming those who are not. existing: of lock_existing()."""
    if missing := set(user_ids) - set(existing):
        error = not_found("user", field)
        error.fields[field] += f": {', '.join(sorted(missing)[:10])}"
        raise error


def must_exist(tx: Tx, user_ids: Sequence[str], field: str) -> None:
    """Raises NOT_FOUND for the field, naming those who do not exist or are deleted. Those who do are as of
    lock_existing()."""
    must_be_among(lock_existing(tx, user_ids), user_ids, field)


def changed(tx: Tx, before: User, changes: dict[str, Any]) -> User:
    """The user, who is locked, after the changes that are not empty or 0; the same object where nothing differs."""
    return with_fields(tx, before, {name: value for name, value in changes.items() if value})


def with_fields(tx: Tx, before: User, changes: dict[str, Any]) -> User:
    """The same, with empty ones. None of names that are unique: see provisioning.py."""
    changes = {name: value for name, value in changes.items() if value != getattr(before, name)}
    if not changes:
        return before
    if "nickname" in changes:
        changes["nickname_key"] = casefold_key(changes["nickname"])
        write_names(tx, [before.user_id], lambda: tx.run(_update(before.user_id, changes)))
    else:
        tx.run(_update(before.user_id, changes))
    if not SEEN.isdisjoint(changes):
        add_change(tx, Kind.PROFILE_UPDATED, user_id=before.user_id)
    return get_user(tx, before.user_id)


def _update(user_id: str, changes: dict[str, Any]) -> Any:
    return User.update(updated_at=ids.now_ms(), **changes).where(User.user_id == user_id)


def write_names(tx: Tx, user_ids: Sequence[str], write: Callable[[], T]) -> T:
    """Calls write, which inserts these users or changes their names, and keeps the index that the search looks them up
    in; on PostgreSQL that is one of the table's own."""
    if tx.postgres:
        return write()
    listed = placeholders(user_ids)
    tx.sql(_UNINDEX % listed, *user_ids)
    answer = write()
    tx.sql(_INDEX % listed, *user_ids)
    return answer


def rebuild_name_index(tx: Tx) -> None:
    """After users were written by other statements than those above."""
    if not tx.postgres:
        tx.sql("INSERT INTO user_search (user_search) VALUES ('rebuild')")


def as_user(user: User) -> common_pb2.User:
    return common_pb2.User(
        user_id=user.user_id,
        username=user.username,
        email=user.email,
        nickname=user.nickname,
        avatar=user.avatar,
        status=user.status,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )


def profile(user: User) -> common_pb2.UserProfile:
    made = common_pb2.UserProfile()
    fill_profile(made, _profile_of(user))
    return made


def fill_profile(profile: common_pb2.UserProfile, row: Sequence[Any]) -> None:
    """row: PROFILE_COLUMNS."""
    profile.user_id, profile.username, profile.nickname, profile.avatar, profile.bio, *rest = row
    profile.status, profile.created_at, profile.updated_at = rest


def _fill_profile_of(
    answer: store_pb2.GetProfileResponse, _: store_pb2.GetProfileRequest, rows: Sequence[Sequence[Any]]
) -> int:
    if not rows:
        raise not_found("user", "user_id")
    fill_profile(answer.profile, rows[0])
    return 0


PROFILE = Read(_PROFILE, lambda request: (request.user_id,), _fill_profile_of)
