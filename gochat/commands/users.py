"""gochat user: accounts, through the running server."""

import getpass
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from gochat.api.common.v1.common_pb2 import PaginationRequest, User
from gochat.api.repo.v1 import repo_pb2
from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.api.user.v1 import user_pb2
from gochat.commands import user_import
from gochat.commands.arguments import REMOTE, Subparsers, add_command, config_of
from gochat.commands.server import connection
from gochat.domain.forms.rules import EXTERNAL
from gochat.domain.forms.user import PROFILE_FIELDS
from gochat.domain.text import casefold_key
from gochat.errors import not_found
from gochat.internal.account.v1 import account_pb2
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.internal.store.v1 import store_pb2
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.internal.user.v1.user_pb2_grpc import UserStoreServiceStub
from gochat.repo.users import STATUSES
from gochat.rpc.client import NetworkChannel
from gochat.services import REPO

_OPTIONAL: Any = {"nargs": "?", "default": ""}
_ROLES: Any = {"choices": ("user", "admin")}


def add_to(commands: Subparsers) -> None:
    user = commands.add_parser("user", help="the users of a running server")
    acts = user.add_subparsers(required=True, metavar="ACT")
    created = add_command(acts, "create", create, "create a user and print the id", REMOTE)
    created.add_argument("name", metavar="NAME")
    created.add_argument("--admin", action="store_true", help="may act for anyone")
    created.add_argument("--email", default="")
    created.add_argument("--nickname", default="", help="what others see (default: NAME)")
    created.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    add_command(acts, "list", list_all, "print id, name, status and role of every user", REMOTE)
    for name, run, help_text in (
        ("disable", disable, "end a user's sessions and keep them from signing in"),
        ("enable", enable, "let a disabled user sign in again"),
        ("password", password, "set a new password for a user who forgot theirs, and end their sessions"),
    ):
        of_one = add_command(acts, name, run, help_text, REMOTE)
        of_one.add_argument("name", metavar="NAME")
    of_one.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    deleted = add_command(acts, "delete", delete, "delete a user for good, after their name is typed again", REMOTE)
    deleted.add_argument("name", metavar="NAME")
    deleted.add_argument("--yes", action="store_true", help="do not ask")
    shown = add_command(acts, "show", show, "print what there is to know of a user", REMOTE)
    shown.add_argument("name", metavar="NAME")
    for name, run, help_text, value, more in (
        ("role", role, "make a user an administrator, or an ordinary one, and end their sessions", "ROLE", _ROLES),
        ("rename", rename, "give a user another username", "NEW", {}),
        ("email", email, "set the email address, or take it away", "ADDRESS", _OPTIONAL),
        ("external-id", external_id, "set the id that your own systems have, or take it away", "ID", _OPTIONAL),
        ("clear", clear, "empty fields of the profile", "FIELD", {"nargs": "+", "choices": PROFILE_FIELDS}),
    ):
        changing = add_command(acts, name, run, help_text, REMOTE)
        changing.add_argument("name", metavar="NAME")
        changing.add_argument("value", metavar=value, **more)
    imported = add_command(acts, "import", user_import.run, "make and change the users of a file", REMOTE)
    imported.add_argument("file", metavar="FILE", help="JSON lines, or CSV with a header where it ends in .csv")


def create(arguments: Namespace) -> int:
    """Prints the new user's id."""
    password = _password(arguments.password_stdin)
    with _repo_half(arguments) as channel:
        created = RepoServiceStub(channel).CreateUser(
            repo_pb2.CreateUserRequest(
                username=arguments.name, password=password, email=arguments.email, nickname=arguments.nickname
            )
        )
        if arguments.admin:
            UserStoreServiceStub(channel).SetRole(user_pb2.SetRoleRequest(user_id=created.user_id, role="admin"))
    print(created.user_id)
    return 0


def list_all(arguments: Namespace) -> int:
    """Prints a line for each user: id, name, status, role."""
    with _repo_half(arguments) as channel:
        accounts = AccountServiceStub(channel)
        for users in _pages_of_users(StoreServiceStub(channel)):
            request = account_pb2.GetUserRolesRequest(user_ids=[user.user_id for user in users])
            roles = accounts.GetUserRoles(request).roles
            for user in users:
                print(f"{user.user_id}\t{user.username}\t{STATUSES[user.status]}\t{roles.get(user.user_id, '-')}")
    return 0


def disable(arguments: Namespace) -> int:
    user = _changed(arguments, "DisableUser", user_pb2.DisableUserRequest())
    print(f"{user.user.username} is disabled: no sign-in, and sessions end within 5 seconds")
    return 0


def enable(arguments: Namespace) -> int:
    user = _changed(arguments, "EnableUser", user_pb2.EnableUserRequest())
    print(f"{user.user.username} may sign in")
    return 0


