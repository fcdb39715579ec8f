"""Of PushService and PushStoreService, what tests of all RPCs and of all tables list."""

from collections.abc import Callable
from typing import Any

# For test_every_write.py.
NEED_NONE = {
    "RegisterPushToken": "where somebody is notified is shown to services alone, when they are",
    "UnregisterPushToken": "as RegisterPushToken",
    "GetWebPushKey": "the key is made once, and changes nothing that is shown",
    "GetVapidKey": "as GetWebPushKey",
    "CollectPending": "who may have to be notified is not shown",
    "DecidePending": "of those who are due it leaves RECIPIENTS_OFFLINE: tests/push/test_notifying.py",
    "ClaimDeliveries": "what is sent to browsers is not shown",
    "FinishDeliveries": "as ClaimDeliveries",
}
NONE: dict[str, Callable[[Any], tuple[Any, dict[str, Any]]]] = {
    "PushService/RegisterPushToken": lambda w: (w.cem, {"platform": "fcm", "token": "t"}),
    "PushService/UnregisterPushToken": lambda w: (w.cem, {"platform": "fcm", "token": "t"}),
    "PushService/GetWebPushKey": lambda w: (w.cem, {}),
    "CollectPending": lambda _: (None, {"interval": 1}),
    "ClaimDeliveries": lambda _: (None, {"most": 1}),
    "FinishDeliveries": lambda _: (None, {"gone_token_ids": ["t"]}),
}

# For test_check.py.
TOKENS = (
    "INSERT INTO push_tokens"
    " (token_id, user_id, session_id, device_id, platform, token, p256dh, auth, registered_at) VALUES"
)
HARMS = [
    (f"{TOKENS} ('t1', '{{bob}}', '', '', 'pager', 't', '', '', 0)", "push_tokens t1: platform is unknown"),
    (
        f"{TOKENS} ('t1', '{{bob}}', '{{session}}', '', 'fcm', 't', '', '', 0)",
        "push_tokens t1: session_id is of another user",
    ),
    (
        "INSERT INTO push_pending"
        " (conversation_id, user_id, first_seq, seq, due_at, notified_at, was_connected)"
        " VALUES ('{pair}', '{bob}', 1, 99, 0, 0, 0)",
        "push_pending {pair} {bob}: its messages are not in the conversation",
    ),
]
