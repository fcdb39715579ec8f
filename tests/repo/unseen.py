"""RPCs of the operator's and the server's own affairs, which write and which apps are not told of."""

NEED_NONE = {
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
