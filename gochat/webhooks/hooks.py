"""The webhooks of a process: each that is enabled has a follower of the log, which delivers where it has the lease."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic

from gochat.background import ending, periodic
from gochat.config import Webhooks as Settings
from gochat.config import networks
from gochat.domain import ids
from gochat.following import calling
from gochat.internal.webhook.v1 import webhook_pb2 as pb
from gochat.webhooks.delivery import Endpoint, Stubs

LOOK_INTERVAL = 2.0  # seconds between two looks for webhooks that were made, changed or deleted
STOP_TIMEOUT = 2.0  # seconds in which the leases are given back when the process stops


class Hooks:
    """poll: seconds between two reads of the log."""

    def __init__(self, stubs: Stubs, settings: Settings, poll: float) -> None:
        self._stubs, self._settings, self._poll = stubs, settings, poll
        self._networks = networks("webhooks.allow", settings.allow)
        self._running: dict[str, tuple[Endpoint, ExitStack]] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Delivers for as long as the block lasts. Attempts that are being made then are waited for no longer than
        STOP_TIMEOUT: they are made again."""
        with periodic("looking for webhooks", self._look, LOOK_INTERVAL):
            yield
        stopping = [threading.Thread(target=running.close, daemon=True) for _, running in self._running.values()]
        for thread in stopping:
            thread.start()
        until = monotonic() + ending(STOP_TIMEOUT)
        for thread in stopping:
            thread.join(max(0.0, until - monotonic()))

    def statistics(self) -> dict[str, int]:
        """By the names of gochat.monitoring.families."""
        waiting = [endpoint.follower.behind for endpoint, _ in [*self._running.values()]]
        oldest = min(filter(None, waiting), default=0)
        return {"webhook_lag": max(0, ids.now_ms() - oldest) // 1000 if oldest else 0}

    def _look(self) -> None:
        with calling():
            endpoints = self._stubs.store.ListEndpoints(pb.ListEndpointsRequest()).endpoints
        found = {each.webhook_id: each for each in endpoints}
        for webhook_id in self._running.keys() - found.keys():
            _, running = self._running.pop(webhook_id)
            running.close()
        for webhook_id, settings in found.items():
            if webhook_id in self._running:
                self._running[webhook_id][0].change(settings)
                continue
            endpoint = Endpoint(settings, self._stubs, self._networks, self._settings.retry_for)
            running = ExitStack()
            running.enter_context(endpoint.follower.running(self._poll))
            self._running[webhook_id] = endpoint, running
