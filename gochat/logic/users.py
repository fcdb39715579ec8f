"""Profiles and search."""

from collections.abc import Sequence
from typing import Any

from gochat.api.common.v1 import common_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.context import Call, Caller, current
from gochat.domain import policy
from gochat.domain.text import masked_email
from gochat.internal.store.v1 import store_pb2
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.logic.acting import actor
from gochat.logic.together import together


class Users:
    def __init__(self, store: StoreServiceStub) -> None:
        self._store = store

    def GetUserProfile(self, request: logic_pb2.GetUserProfileRequest) -> store_pb2.GetProfileResponse:
        """As it is; see Conversations.GetConversations."""
        return self._store.GetProfile(_to_profile(current().caller, request))

    def batch_GetUserProfile(self, calls: Sequence[tuple[Call, logic_pb2.GetUserProfileRequest]]) -> list[Any]:
        return together(self._store, "get_profile", calls, _to_profile)

    def UpdateUserProfile(self, request: logic_pb2.UpdateUserProfileRequest) -> logic_pb2.UpdateUserProfileResponse:
        changed = self._store.UpdateProfile(
            store_pb2.UpdateProfileRequest(
                user_id=actor(request.user_id),
                nickname=request.nickname,
                avatar=request.avatar,
                bio=request.bio,
            )
        )
        return logic_pb2.UpdateUserProfileResponse(success=True, profile=changed.profile)

    def SearchUsers(self, request: logic_pb2.SearchUsersRequest) -> logic_pb2.SearchUsersResponse:
        found = self._store.FindUsers(store_pb2.FindUsersRequest(query=request.query, pagination=request.pagination))
        caller = current().caller
        return logic_pb2.SearchUsersResponse(
            users=[_shown_to(caller, user) for user in found.users], pagination=found.pagination
        )


def _shown_to(caller: Caller, user: common_pb2.User) -> common_pb2.User:
    if not caller.privileged and user.user_id != caller.user_id:
        user.email = masked_email(user.email)
    return user


def _to_profile(caller: Caller, request: logic_pb2.GetUserProfileRequest) -> store_pb2.GetProfileRequest:
    return store_pb2.GetProfileRequest(user_id=request.user_id or policy.actor(caller, "", "user_id"))
