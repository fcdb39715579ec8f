"""Push tokens as their users keep them: PushService."""

from gochat.api.push.v1 import push_pb2 as pb
from gochat.context import current
from gochat.domain import webpush
from gochat.errors import invalid
from gochat.internal.push.v1 import push_pb2 as store
from gochat.internal.push.v1.push_pb2_grpc import PushStoreServiceStub
from gochat.logic.acting import actor

WEBPUSH = "webpush"


class Push:
    """private_endpoints: as of [push]."""

    def __init__(self, tokens: PushStoreServiceStub, *, private_endpoints: bool) -> None:
        self._tokens, self._private_endpoints = tokens, private_endpoints

    def RegisterPushToken(self, request: pb.RegisterPushTokenRequest) -> pb.RegisterPushTokenResponse:
        self._check_keys(request)
        user_id, caller = actor(request.user_id), current().caller
        session_id = caller.session_id if caller.user_id == user_id else ""
        wanted = store.RegisterPushTokenRequest(user_id=user_id, session_id=session_id, request=request)
        return self._tokens.RegisterPushToken(wanted)

    def UnregisterPushToken(self, request: pb.UnregisterPushTokenRequest) -> pb.UnregisterPushTokenResponse:
        wanted = store.UnregisterPushTokenRequest(user_id=actor(request.user_id), request=request)
        return self._tokens.UnregisterPushToken(wanted)

    def ListPushTokens(self, request: pb.ListPushTokensRequest) -> pb.ListPushTokensResponse:
        return self._tokens.ListPushTokens(store.ListPushTokensRequest(user_id=actor(request.user_id)))

    def GetWebPushKey(self, _: pb.GetWebPushKeyRequest) -> pb.GetWebPushKeyResponse:
        return pb.GetWebPushKeyResponse(public_key=self._tokens.GetVapidKey(store.GetVapidKeyRequest()).public_key)

    def _check_keys(self, request: pb.RegisterPushTokenRequest) -> None:
        """Raises INVALID_PARAMS."""
        is_webpush = request.platform == WEBPUSH
        for name in ("p256dh", "auth"):
            if bool(getattr(request, name)) != is_webpush:
                raise invalid(
                    name, "must not be empty" if is_webpush else f"must be empty unless platform is {WEBPUSH}"
                )
        if is_webpush and not webpush.is_endpoint(request.token, insecure=self._private_endpoints):
            raise invalid("token", "must be the https URL that is the endpoint of the subscription")
