"""gochat webhook: what happens, sent to your own systems; through the running server."""

from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gochat.api.webhook.v1 import webhook_pb2 as pb
from gochat.api.webhook.v1.webhook_pb2_grpc import WebhookServiceStub
from gochat.commands.arguments import REMOTE, Subparsers, add_command, config_of, duration
from gochat.commands.server import connection
from gochat.domain.limits import MESSAGE_TYPES
from gochat.domain.webhooks import EVENTS, PARKED, PENDING
from gochat.services import LOGIC


def add_to(commands: Subparsers) -> None:
    webhook = commands.add_parser("webhook", help="what happens, sent to your own systems by HTTP")
    acts = webhook.add_subparsers(required=True, metavar="ACT")
    added = add_command(acts, "add", add, "add a webhook; print its id, and its secret, which is shown once", REMOTE)
    added.add_argument("url", metavar="URL", help="https; http where [webhooks] allow has the address")
    for option, what, more in (
        ("--events", "EVENT", {"choices": EVENTS}),
        ("--conversations", "ID", {}),
        ("--types", "TYPE", {"choices": MESSAGE_TYPES}),
    ):
        help_text = f"only these {option.removeprefix('--')} (default: all)"
        added.add_argument(option, nargs="+", metavar=what, default=[], help=help_text, **more)
    added.add_argument("--description", default="")
    add_command(acts, "list", list_all, "print id, URL, state, pending, parked and lag of every webhook", REMOTE)
    for name, run, help_text in (
        ("remove", remove, "delete a webhook and what it has not delivered"),
        ("enable", enable, "have a webhook go on where it was"),
        ("disable", disable, "have a webhook deliver nothing until it is enabled"),
        ("rotate", rotate, "make a new secret and print it; the one before signs as well for a while"),
        ("deliveries", deliveries, "print what failed: id, event, conversation, state, attempts, next attempt, why"),
        ("replay", replay, "deliver what is parked after all"),
    ):
        of_one = add_command(acts, name, run, help_text, REMOTE)
        of_one.add_argument("webhook", metavar="WEBHOOK", help="its id")
        if run is rotate:
            of_one.add_argument("--keep", type=duration, metavar="TIME", help="at most 7d (default: 1d)", default=0)
        elif run is deliveries:
            of_one.add_argument("--state", choices=(PENDING, PARKED), default="", help="only these")
        elif run is replay:
            of_one.add_argument("deliveries", metavar="DELIVERY", nargs="*", help="only these (default: all)")


def add(arguments: Namespace) -> int:
    """Prints the new webhook's id and its secret."""
    wanted = pb.WebhookFilter(
        events=arguments.events, conversation_ids=arguments.conversations, message_types=arguments.types
    )
    request = pb.CreateWebhookRequest(url=arguments.url, description=arguments.description, filter=wanted)
    created = _call(arguments, "CreateWebhook", request)
    print(f"{created.webhook.webhook_id}\t{created.secret}")
    return 0


def list_all(arguments: Namespace) -> int:
    """Prints a line for each webhook. The lag is since when the oldest change waits that it has not come to."""
    for webhook in _call(arguments, "ListWebhooks", pb.ListWebhooksRequest()).webhooks:
        state = "enabled" if webhook.enabled else f"disabled {webhook.disabled_reason}".strip()
        counts = (f"{webhook.pending} pending", f"{webhook.parked} parked", _time(webhook.waiting_since))
        print("\t".join((webhook.webhook_id, webhook.url, state, *counts)))
    return 0


def remove(arguments: Namespace) -> int:
    _call(arguments, "DeleteWebhook", pb.DeleteWebhookRequest(webhook_id=arguments.webhook))
    print(f"{arguments.webhook} is deleted")
    return 0


def enable(arguments: Namespace) -> int:
    _call(arguments, "UpdateWebhook", pb.UpdateWebhookRequest(webhook_id=arguments.webhook, enabled=True))
    print(f"{arguments.webhook} goes on where it was")
    return 0


def disable(arguments: Namespace) -> int:
    _call(arguments, "UpdateWebhook", pb.UpdateWebhookRequest(webhook_id=arguments.webhook, enabled=False))
    print(f"{arguments.webhook} delivers nothing until it is enabled")
    return 0


def rotate(arguments: Namespace) -> int:
    """Prints the new secret."""
    request = pb.RotateSecretRequest(webhook_id=arguments.webhook, keep_seconds=arguments.keep)
    print(_call(arguments, "RotateSecret", request).secret)
    return 0


def deliveries(arguments: Namespace) -> int:
    """Prints a line for each."""
    for each in _pages(arguments):
        shown = (each.delivery_id, each.event, each.conversation_id, each.state, str(each.attempts))
        print("\t".join((*shown, _time(each.next_attempt_at), each.last_error or "-")))
    return 0


def replay(arguments: Namespace) -> int:
    request = pb.ReplayDeliveriesRequest(webhook_id=arguments.webhook, delivery_ids=arguments.deliveries)
    print(f"{_call(arguments, 'ReplayDeliveries', request).replayed} are delivered after all")
    return 0


def _pages(arguments: Namespace) -> Iterator[pb.Delivery]:
    token = ""
    while True:
        request = pb.ListDeliveriesRequest(webhook_id=arguments.webhook, state=arguments.state, page_token=token)
        page = _call(arguments, "ListDeliveries", request)
        yield from page.deliveries
        token = page.next_page_token
        if not token:
            return


def _call(arguments: Namespace, rpc: str, request: Any) -> Any:
    with connection(config_of(arguments), LOGIC, arguments.address) as channel:
        return getattr(WebhookServiceStub(channel), rpc)(request)


def _time(milliseconds: int) -> str:
    """UTC; "-" for none."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds") if milliseconds else "-"
