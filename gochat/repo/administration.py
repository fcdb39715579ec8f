"""Users as the operator's backend and tools keep them: UserStoreService."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gochat.api.user.v1 import user_pb2 as pb
from gochat.domain import cursors, forms
from gochat.domain.forms.rules import EXTERNAL
from gochat.domain.text import casefold_key, normal_name
from gochat.errors import ChatError, invalid
from gochat.internal.user.v1 import user_pb2 as store
from gochat.repo import passwords
from gochat.repo.audit import record
from gochat.repo.deletion import update_user
from gochat.repo.endings import end_all
from gochat.repo.provisioning import Wanted, provision, provision_all
from gochat.repo.users import ACTIVE, COLUMNS, DELETED, DISABLED, as_user, changed, get_user, of_row, with_fields
from gochat.storage.database import Database, Tx, placeholders
from gochat.storage.models import User

MAX_PASSWORDS = 100  # of a call: each is a hash

_COLUMNS = ", ".join(COLUMNS)
_BY_EITHER_ID = """
SELECT %s FROM users WHERE user_id IN (%s)
UNION ALL
SELECT %s FROM users WHERE external_id <> '' AND external_id IN (%s)"""
_HASHES = """
SELECT user_id, external_id, username_key, password_hash
FROM users
WHERE user_id IN (%s) OR external_id <> '' AND external_id IN (%s) OR username_key IN (%s)"""
_PAGE = f"""
SELECT {_COLUMNS}
FROM users
WHERE user_id > ? AND (? = 0 OR status = ?) AND (? = '' OR role = ?)
ORDER BY user_id
LIMIT ?"""


class Administration:
    def __init__(self, database: Database) -> None:
        self._database = database

    def UpsertUsers(self, request: pb.UpsertUsersRequest) -> pb.UpsertUsersResponse:
        if sum(bool(user.password) for user in request.users) > MAX_PASSWORDS:
            raise invalid("users", f"must have at most {MAX_PASSWORDS} with a password")
        verdicts: list[tuple[str, pb.Outcome.ValueType] | ChatError] = []
        wanted: list[tuple[int, Wanted]] = []
        for index, user in enumerate(request.users):
            verdicts.append(("", pb.OUTCOME_UNSPECIFIED))
            try:
                forms.check(user)
                wanted.append((index, _wanted(user)))
            except ChatError as error:
                verdicts[index] = error
        wanted = self._with_hashes(wanted, request.users)
        done = self._database.write(lambda tx: provision_all(tx, [each for _, each in wanted]))
        for (index, _), verdict in zip(wanted, done, strict=True):
            verdicts[index] = verdict
        return pb.UpsertUsersResponse(results=map(_result, verdicts))

    def _with_hashes(
        self, wanted: Sequence[tuple[int, Wanted]], users: Sequence[pb.UserUpsert]
    ) -> list[tuple[int, Wanted]]:
        """With the hashes of the passwords that are new: outside of any transaction, since that takes long. A password
        that is the user's already changes nothing, so that a request can be repeated."""
        named = [each for index, each in wanted if users[index].password]
        if not named:
            return list(wanted)
        lists = (
            [each.user_id for each in named],
            [each.external_id for each in named],
            [casefold_key(normal_name(each.username)) for each in named],
        )
        text = _HASHES % tuple(placeholders(values) for values in lists)
        rows = self._database.read(
            lambda tx: tx.fetch_all(text, *(value for values in lists for value in values)), one_statement=True
        )
        hashes = {key: password_hash for *keys, password_hash in rows for key in enumerate(keys)}

        def with_hash(each: Wanted, password: str) -> Wanted:
            if not password:
                return each
            keys = (each.user_id, each.external_id, casefold_key(normal_name(each.username)))
            present = next((hashes.get(key, "") for key in enumerate(keys) if key[1]), "")
            if present:
                with passwords.hashing_slots:
                    if passwords.matches(present, password):
                        return each
            return replace(each, password_hash=passwords.hashed(password))

        return [(index, with_hash(each, users[index].password)) for index, each in wanted]

    def GetUsers(self, request: pb.GetUsersRequest) -> pb.GetUsersResponse:
        if not request.ids:
            return pb.GetUsersResponse()
        users = [of_row(row) for row in self._database.read(_by_either_id(request.ids, _COLUMNS), one_statement=True)]
        known = {user.user_id: user for user in users} | {
            EXTERNAL + user.external_id: user for user in users if user.external_id
        }
        wanted = dict.fromkeys(request.ids)
        return pb.GetUsersResponse(users=[_detail(known[each]) for each in wanted if each in known])

    def ResolveUsers(self, request: store.ResolveUsersRequest) -> store.ResolveUsersResponse:
        if not request.names:
            return store.ResolveUsersResponse()
        rows = self._database.read(_by_either_id(request.names, "user_id, external_id, status"), one_statement=True)
        wanted = set(request.names)
        return store.ResolveUsersResponse(
            users=[
                store.ResolvedUser(name=name, user_id=user_id, active=status == ACTIVE)
                for user_id, external_id, status in dict.fromkeys(rows)
                for name in {user_id, EXTERNAL + external_id} & wanted
            ]
        )

    def ListUsers(self, request: pb.ListUsersRequest) -> pb.ListUsersResponse:
        page = cursors.page(request, self._database.pair_key, [""])
        values = (*page.after, request.status, request.status, request.role, request.role, page.fetched)
        rows = self._database.read(lambda tx: tx.fetch_all(_PAGE, *values), one_statement=True, replica=True)
        more = page.cut(rows)
        return pb.ListUsersResponse(users=[_detail(of_row(row)) for row in rows], next_page_token=more)

    def SetRole(self, request: pb.SetRoleRequest) -> pb.SetRoleResponse:
        user = self._database.write(lambda tx: set_role(tx, request.user_id, request.role))
        return pb.SetRoleResponse(user=_detail(user))

    def DisableUser(self, request: pb.DisableUserRequest) -> pb.DisableUserResponse:
        return pb.DisableUserResponse(user=self._with_status(request.user_id, DISABLED))

    def EnableUser(self, request: pb.EnableUserRequest) -> pb.EnableUserResponse:
        return pb.EnableUserResponse(user=self._with_status(request.user_id, ACTIVE))

    def DeleteUser(self, request: pb.DeleteUserRequest) -> pb.DeleteUserResponse:
        return pb.DeleteUserResponse(user=self._with_status(request.user_id, DELETED))

    def _with_status(self, user_id: str, status: int) -> pb.UserDetail:
        return _detail(self._database.write(lambda tx: update_user(tx, user_id, {"status": status})))

    def ChangeUsername(self, request: pb.ChangeUsernameRequest) -> pb.ChangeUsernameResponse:
        wanted = Wanted(user_id=request.user_id, username=request.username)
        return pb.ChangeUsernameResponse(user=self._provisioned(wanted))

    def ChangeEmail(self, request: pb.ChangeEmailRequest) -> pb.ChangeEmailResponse:
        return pb.ChangeEmailResponse(user=self._with_fields(request.user_id, email=request.email))

    def SetExternalId(self, request: pb.SetExternalIdRequest) -> pb.SetExternalIdResponse:
        if not request.external_id:
            return pb.SetExternalIdResponse(user=self._with_fields(request.user_id, external_id=""))
        wanted = Wanted(user_id=request.user_id, external_id=request.external_id)
        return pb.SetExternalIdResponse(user=self._provisioned(wanted))

    def ClearProfile(self, request: pb.ClearProfileRequest) -> pb.ClearProfileResponse:
        return pb.ClearProfileResponse(user=self._with_fields(request.user_id, **dict.fromkeys(request.fields, "")))

    def _provisioned(self, wanted: Wanted) -> pb.UserDetail:
        def work(tx: Tx) -> User:
            provision(tx, wanted)
            return get_user(tx, wanted.user_id)

        return _detail(self._database.write(work))

    def _with_fields(self, user_id: str, **changes: str) -> pb.UserDetail:
        """A nickname that is cleared is the username."""

        def work(tx: Tx) -> User:
            before = get_user(tx, user_id, lock=True)
            given = changes | ({"nickname": before.username} if "nickname" in changes else {})
            user = with_fields(tx, before, given)
            if user is not before:
                record(tx, "user.change", user_id, ",".join(changes))
            return user

        return _detail(self._database.write(work))


