"""RPCs that write what the log of changes does not hold, each with the reason."""

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
