"""Users as others want them to be: the one way in which a user is made or changed by the operator's own id.

What is wanted is judged in Python, one user after the other, against all users that it might concern, who are locked;
what comes of it is written by the same few statements however many they are.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import peewee

from gochat.api.user.v1.user_pb2 import OUTCOME_CREATED, OUTCOME_UNCHANGED, OUTCOME_UPDATED, Outcome
from gochat.domain import ids
from gochat.domain.changes import Kind
from gochat.domain.forms.rules import username as check_username
from gochat.domain.text import casefold_key, normal_name, skeleton
from gochat.errors import ChatError, denied, duplicate, invalid, not_found, unavailable
from gochat.repo.audit import record_entries
from gochat.repo.changes import add_changes_of
from gochat.repo.endings import end_all_of
from gochat.repo.users import COLUMNS, DELETED, SEEN, lock_users, make_user, of_row, username_taken, write_names
from gochat.storage.database import Tx, placeholders
from gochat.storage.models import User

Verdict = tuple[str, Outcome.ValueType]
"""(user_id, what was done)"""

MAX_ROUNDS = 3  # of users that another transaction makes at the same time
MAX_NAME = 64  # characters
_SETTABLE = ("external_id", "username", "nickname", "avatar", "bio", "email", "password_hash")
_UNIQUE = frozenset({"external_id", "username"})
# What the settable ones bring with them comes after them.
_WRITTEN = (*_SETTABLE, "username_key", "username_shape", "nickname_key", "updated_at")

# All that it might concern: those who are named, and those who have a name that is wanted. By their ids, as whoever
# locks several users.
_CONCERNED = f"""
SELECT {", ".join(COLUMNS)}
FROM users
WHERE user_id IN (
    SELECT user_id FROM users WHERE user_id IN (%s)
    UNION SELECT user_id FROM users WHERE external_id <> '' AND external_id IN (%s)
    UNION SELECT user_id FROM users WHERE username_key IN (%s)
    UNION SELECT user_id FROM users WHERE username_shape IN (%s)
)
ORDER BY user_id"""
_INSERT = f"INSERT INTO users ({', '.join(COLUMNS)}) VALUES %s ON CONFLICT DO NOTHING RETURNING user_id"
_UPDATE = f"""
UPDATE users
SET {", ".join(f"{name} = wanted.column{number}" for number, name in enumerate(_WRITTEN, 2))}
FROM (VALUES %s) AS wanted
WHERE users.user_id = wanted.column1"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A user as they are to be, of a checked form. user_id names them, else external_id, else username; what is empty
    stays as it is."""

    user_id: str = ""
    external_id: str = ""
    username: str = ""
    nickname: str = ""
    avatar: str = ""
    bio: str = ""
    email: str = ""
    password_hash: str = ""
    is_guest: bool = False  # of a user who is made


def provision(tx: Tx, wanted: Wanted) -> Verdict:
    """Makes the user or changes them. Raises NOT_FOUND, DUPLICATE_OPERATION, PERMISSION_DENIED, UNAVAILABLE; after that
    the transaction may go on."""
    (verdict,) = provision_all(tx, [wanted])
    if isinstance(verdict, ChatError):
        raise verdict
    return verdict


def provision_all(tx: Tx, wanted: Sequence[Wanted]) -> list[Verdict | ChatError]:
    """The same for each, as if it were done one after the other."""
    verdicts: list[Verdict | ChatError] = [_overtaken()] * len(wanted)
    pending = list(range(len(wanted)))
    for _ in range(MAX_ROUNDS):
        if not pending:
            break
        known = _Known(tx, [wanted[index] for index in pending])
        for index in pending:
            verdicts[index] = known.verdict(wanted[index])
        lost = known.write(tx)
        # Another transaction has made them, or taken their names, meanwhile: now that can be seen.
        pending = [index for index in pending if _user_of(verdicts[index]) in lost]
    for index in pending:
        verdicts[index] = _overtaken()
    return verdicts


def _user_of(verdict: Verdict | ChatError) -> str:
    return "" if isinstance(verdict, ChatError) else verdict[0]


class _Known:
    """The users that it might concern, and what was done to them. A name that one of them had at first stays taken, so
    that the order in which rows are written does not matter."""

    def __init__(self, tx: Tx, wanted: Sequence[Wanted]) -> None:
        keys, shapes = set[str](), set[str]()
        for each in wanted:
            name = each.username or _base_of(each.external_id)
            keys.add(casefold_key(normal_name(name)))
            shapes.add(skeleton(normal_name(name)))
        lists = [sorted({each.user_id for each in wanted}), sorted({each.external_id for each in wanted})]
        lists += [sorted(keys), sorted(shapes)]
        text, values = _CONCERNED % tuple(map(placeholders, lists)), [value for each in lists for value in each]
        if tx.distributed:
            lock_users(tx, [user_id for user_id, *_ in tx.fetch_all(text, *values)] or [""])
        rows = tx.fetch_all(text if tx.distributed else text + tx.lock, *values)
        self._users: dict[str, User] = {}
        self._external: dict[str, User] = {}
        self._keys: dict[str, User] = {}
        self._shapes: dict[str, User] = {}
        self._created: dict[str, User] = {}
        self._changed: dict[str, set[str]] = {}  # user_id -> names of fields
        for row in rows:
            self._add(of_row(row))

    def _add(self, user: User) -> None:
        self._users[user.user_id] = user
        self._keys[user.username_key] = self._shapes[user.username_shape] = user
        if user.external_id:
            self._external[user.external_id] = user

    def verdict(self, wanted: Wanted) -> Verdict | ChatError:
        try:
            found = self._named(wanted)
            if found is None:
                user = self._create(wanted)
                return user.user_id, OUTCOME_CREATED
            changes = self._changes(found, wanted)
        except ChatError as error:
            return error
        if not changes:
            return found.user_id, OUTCOME_UNCHANGED
        for name, value in changes.items():
            setattr(found, name, value)
        if found.user_id not in self._created:
            self._changed.setdefault(found.user_id, set()).update(changes)
        self._add(found)
        return found.user_id, OUTCOME_UPDATED

    def _named(self, wanted: Wanted) -> User | None:
        """The user that it names; None: they are to be made."""
        if wanted.user_id:
            if (user := self._users.get(wanted.user_id)) is None:
                raise not_found("user", "user_id")
        elif wanted.external_id:
            user = self._external.get(wanted.external_id)
            if user and user.external_id != wanted.external_id:
                raise _external_id_taken()
        elif wanted.username:
            key = casefold_key(normal_name(wanted.username))
            user = self._keys.get(key)
            if user and user.username_key != key:
                raise username_taken()
        else:
            raise invalid("external_id", "must not be empty unless user_id or username is set")
        if user and user.status == DELETED:
            raise denied("the user is deleted", "USER_DELETED")
        return user

    def _changes(self, user: User, wanted: Wanted) -> dict[str, str]:
        changes = {
            name: value for name in _SETTABLE if (value := getattr(wanted, name)) and value != getattr(user, name)
        }
        if "username" in changes:
            name = normal_name(changes["username"])
            if name == user.username or not (wanted.user_id or wanted.external_id):  # it is what names them
                del changes["username"]
            else:
                key, shape = casefold_key(name), skeleton(name)
                if any(holder not in (None, user) for holder in (self._keys.get(key), self._shapes.get(shape))):
                    raise username_taken()
                changes |= {"username": name, "username_key": key, "username_shape": shape}
        if "nickname" in changes:
            changes["nickname_key"] = casefold_key(changes["nickname"])
        if "external_id" in changes and self._external.get(changes["external_id"]) not in (None, user):
            raise _external_id_taken()
        return changes

    def _create(self, wanted: Wanted) -> User:
        name = normal_name(wanted.username)
        if not name:
            name = self._free(_base_of(wanted.external_id))
        elif self._is_taken(name):
            raise username_taken()
        user = make_user(
            name,
            password_hash=wanted.password_hash,
            email=wanted.email,
            nickname=wanted.nickname,
            avatar=wanted.avatar,
            bio=wanted.bio,
            external_id=wanted.external_id,
            is_guest=wanted.is_guest,
        )
        self._created[user.user_id] = user
        self._add(user)
        return user

    def _is_taken(self, name: str) -> bool:
        return casefold_key(name) in self._keys or skeleton(name) in self._shapes

    def _free(self, base: str) -> str:
        if base and not self._is_taken(base):
            return base
        return f"{base[: MAX_NAME - 9] or 'user'}-{secrets.token_hex(4)}"

    def write(self, tx: Tx) -> set[str]:
        """Returns those that it could not write, since others have taken a name of theirs meanwhile."""
        created, changed = list(self._created.values()), [self._users[user_id] for user_id in self._changed]
        made, lost = _insert(tx, created), set[str]()
        if not _update(tx, changed, is_rename=any(names & _UNIQUE for names in self._changed.values())):
            lost, self._changed = set(self._changed), {}
        entries = [("user.create", user_id, "") for user_id in sorted(made)]
        entries += [
            ("user.change", user_id, ",".join(named))
            for user_id, names in self._changed.items()
            if (named := [name for name in _SETTABLE if name in names and name != "password_hash"])
        ]
        with_password = [user_id for user_id, names in self._changed.items() if "password_hash" in names]
        entries += [("user.password", user_id, "") for user_id in with_password]
        end_all_of(tx, with_password)
        add_changes_of(tx, Kind.PROFILE_UPDATED, "", [each for each, names in self._changed.items() if names & SEEN])
        record_entries(tx, entries)
        return lost | (self._created.keys() - made)


def _insert(tx: Tx, users: Sequence[User]) -> set[str]:
    """The ids of those who were made. In one order of names, so that two who make the same users seldom wait for each
    other."""
    if not users:
        return set()
    users = sorted(users, key=lambda user: (user.external_id, user.username_key))
    row = f"({placeholders(COLUMNS)})"
    values = [getattr(user, column) for user in users for column in COLUMNS]
    text = _INSERT % ", ".join([row] * len(users))
    rows = write_names(tx, [user.user_id for user in users], lambda: tx.fetch_all(text, *values))
    return {user_id for (user_id,) in rows}


def _update(tx: Tx, users: Sequence[User], *, is_rename: bool) -> bool:
    """False where another transaction has taken a name of theirs. (SQLite's write one after the other.)"""
    if not users:
        return True
    now = ids.now_ms()
    for user in users:
        user.updated_at = now
    row = f"({placeholders(('user_id', *_WRITTEN))})"
    values = [getattr(user, column) for user in users for column in ("user_id", *_WRITTEN)]
    text = _UPDATE % ", ".join([row] * len(users))
    if is_rename and tx.postgres:
        tx.sql("SAVEPOINT provisioning")
    try:
        write_names(tx, [user.user_id for user in users], lambda: tx.sql(text, *values))
    except peewee.IntegrityError:
        tx.sql("ROLLBACK TO SAVEPOINT provisioning")
        return False
    return True


def _base_of(external_id: str) -> str:
    """The username that is made of it; "" where it cannot be one."""
    name = normal_name("-".join(external_id.split())[:MAX_NAME])
    try:
        check_username("username", name)
    except ChatError:
        return ""
    return name


def _overtaken() -> ChatError:
    return unavailable("other calls make the same users")


def _external_id_taken() -> ChatError:
    return duplicate("another user has this external id", "EXTERNAL_ID_TAKEN", "external_id")
