"""WebhookService: who may call it, what it refuses, and what it keeps."""

import pytest

from tests.conversations import group
from tests.harness import Person, refused
from tests.waiting import eventually
from tests.webhooks.conftest import Hooked
from tests.webhooks.receiver import receiving

NOWHERE = "https://hook.invalid/"


def test_a_webhook_is_shown_without_its_secret(hooked: Hooked) -> None:
    wanted = {"events": ["message_sent"], "conversation_ids": ["g1"], "message_types": ["text"]}
    created = hooked.hook.CreateWebhook(url=NOWHERE, description="of mine", filter=wanted)
    assert created.secret.startswith("whsec_")
    shown = hooked.shown(created.webhook.webhook_id)
    assert (shown.url, shown.description, shown.enabled) == (NOWHERE, "of mine", True)
    assert list(shown.filter.events) == ["message_sent"]
    assert created.secret not in str(hooked.hook.ListWebhooks())
    changed = hooked.hook.UpdateWebhook(webhook_id=shown.webhook_id, filter={}, enabled=False).webhook
    assert (changed.description, list(changed.filter.events), changed.enabled) == ("of mine", [], False)
    hooked.hook.DeleteWebhook(webhook_id=shown.webhook_id)
    assert shown.webhook_id not in {each.webhook_id for each in hooked.hook.ListWebhooks().webhooks}
    entries = hooked.app.events(user_id=shown.webhook_id)
    assert [each.action for each in entries] == ["webhook.create", "webhook.update", "webhook.delete"]


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("UpdateWebhook", {}),
        ("DeleteWebhook", {}),
        ("RotateSecret", {}),
        ("ListDeliveries", {}),
        ("ReplayDeliveries", {}),
    ],
)
def test_one_that_is_not_there_is_not_found(hooked: Hooked, rpc: str, fields: dict[str, str]) -> None:
    with refused("NOT_FOUND", "webhook_id", "WEBHOOK_NOT_FOUND"):
        getattr(hooked.hook, rpc)(webhook_id="w404", **fields)


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "https://[::1]/", "https://2852039166/", "http://8.8.8.8/"])
def test_an_address_that_may_not_be_called_is_refused_early(hooked: Hooked, url: str) -> None:
    with refused("INVALID_ARGUMENT", "url"):
        hooked.hook.CreateWebhook(url=url)


def test_a_name_of_an_address_that_may_not_be_called_is_refused_at_the_call(hooked: Hooked, ann: Person) -> None:
    room = group(ann)
    hook = hooked.add("https://hook.invalid/", room)
    ann.send(room, "hello")
    (waiting,) = eventually(lambda: hooked.deliveries(hook.id))
    assert waiting.last_error == "hook.invalid has no address"
    hooked.hook.DeleteWebhook(webhook_id=hook.id)


def test_there_are_at_most_50(hooked: Hooked) -> None:
    missing = 50 - len(hooked.hook.ListWebhooks().webhooks)
    made = [hooked.add(NOWHERE, "g404").id for _ in range(missing)]
    with refused("ALREADY_EXISTS", reason="TOO_MANY_WEBHOOKS"):
        hooked.hook.CreateWebhook(url=NOWHERE)
    for webhook_id in made:
        hooked.hook.DeleteWebhook(webhook_id=webhook_id)


def test_pages_of_deliveries_go_on_where_they_were(hooked: Hooked, ann: Person) -> None:
    room = group(ann)
    with receiving(lambda _: 500) as receiver:
        hook = hooked.add(receiver.url, room)
        other = hooked.add(receiver.url, room)
        for number in range(5):
            ann.send(room, str(number))
        eventually(lambda: len(hooked.deliveries(hook.id)) == 5)
        all_of_them = [each.delivery_id for each in hooked.deliveries(hook.id)]
        found, token = [], ""
        for _ in range(3):
            page = hooked.hook.ListDeliveries(webhook_id=hook.id, limit=2, page_token=token)
            found += [each.delivery_id for each in page.deliveries]
            token = page.next_page_token
        assert (found, token) == (all_of_them, "")
        first = hooked.hook.ListDeliveries(webhook_id=hook.id, limit=2).next_page_token
        for wrong in ({"webhook_id": other.id}, {"webhook_id": hook.id, "state": "pending"}):
            with refused("INVALID_ARGUMENT", "page_token"):
                hooked.hook.ListDeliveries(page_token=first, **wrong)
    for each in (hook, other):
        hooked.hook.DeleteWebhook(webhook_id=each.id)
