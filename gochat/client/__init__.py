"""The Python client of GoChat: `Client` for threads, `AsyncClient` for asyncio. The guide is proto/README.md.

Messages, conversations and events are those of gochat.api; what a server or the way to it did is raised as ChatError.
"""

from gochat.client.aio import AsyncClient
from gochat.client.client import Client
from gochat.client.conversations import FOREVER
from gochat.client.details import ALL
from gochat.client.errors import ChatError
from gochat.client.events import Events
from gochat.client.outbox import Outgoing

__all__ = ["ALL", "FOREVER", "AsyncClient", "ChatError", "Client", "Events", "Outgoing"]
