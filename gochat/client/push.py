"""Where the user is notified while they have no stream."""

from collections.abc import Sequence

from gochat.api.push.v1 import push_pb2
from gochat.client.calls import Calls


class Push(Calls):
    def register_push_token(
        self, platform: str, token: str, *, device_id: str = "", p256dh: str = "", auth: str = ""
    ) -> push_pb2.PushToken:
        """Has a device notified until the session ends; to be called after each sign-in, and when the platform gives
        another token. platform: "apns", "fcm", "webpush" or "custom". token: of "webpush" the endpoint of the
        subscription, of which p256dh and auth are the keys. device_id: for services. Errors: INVALID_ARGUMENT."""
        request = push_pb2.RegisterPushTokenRequest(
            user_id=self._acting_for, platform=platform, token=token, device_id=device_id, p256dh=p256dh, auth=auth
        )
        return self._call(self._connection.push.RegisterPushToken, request).token

    def unregister_push_token(self, platform: str, token: str) -> None:
        """Ends a token, if it is one of the user's."""
        request = push_pb2.UnregisterPushTokenRequest(user_id=self._acting_for, platform=platform, token=token)
        self._call(self._connection.push.UnregisterPushToken, request)

    def push_tokens(self) -> Sequence[push_pb2.PushToken]:
        """Of all devices of the user, the newest first."""
        request = push_pb2.ListPushTokensRequest(user_id=self._acting_for)
        return self._call(self._connection.push.ListPushTokens, request).tokens

    def web_push_key(self) -> str:
        """The key that pages subscribe with."""
        return self._call(self._connection.push.GetWebPushKey, push_pb2.GetWebPushKeyRequest()).public_key
