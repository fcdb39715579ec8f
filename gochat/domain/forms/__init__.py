"""The form of requests, a file a service: which fields a request cannot do without, and the rule of each.

`check` holds a request against its form before its handler sees it. What needs facts from the database is not here but
in policy. The server does not start with a request that has no form, or a field without a rule.
"""

from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from gochat.domain.forms import (
    account,
    audit,
    change,
    conversation,
    event,
    group,
    group_store,
    logic,
    login,
    message,
    push,
    reader,
    repo,
    session,
    signal,
    store,
    user,
    webhook,
)
from gochat.domain.forms.rules import FIELDS, Form, Rule
from gochat.errors import invalid

FORMS: dict[str, Form] = {
    request.DESCRIPTOR.full_name: form
    for service in (
        *(logic, session, message, conversation, group, event, push),
        *(repo, store, group_store, account, login, change, reader, signal, audit, user, webhook),
    )
    for request, form in service.FORMS.items()
}
"""By the full name of the request type."""


@cache
def form_of(request: Descriptor) -> tuple[tuple[str, Rule, bool], ...]:
    """(field, rule, must it not be empty) of a request type; KeyError for one without a form, or a field without a
    rule."""
    required, fields = FORMS[request.full_name]
    return tuple(
        (field.name, fields.get(field.name) or FIELDS[field.name], field.name in required) for field in request.fields
    )


@cache
def _choices(request: Descriptor) -> tuple[str, ...]:
    return tuple(name for name in request.oneofs_by_name if not name.startswith("_"))  # those are optional fields


def check(request: Message) -> None:
    """Raises INVALID_PARAMS for the first field that breaks its rule. One field of each oneof must be set."""
    for choice in _choices(request.DESCRIPTOR):
        chosen = request.WhichOneof(choice)
        if chosen is None or not getattr(request, chosen):
            first, *others = (field.name for field in request.DESCRIPTOR.oneofs_by_name[choice].fields)
            raise invalid(chosen or first, f"must not be empty unless {' or '.join(others)} is set")
    for name, rule, required in form_of(request.DESCRIPTOR):
        value = getattr(request, name)
        if required and not value:
            raise invalid(name, "must not be empty")
        rule(name, value)
