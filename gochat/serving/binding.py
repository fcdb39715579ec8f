"""Binds the RPCs of service descriptors to the methods of handler objects of the same names."""

from collections.abc import Callable, Iterable, Sequence
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

Handler = Callable[[Any], Any]
Batch = Callable[[Sequence[tuple[Call, Any]]], Sequence[Any]]
"""Does many calls of an RPC as one: (call, request) of each -> its response, its error, or None: run it unbatched."""


class BindError(Exception):
    """Services, handlers, policy and forms do not fit together; a programming error that stops the start."""


@dataclass(frozen=True)
class Method:
    """One RPC with its handler. Calling it checks the form of the request, then runs the handler.

    batch: of the handler's object, by the name batch_X for the RPC X.
    """

    path: str
    rule: Rule
    request_class: type[Message]
    response_class: type[Message]
    handler: Handler
    batch: Batch | None

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


def bind(services: Iterable[Service], handlers: Iterable[object]) -> dict[str, Method]:
    """Every RPC of the services by its path. Raises BindError for an RPC with no handler or two, without a form
    or a rule that keeps to the service's audience, and for a handler that serves no RPC."""
    offered: dict[str, list[Handler]] = {}
    for handler in handlers:
        for name in dir(handler):
            if name[0].isupper():
                offered.setdefault(name, []).append(getattr(handler, name))
    methods: dict[str, Method] = {}
    served = set()
    for service in services:
        for rpc in service.descriptor.methods:
            candidates = offered.get(rpc.name, [])
            if len(candidates) != 1 or rpc.name in served:
                raise BindError(f"{path_of(rpc)}: {len(candidates)} handlers, one service each; there must be one")
            served.add(rpc.name)
            methods[path_of(rpc)] = _method(rpc, service.audience, candidates[0])
    if stray := offered.keys() - served:
        raise BindError(f"handlers without an RPC: {', '.join(sorted(stray))}")
    return methods


def _method(rpc: MethodDescriptor, audience: Audience, handler: Handler) -> Method:
    path = path_of(rpc)
    if path not in RULES:
        raise BindError(f"{path}: no rule says who may call it")
    if audience is Audience.SERVICES and RULES[path].access is not Access.SERVICE:
        raise BindError(f"{path}: its rule lets in more than {audience.value}")
    try:
        forms.form_of(rpc.input_type)
    except KeyError as field:
        raise BindError(f"{path}: no rule for the form of {field}") from None
    batch = getattr(handler.__self__, f"batch_{rpc.name}", None)  # type: ignore[attr-defined]
    return Method(path, RULES[path], GetMessageClass(rpc.input_type), GetMessageClass(rpc.output_type), handler, batch)
