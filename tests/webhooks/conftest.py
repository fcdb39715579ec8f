"""Servers with webhooks. Each test makes webhooks of its own, which get events of its own conversations alone."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gochat.api.webhook.v1 import webhook_pb2, webhook_pb2_grpc
from tests.conftest import Own
from tests.harness import Deployment, Person, caller
from tests.webhooks.receiver import LOOPBACK


class Hooked:
    """A GoChat that may call this machine, in one mode. `hook.CreateWebhook(url=...)` calls the RPC."""

    def __init__(self, app: Deployment) -> None:
        self.app = app

    @property
    def hook(self) -> Any:
        stub = webhook_pb2_grpc.WebhookServiceStub(self.app.channel)

        class Calls:
            def __getattr__(this, rpc: str) -> Callable[..., Any]:  # noqa: N805
                return caller(stub, webhook_pb2, "WebhookService", rpc, self.app.service)

        return Calls()

    def add(self, url: str, *conversation_ids: str, **wanted: Any) -> SimpleNamespace:
        """Of message_sent, unless other events are wanted."""
        wanted = {"events": ["message_sent"], "conversation_ids": conversation_ids} | wanted
        created = self.hook.CreateWebhook(url=url, filter=wanted)
        return SimpleNamespace(id=created.webhook.webhook_id, secret=created.secret)

    def shown(self, webhook_id: str) -> Any:
        (found,) = (each for each in self.hook.ListWebhooks().webhooks if each.webhook_id == webhook_id)
        return found

    def deliveries(self, webhook_id: str) -> list[Any]:
        return list(self.hook.ListDeliveries(webhook_id=webhook_id).deliveries)


@pytest.fixture(scope="module", params=["sqlite-colocated", "postgres-split"])
def hooked(request: pytest.FixtureRequest, own_of_module: Own) -> Hooked:
    return Hooked(own_of_module(request.param, env=LOOPBACK))


@pytest.fixture
def ann(hooked: Hooked) -> Person:
    return hooked.app.person("ann")
