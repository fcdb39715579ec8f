"""Of test_every_write.py: the RPCs that write what the log of changes does not hold, each with the reason; and the
longest request of those that do."""

from typing import Any

NEED_NONE = {
    "UnbanMember": "nobody hears of bans: managers list them",
    "CreateInvitation": "nobody hears of invitations: those who may invite list them",
    "RevokeInvitation": "as CreateInvitation",
    "Claim": "who follows the log is not shown to apps",
    **dict.fromkeys(("Advance", "Release"), "as Claim"),
    "CreateWebhook": "webhooks are the operator's, and apps are not shown them",
    **dict.fromkeys(
        (
            *("UpdateWebhook", "DeleteWebhook", "RotateSecret", "ReplayDeliveries", "DisableWebhook"),
            *("StoreDeliveries", "TakeDue", "ResolveDeliveries"),
        ),
        "as CreateWebhook",
    ),
}


def imported(w: Any) -> dict[str, Any]:
    message = {"import_id": "i", "from_user_id": w.ann.id, "content": "x", "created_at": 10**12}
    reaction = {"user_id": w.ben.id, "reaction": "👍"}
    return {"conversation_id": w.group, "messages": [message | {"reactions": [reaction]}], "any_order": True}
