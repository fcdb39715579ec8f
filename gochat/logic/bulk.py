"""Sending in bulk."""

from gochat.api.common.v1 import common_pb2
from gochat.api.message.v1 import message_pb2
from gochat.context import current
from gochat.domain import policy
from gochat.errors import RETRY_AFTER, ChatError
from gochat.internal.store.v1 import store_pb2
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.logic.before_send import Ask
from gochat.logic.messages import to_store


class Bulk:
    """ask: as of Messages; about each message by itself."""

    def __init__(self, store: StoreServiceStub, ask: Ask | None = None) -> None:
        self._store = store
        self._ask = ask

    def SendMessages(self, request: message_pb2.SendMessagesRequest) -> message_pb2.SendMessagesResponse:
        caller = current().caller
        response = message_pb2.SendMessagesResponse()
        allowed = store_pb2.StoreMessagesRequest()
        results: list[message_pb2.SendResult] = []  # of those that are allowed
        for message in request.messages:
            result = response.results.add()
            try:
                stored, digest = to_store(caller, message, self._ask)
                allowed.messages.append(stored)
                allowed.digests.append(digest)
                results.append(result)
            except ChatError as error:
                result.error.CopyFrom(error.body())
        if results:
            allowed.unrestricted.extend(range(len(results)) if policy.is_unrestricted(caller) else ())
            for result, outcome in zip(results, self._store.StoreMessages(allowed).results, strict=True):
                result.CopyFrom(outcome)
        for index, result in enumerate(response.results):
            if result.HasField("error"):
                _prefix_fields(result.error, f"messages[{index}].")
        return response


def _prefix_fields(error: common_pb2.Error, prefix: str) -> None:
    """The fields of one message become fields of the request."""
    for name in set(error.details) - {"reason", RETRY_AFTER, "muted_until"}:
        error.details[prefix + name] = error.details.pop(name)
        if error.message.startswith(f"{name} "):
            error.message = prefix + error.message
