"""gochat audit: reads the audit log through the running server."""

import json
import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime

from google.protobuf.json_format import MessageToDict

from gochat.api.audit.v1 import audit_pb2
from gochat.api.audit.v1.audit_pb2_grpc import AuditServiceStub
from gochat.commands.arguments import REMOTE, Subparsers, add_command, config_of, duration, number
from gochat.commands.server import connection
from gochat.domain import limits
from gochat.services import REPO


def add_to(commands: Subparsers) -> None:
    audited = add_command(commands, "audit", run, "print the audit log of a running server", REMOTE)
    audited.add_argument("--user", default="", metavar="ID", help="as actor or as target")
    audited.add_argument("--action", default="", help="such as session.begin; group. for all that begin with it")
    audited.add_argument("--since", type=duration, default=0, metavar="AGO", help="no older than 30m, 12h, 7d")
    audited.add_argument("--limit", type=number(1_000_000), default=100, metavar="N", help="the last N (default: 100)")
    audited.add_argument("--json", action="store_true", help="JSON lines")


def run(arguments: Namespace) -> int:
    """Prints one line for each entry, the newest last."""
    config = config_of(arguments)
    with connection(config, REPO, arguments.address) as channel:
        events = list(_events(AuditServiceStub(channel), arguments))
    for event in reversed(events):
        print(_as_json(event) if arguments.json else _as_text(event))
    return 0


def _events(audit: AuditServiceStub, arguments: Namespace) -> Iterator[audit_pb2.Event]:
    since = int((time.time() - arguments.since) * 1000) if arguments.since else 0
    before, left = "", arguments.limit
    while left:
        page = audit.ListEvents(
            audit_pb2.ListEventsRequest(
                user_id=arguments.user,
                action=arguments.action,
                since=since,
                before_event_id=before,
                limit=min(left, limits.MAX_LONG_PAGE),
            )
        )
        yield from page.events
        if not page.has_more:
            return
        before, left = page.events[-1].event_id, left - len(page.events)


def _as_json(event: audit_pb2.Event) -> str:
    return json.dumps(MessageToDict(event, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))


def _as_text(event: audit_pb2.Event) -> str:
    at = datetime.fromtimestamp(event.at / 1000, UTC).isoformat(timespec="milliseconds")
    who = "/".join(filter(None, (event.actor_id or event.actor_role or "-", event.acted_by)))
    words = (
        event.action,
        event.target_id,
        event.detail,
        event.outcome,
        "by",
        who,
        "from",
        event.peer,
        event.request_id,
    )
    return " ".join([at, *(word or "-" for word in words)])
