"""WebhookService: who may call is in the table, and what is kept is the repo half's."""

import ipaddress
import socket
from contextlib import suppress
from urllib.parse import urlsplit

from gochat.api.webhook.v1 import webhook_pb2 as pb
from gochat.config import Webhooks as Settings
from gochat.config import networks
from gochat.errors import invalid
from gochat.internal.webhook.v1.webhook_pb2_grpc import WebhookStoreServiceStub
from gochat.outbound import OutboundError, judge


class Webhooks:
    def __init__(self, store: WebhookStoreServiceStub, settings: Settings) -> None:
        self._store = store
        self._networks = networks("webhooks.allow", settings.allow)

    def CreateWebhook(self, request: pb.CreateWebhookRequest) -> pb.CreateWebhookResponse:
        self._check_address(request.url)
        return self._store.CreateWebhook(request)

    def UpdateWebhook(self, request: pb.UpdateWebhookRequest) -> pb.UpdateWebhookResponse:
        if request.url:
            self._check_address(request.url)
        return self._store.UpdateWebhook(request)

    def DeleteWebhook(self, request: pb.DeleteWebhookRequest) -> pb.DeleteWebhookResponse:
        return self._store.DeleteWebhook(request)

    def ListWebhooks(self, request: pb.ListWebhooksRequest) -> pb.ListWebhooksResponse:
        return self._store.ListWebhooks(request)

    def RotateSecret(self, request: pb.RotateSecretRequest) -> pb.RotateSecretResponse:
        return self._store.RotateSecret(request)

    def ListDeliveries(self, request: pb.ListDeliveriesRequest) -> pb.ListDeliveriesResponse:
        return self._store.ListDeliveries(request)

    def ReplayDeliveries(self, request: pb.ReplayDeliveriesRequest) -> pb.ReplayDeliveriesResponse:
        return self._store.ReplayDeliveries(request)

    def _check_address(self, url: str) -> None:
        """Early, of a host that is an address in any of its forms; of a name it is judged at each attempt. Raises
        INVALID_PARAMS."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        address = ""
        with suppress(OSError):
            address = socket.inet_ntoa(socket.inet_aton(host))  # also 2130706433, 0x7f.1 and the like
        with suppress(ValueError):
            address = str(ipaddress.ip_address(host))
        if address:
            try:
                judge(address, self._networks, is_tls=parts.scheme == "https")
            except OutboundError as error:
                raise invalid("url", f"cannot be called: {error}") from None