def set_role(tx: Tx, user_id: str, role: str) -> User:
    """Raises NOT_FOUND."""
    before = get_user(tx, user_id, lock=True)
    user = changed(tx, before, {"role": role})
    if user is not before:
        end_all(tx, user_id)
        record(tx, "user.role", user_id, role)
    return user


def _by_either_id(names: Sequence[str], columns: str) -> Any:
    """The work that fetches these columns of the users; one who is named twice may come twice. names: not empty."""
    external_ids = [name.removeprefix(EXTERNAL) for name in names if name.startswith(EXTERNAL)]
    lists = [names, external_ids or [""]]
    text = _BY_EITHER_ID % (columns, placeholders(names), columns, placeholders(lists[1]))
    return lambda tx: tx.fetch_all(text, *(value for values in lists for value in values))


def _wanted(user: pb.UserUpsert) -> Wanted:
    return Wanted(
        user_id=user.user_id,
        external_id=user.external_id,
        username=user.username,
        nickname=user.nickname,
        avatar=user.avatar,
        bio=user.bio,
        email=user.email,
    )


def _result(verdict: tuple[str, pb.Outcome.ValueType] | ChatError) -> pb.UpsertResult:
    if isinstance(verdict, ChatError):
        return pb.UpsertResult(outcome=pb.OUTCOME_REFUSED, error=verdict.body())
    user_id, outcome = verdict
    return pb.UpsertResult(user_id=user_id, outcome=outcome)


def _detail(user: User) -> pb.UserDetail:
    return pb.UserDetail(
        user=as_user(user),
        external_id=user.external_id,
        role=user.role,
        has_password=bool(user.password_hash),
        is_guest=bool(user.is_guest),
        bio=user.bio,
    )
