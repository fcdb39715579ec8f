"""Binds the RPCs of service descriptors to the methods of handler objects of the same names."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gochat.context import Call
from gochat.domain import forms
from gochat.domain.access import RULES, Access, Rule
from gochat.services import Audience, Service, path_of, rpcs
from gochat.serving import external

Handler = Callable[[Any], Any]
Handlers = Mapping[str, Sequence[object]]
"""The objects that serve a service, by its name. One object may serve several services."""
Batch = Callable[[Sequence[tuple[Call, Any]]], Sequence[Any]]
"""Does many calls of an RPC as one: (call, request) of each -> its response, its error, or None: run it unbatched."""

_BATCH = "batch_"


class BindError(Exception):
    """Services, handlers, policy and forms do not fit together; a programming error that stops the start."""


@dataclass(frozen=True)
class Method:
    """One RPC with its handler. Calling it checks the form of the request, then runs the handler.

    batch: of the handler's object, by the name batch_X for the RPC X. streams: the handler returns a Subscription
    (endpoints.py) in place of a response. has_error: the response has the field `error`. is_safe: it has no side
    effects, so it may be called by HTTP GET. takes_external_ids: services may name users by them.
    """

    path: str
    rule: Rule
    request_class: type[Message]
    response_class: type[Message]
    handler: Handler
    batch: Batch | None
    streams: bool
    has_error: bool
    is_safe: bool = False
    takes_external_ids: bool = False

    def __call__(self, request: Any) -> Any:
        forms.check(request)
        return self.handler(request)


def repeatable_paths(services: Iterable[Service]) -> frozenset[str]:
    """The RPCs that the contract marks with an idempotency_level: a lost answer is safely asked for again."""
    return frozenset(
        path
        for path, rpc in rpcs(services).items()
        if rpc.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
    )


def bind(services: Iterable[Service], handlers: Handlers) -> dict[str, Method]:
    """Every RPC of the services by its path. Raises BindError for an RPC with no handler or two, without a form
    or a rule that keeps to the service's audience, and for a handler that serves no RPC."""
    offered = dict(handlers)
    methods: dict[str, Method] = {}
    unserved = {
        (handler, name) for served in handlers.values() for handler in served for name in _rpcs_named_by(handler)
    }
    for service in services:
        serving = offered.pop(service.descriptor.name, ())
        for rpc in service.descriptor.methods:
            candidates = [handler for handler in serving if hasattr(handler, rpc.name)]
            if len(candidates) != 1:
                raise BindError(f"{path_of(rpc)}: {len(candidates)} handlers; there must be one")
            methods[path_of(rpc)] = _method(rpc, service.audience, *candidates)
            unserved.discard((candidates[0], rpc.name))
    if unserved or offered:
        stray = sorted({*offered, *(name for _, name in unserved)})
        raise BindError(f"handlers without an RPC: {', '.join(stray)}")
    return methods


def _rpcs_named_by(handler: object) -> set[str]:
    """Handlers and batch handlers: methods with the name of an RPC, and with batch_ before it."""
    names = (name.removeprefix(_BATCH) for name in dir(handler))
    return {name for name in names if name[:1].isupper()}


def _method(rpc: MethodDescriptor, audience: Audience, handler: object) -> Method:
    path = path_of(rpc)
    if path not in RULES:
        raise BindError(f"{path}: no rule says who may call it")
    if audience is not Audience.APPS and RULES[path].access is not Access.SERVICE:
        raise BindError(f"{path}: its rule lets in more than {audience.value}")
    try:
        forms.form_of(rpc.input_type)
    except KeyError as field:
        raise BindError(f"{path}: no rule for the form of {field}") from None
    request, response = GetMessageClass(rpc.input_type), GetMessageClass(rpc.output_type)
    return Method(
        path,
        RULES[path],
        request,
        response,
        getattr(handler, rpc.name),
        batch=getattr(handler, f"{_BATCH}{rpc.name}", None),
        streams=rpc.server_streaming,
        has_error="error" in rpc.output_type.fields_by_name,
        is_safe=rpc.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS and not rpc.server_streaming,
        takes_external_ids=audience is not Audience.INTERNAL and external.names_users(rpc.input_type),
    )
