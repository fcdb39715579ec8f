"""UserService: what backends do to users. Who may call is in the table; the rest is the repo half's."""

from gochat.api.user.v1 import user_pb2 as pb
from gochat.internal.user.v1.user_pb2_grpc import UserStoreServiceStub


class Administration:
    def __init__(self, users: UserStoreServiceStub) -> None:
        self._users = users

    def UpsertUsers(self, request: pb.UpsertUsersRequest) -> pb.UpsertUsersResponse:
        return self._users.UpsertUsers(request)

    def GetUsers(self, request: pb.GetUsersRequest) -> pb.GetUsersResponse:
        return self._users.GetUsers(request)

    def ListUsers(self, request: pb.ListUsersRequest) -> pb.ListUsersResponse:
        return self._users.ListUsers(request)

    def SetRole(self, request: pb.SetRoleRequest) -> pb.SetRoleResponse:
        return self._users.SetRole(request)

    def DisableUser(self, request: pb.DisableUserRequest) -> pb.DisableUserResponse:
        return self._users.DisableUser(request)

    def EnableUser(self, request: pb.EnableUserRequest) -> pb.EnableUserResponse:
        return self._users.EnableUser(request)

    def DeleteUser(self, request: pb.DeleteUserRequest) -> pb.DeleteUserResponse:
        return self._users.DeleteUser(request)

    def ChangeUsername(self, request: pb.ChangeUsernameRequest) -> pb.ChangeUsernameResponse:
        return self._users.ChangeUsername(request)

    def ChangeEmail(self, request: pb.ChangeEmailRequest) -> pb.ChangeEmailResponse:
        return self._users.ChangeEmail(request)

    def SetExternalId(self, request: pb.SetExternalIdRequest) -> pb.SetExternalIdResponse:
        return self._users.SetExternalId(request)

    def ClearProfile(self, request: pb.ClearProfileRequest) -> pb.ClearProfileResponse:
        return self._users.ClearProfile(request)