def delete(arguments: Namespace) -> int:
    """Deletes the user, unless another name is typed than theirs."""
    with _repo_half(arguments) as channel:
        user = _named(channel, arguments.name)
        if not arguments.yes:
            print(f"This deletes {user.username} ({user.user_id}) for good.", file=sys.stderr)
            if casefold_key(_asked("Type the name to go on: ", "--yes").strip()) != casefold_key(user.username):
                raise SystemExit("gochat: that is another name: nothing is deleted")
        UserStoreServiceStub(channel).DeleteUser(user_pb2.DeleteUserRequest(user_id=user.user_id))
    print(f"{user.username} is deleted: sessions end within 5 seconds")
    return 0


def password(arguments: Namespace) -> int:
    """Sets a new password for a user who forgot theirs."""
    new = _password(arguments.password_stdin)
    with _repo_half(arguments) as channel:
        user = _named(channel, arguments.name)
        AccountServiceStub(channel).SetPassword(account_pb2.SetPasswordRequest(user_id=user.user_id, password=new))
    print(f"{user.username} has a new password, and must sign in again")
    return 0


def show(arguments: Namespace) -> int:
    """Prints a line for each thing."""
    with _repo_half(arguments) as channel:
        user = _named(channel, arguments.name)
        (detail,) = UserStoreServiceStub(channel).GetUsers(user_pb2.GetUsersRequest(ids=[user.user_id])).users
    lines = {
        "user id": user.user_id,
        "external id": detail.external_id,
        "username": user.username,
        "nickname": user.nickname,
        "email": user.email,
        "role": detail.role,
        "status": STATUSES[user.status],
        "password": "yes" if detail.has_password else "no",
    }
    for name, value in lines.items():
        print(f"{name}\t{value or '-'}")
    return 0


def role(arguments: Namespace) -> int:
    user = _changed(arguments, "SetRole", user_pb2.SetRoleRequest(role=arguments.value))
    print(f"{user.user.username} has the role {user.role}: sessions end within 5 seconds")
    return 0


def rename(arguments: Namespace) -> int:
    user = _changed(arguments, "ChangeUsername", user_pb2.ChangeUsernameRequest(username=arguments.value))
    print(f"{user.user.username} is the username now")
    return 0


def email(arguments: Namespace) -> int:
    user = _changed(arguments, "ChangeEmail", user_pb2.ChangeEmailRequest(email=arguments.value))
    print(f"{user.user.username} has the email address {user.user.email or '-'}")
    return 0


def external_id(arguments: Namespace) -> int:
    user = _changed(arguments, "SetExternalId", user_pb2.SetExternalIdRequest(external_id=arguments.value))
    print(f"{user.user.username} has the external id {user.external_id or '-'}")
    return 0


def clear(arguments: Namespace) -> int:
    user = _changed(arguments, "ClearProfile", user_pb2.ClearProfileRequest(fields=arguments.value))
    print(f"{user.user.username} has no {', '.join(arguments.value)} any more")
    return 0


def _changed(arguments: Namespace, rpc: str, request: Any) -> user_pb2.UserDetail:
    """The user after an RPC of UserStoreService."""
    with _repo_half(arguments) as channel:
        users = UserStoreServiceStub(channel)
        request.user_id = _named(channel, arguments.name).user_id
        user: user_pb2.UserDetail = getattr(users, rpc)(request).user
    return user


def _repo_half(arguments: Namespace) -> AbstractContextManager[NetworkChannel]:
    return connection(config_of(arguments), REPO, arguments.address)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    password = _asked("Password: ", "--password-stdin", getpass.getpass)
    if _asked("Again: ", "--password-stdin", getpass.getpass) != password:
        raise SystemExit("gochat: the two passwords differ")
    return password


def _asked(prompt: str, instead: str, ask: Callable[[str], str] = input) -> str:
    """What is typed. instead: the option for where nobody types. Raises SystemExit if there is no terminal, or nothing
    is typed: Ctrl-C, Ctrl-D."""
    if not sys.stdin.isatty():
        raise SystemExit(f"gochat: no terminal to ask on: use {instead}")
    try:
        return ask(prompt)
    except (EOFError, KeyboardInterrupt) as ended:
        print(file=sys.stderr)  # the cursor is behind the prompt
        print("gochat: nothing was typed, and nothing is done", file=sys.stderr)
        raise SystemExit(130 if isinstance(ended, KeyboardInterrupt) else 1) from None


def _pages_of_users(store: StoreServiceStub) -> Iterator[Sequence[User]]:
    """Without empty ones."""
    page, total = 1, 1
    while (page - 1) * 100 < total:
        answer = store.FindUsers(
            store_pb2.FindUsersRequest(pagination=PaginationRequest(page=page, limit=100), include_inactive=True)
        )
        if answer.users:
            yield answer.users
        page, total = page + 1, answer.pagination.total


def _named(channel: NetworkChannel, name: str) -> User:
    """name: a username, or "external:" and an external id, which no username is taken for: anybody may choose one."""
    if name.startswith(EXTERNAL):
        found = UserStoreServiceStub(channel).GetUsers(user_pb2.GetUsersRequest(ids=[name])).users
        users = [each.user for each in found]
    else:
        answer = StoreServiceStub(channel).FindUsers(store_pb2.FindUsersRequest(query=name, include_inactive=True))
        users = [user for user in answer.users if casefold_key(user.username) == casefold_key(name)]
    if not users:
        raise not_found("user")
    return users[0]
