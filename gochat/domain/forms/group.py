"""The forms of the requests of GroupService."""

from google.protobuf.message import Message

from gochat.api.group.v1 import group_pb2 as pb
from gochat.api.group.v1 import group_types_pb2 as types
from gochat.domain.forms.rules import Form, form, line, number, one_of, text
from gochat.domain.limits import MAX_MEMBERS, MAX_PAGE

_TIME = number(0, 2**63 - 1)
_FLAG = one_of(False, True)
_who = one_of(*types.Who.values())

FORMS: dict[type[Message], Form] = {
    pb.SetMemberRoleRequest: form("group_id", "user_id", "role", role=one_of("admin", "member")),
    pb.TransferOwnershipRequest: form("group_id", "user_id"),
    pb.DissolveGroupRequest: form("group_id"),
    pb.BanMemberRequest: form("group_id", "user_id", until=_TIME, reason=line(200)),
    pb.UnbanMemberRequest: form("group_id", "user_id"),
    pb.ListBannedMembersRequest: form("group_id"),
    pb.MuteMemberRequest: form("group_id", "user_id", until=_TIME),
    pb.GetGroupSettingsRequest: form("group_id"),
    pb.UpdateGroupSettingsRequest: form(
        "group_id",
        posting=_who,
        adding=_who,
        editing=_who,
        slow_mode_seconds=number(0, 86_400),
        joining=one_of(*types.Joining.values()),
        searchable=_FLAG,
    ),
    pb.SearchGroupsRequest: form(limit=number(0, MAX_PAGE)),
    pb.CreateInvitationRequest: form("group_id", max_uses=number(0, MAX_MEMBERS)),
    pb.ListInvitationsRequest: form("group_id"),
    pb.RevokeInvitationRequest: form("group_id", "token", token=text(size=128)),
    pb.GetInvitationRequest: form("token", token=text(size=128)),
    pb.JoinByInvitationRequest: form("token", token=text(size=128)),
    pb.RequestToJoinRequest: form("group_id", note=text(characters=500)),
    pb.CancelRequestRequest: form("group_id"),
    pb.ListJoinRequestsRequest: form("group_id"),
    pb.DecideJoinRequestRequest: form("group_id", "user_id", accept=_FLAG),
    pb.SetMemberTitleRequest: form("group_id", "user_id", title=line(32)),
    pb.SetMemberNicknameRequest: form("group_id"),
    pb.ListMembersRequest: form("group_id"),
    pb.GetMemberRequest: form("group_id", "user_id"),
}
