"""The forms of the requests of UserService and UserStoreService."""

from google.protobuf.message import Message

from gochat.api.user.v1 import user_pb2 as pb
from gochat.domain.forms.rules import (
    EXTERNAL,
    MAX_EXTERNAL_ID,
    Form,
    batch,
    each,
    form,
    one_of,
    password,
    text,
    username,
)
from gochat.internal.user.v1 import user_pb2 as store

PROFILE_FIELDS = ("nickname", "avatar", "bio", "email")
_ids = each(text(size=len(EXTERNAL) + MAX_EXTERNAL_ID))
_role = one_of("", "user", "admin")

FORMS: dict[type[Message], Form] = {
    pb.UserUpsert: form(username=username, password=password),
    pb.UpsertUsersRequest: form("users", users=batch),
    pb.GetUsersRequest: form(ids=_ids),
    pb.ListUsersRequest: form(role=_role, page_token=text(size=512)),
    pb.SetRoleRequest: form("user_id", "role", role=_role),
    pb.DisableUserRequest: form("user_id"),
    pb.EnableUserRequest: form("user_id"),
    pb.DeleteUserRequest: form("user_id"),
    pb.ChangeUsernameRequest: form("user_id", "username", username=username),
    pb.ChangeEmailRequest: form("user_id"),
    pb.SetExternalIdRequest: form("user_id"),
    pb.ClearProfileRequest: form("user_id", "fields", fields=each(one_of(*PROFILE_FIELDS))),
    store.ResolveUsersRequest: form(names=_ids),
}
