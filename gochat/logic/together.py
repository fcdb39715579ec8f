"""Calls of one RPC that came in together, as one call of the repo half: what batch handlers of reads are made of."""

from collections.abc import Callable, Sequence
from typing import Any

from gochat.context import Call, Caller
from gochat.domain import forms
from gochat.errors import ChatError
from gochat.internal.store.v1 import store_pb2
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub


def together(
    store: StoreServiceStub, kind: str, calls: Sequence[tuple[Call, Any]], made: Callable[[Caller, Any], Any]
) -> list[Any]:
    """The answer to each: that of the repo, or None for a call that is to be made alone, where its error is raised.
    kind: the field of store_pb2.Call and Answer. made(caller, request): the repo's request, or None. Raises ChatError
    for all of them."""
    answers: list[Any] = [None] * len(calls)
    asked, indexes = store_pb2.CallTogetherRequest(), list[int]()
    for index, (call, request) in enumerate(calls):
        try:
            forms.check(request)
            wanted = made(call.caller, request)
        except ChatError:
            continue
        if wanted is not None:
            one = asked.calls.add(actor_id=call.actor.user_id)
            getattr(one, kind).CopyFrom(wanted)
            indexes.append(index)
    if not indexes:
        return answers
    try:
        found = store.CallTogether(asked).answers
    except ChatError as error:
        if error.reason == "NOT_OFFERED":  # by a host of the repo half of an older version
            return answers
        raise
    for index, answer in zip(indexes, found, strict=True):
        if answer.WhichOneof("answer"):
            answers[index] = getattr(answer, kind)
    return answers
