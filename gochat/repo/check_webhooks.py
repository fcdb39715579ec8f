"""The invariants of webhooks, as check.py judges them."""

from gochat.domain.webhooks import PARKED, PENDING

# (table, sentence, a SELECT of the keys of the rows of which the sentence is true)
WEBHOOK_RULES = (
    (
        "webhook_deliveries",
        "webhook_id is not in webhooks",
        "SELECT webhook_id, number FROM webhook_deliveries WHERE webhook_id NOT IN (SELECT webhook_id FROM webhooks)",
    ),
    (
        "webhook_deliveries",
        f"state is not {PENDING} or {PARKED}",
        f"SELECT webhook_id, number FROM webhook_deliveries WHERE state NOT IN ('{PENDING}', '{PARKED}')",
    ),
)
