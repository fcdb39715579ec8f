"""AsyncClient: the methods of Client for asyncio.

It runs them on threads of its own. gRPC's asyncio classes would need no threads, but two of everything: of the
session, the queue, the stream. An event loop waits for a Future alone, and one that is cancelled leaves nothing
behind.
"""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial, update_wrapper
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from gochat.api.event.v1.event_pb2 import Event
from gochat.client.client import BACKOFF, TIMEOUT, Client
from gochat.client.connection import Tls
from gochat.client.events import Events

MAX_CALLS = 16  # at a time; others wait
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _awaitable(
    method: Callable[Concatenate[Client, _P], _R],
) -> Callable[Concatenate["AsyncClient", _P], Coroutine[Any, Any, _R]]:
    async def call(self: "AsyncClient", /, *arguments: _P.args, **named: _P.kwargs) -> _R:
        return await self._run(partial(method, self._client, *arguments, **named))

    update_wrapper(call, method)
    return call


class AsyncEvents:
    """As Events: `async for event in client.events()`, which begins with the first of them, or `async with`, where it
    begins. An event that a cancelled task waited for is the next one's."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._next: Future[Event | None] | None = None
        self._works = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]()
        # Not of an executor: at its end Python would wait for the next event.
        threading.Thread(target=_run_all, args=(self._works,), name="gochat events", daemon=True).start()

    @property
    def is_connected(self) -> bool:
        """A stream is open."""
        return self._events.is_connected

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        self._next = self._next or self._submit(partial(next, self._events, None))
        event = await asyncio.shield(asyncio.wrap_future(self._next))
        if event is None:
            self._works.put(None)
            raise StopAsyncIteration
        self._next = None
        return event

    async def aclose(self) -> None:
        self._events.is_unread = self._next is not None  # what comes now has reached nobody
        self._events.close()
        self._works.put(None)

    async def __aenter__(self) -> Self:
        await asyncio.wrap_future(self._submit(self._events.begin))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _submit(self, work: Callable[[], _R]) -> "Future[_R]":
        future: Future[_R] = Future()
        self._works.put((future, work))
        return future


def _run_all(works: "SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]") -> None:
    while found := works.get():
        future, work = found
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - for who waits
            future.set_exception(error)


class AsyncClient:
    """As Client, whose arguments it takes. token_provider may be a coroutine function. It belongs to one event loop;
    its calls may be cancelled, and whether a call that was cancelled had an effect is open."""

    def __init__(
        self,
        address: str,
        *,
        username: str = "",
        password: str = "",
        token_provider: Callable[[], str | Awaitable[str]] | None = None,
        user_id: str = "",
        tls: Tls = False,
        store: str | Path | None = None,
        keep_session: bool = False,
        device_id: str = "",
        timeout: float = TIMEOUT,
        backoff: tuple[float, float] = BACKOFF,
    ) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = ThreadPoolExecutor(MAX_CALLS, "gochat call")
        self._client = Client(
            address,
            username=username,
            password=password,
            token_provider=partial(self._provide, token_provider) if token_provider else None,
            user_id=user_id,
            tls=tls,
            store=store,
            keep_session=keep_session,
            device_id=device_id,
            timeout=timeout,
            backoff=backoff,
        )

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, timeout: float = 5.0) -> None:
        await self._run(partial(self._client.close, timeout))
        self._threads.shutdown(wait=False)

    def events(self, *, typing: bool = False, presence: Sequence[str] = ()) -> AsyncEvents:
        return AsyncEvents(self._client._open_events(typing, presence))

    async def user_id(self) -> str:
        """As Client.user_id."""
        return await self._run(lambda: self._client.user_id)

    async def _run(self, work: Callable[[], _R]) -> _R:
        self._loop = asyncio.get_running_loop()
        return await self._loop.run_in_executor(self._threads, work)

    def _provide(self, provider: Callable[[], str | Awaitable[str]]) -> str:
        token = provider()
        if inspect.isawaitable(token):
            assert self._loop
            return asyncio.run_coroutine_threadsafe(cast(Coroutine[Any, Any, str], token), self._loop).result()
        return token

    sign_in = _awaitable(Client.sign_in)
    register = _awaitable(Client.register)
    sign_in_with = _awaitable(Client.sign_in_with)
    sign_in_as_guest = _awaitable(Client.sign_in_as_guest)
    claim_account = _awaitable(Client.claim_account)
    sign_out = _awaitable(Client.sign_out)
    change_password = _awaitable(Client.change_password)
    sessions = _awaitable(Client.sessions)
    revoke_session = _awaitable(Client.revoke_session)
    profile = _awaitable(Client.profile)
    update_profile = _awaitable(Client.update_profile)
    search_people = _awaitable(Client.search_people)
    register_push_token = _awaitable(Client.register_push_token)
    unregister_push_token = _awaitable(Client.unregister_push_token)
    push_tokens = _awaitable(Client.push_tokens)
    web_push_key = _awaitable(Client.web_push_key)
    send = _awaitable(Client.send)
    forward = _awaitable(Client.forward)
    outgoing = _awaitable(Client.outgoing)
    retry = _awaitable(Client.retry)
    discard = _awaitable(Client.discard)
    flush = _awaitable(Client.flush)
    history = _awaitable(Client.history)
    messages_before = _awaitable(Client.messages_before)
    messages_after = _awaitable(Client.messages_after)
    message = _awaitable(Client.message)
    stored_messages = _awaitable(Client.stored_messages)
    stored_message = _awaitable(Client.stored_message)
    mark_read = _awaitable(Client.mark_read)
    acknowledge = _awaitable(Client.acknowledge)
    receipts = _awaitable(Client.receipts)
    set_typing = _awaitable(Client.set_typing)
    edit = _awaitable(Client.edit)
    versions = _awaitable(Client.versions)
    recall = _awaitable(Client.recall)
    delete = _awaitable(Client.delete)
    react = _awaitable(Client.react)
    unreact = _awaitable(Client.unreact)
    reactions = _awaitable(Client.reactions)
    pin = _awaitable(Client.pin)
    unpin = _awaitable(Client.unpin)
    pinned = _awaitable(Client.pinned)
    conversations = _awaitable(Client.conversations)
    list_conversations = _awaitable(Client.list_conversations)
    conversation = _awaitable(Client.conversation)
    open_direct = _awaitable(Client.open_direct)
    update_settings = _awaitable(Client.update_settings)
    unread = _awaitable(Client.unread)
    state = _awaitable(Client.state)
    search_conversations = _awaitable(Client.search_conversations)
    stored_conversations = _awaitable(Client.stored_conversations)
    stored_conversation = _awaitable(Client.stored_conversation)
    stored_settings = _awaitable(Client.stored_settings)
    update_conversation = _awaitable(Client.update_conversation)
    hide = _awaitable(Client.hide)
    create_group = _awaitable(Client.create_group)
    group = _awaitable(Client.group)
    update_group = _awaitable(Client.update_group)
    join_group = _awaitable(Client.join_group)
    leave_group = _awaitable(Client.leave_group)
    members = _awaitable(Client.members)
    add_members = _awaitable(Client.add_members)
    remove_member = _awaitable(Client.remove_member)
    list_members = _awaitable(Client.list_members)
    member = _awaitable(Client.member)
    set_title = _awaitable(Client.set_title)
    set_group_nickname = _awaitable(Client.set_group_nickname)
    search_groups = _awaitable(Client.search_groups)
    set_role = _awaitable(Client.set_role)
    transfer_group = _awaitable(Client.transfer_group)
    dissolve_group = _awaitable(Client.dissolve_group)
    ban_member = _awaitable(Client.ban_member)
    unban_member = _awaitable(Client.unban_member)
    bans = _awaitable(Client.bans)
    mute_member = _awaitable(Client.mute_member)
    group_settings = _awaitable(Client.group_settings)
    update_group_settings = _awaitable(Client.update_group_settings)
    create_invitation = _awaitable(Client.create_invitation)
    invitations = _awaitable(Client.invitations)
    revoke_invitation = _awaitable(Client.revoke_invitation)
    invitation = _awaitable(Client.invitation)
    join_by_invitation = _awaitable(Client.join_by_invitation)
    request_to_join = _awaitable(Client.request_to_join)
    cancel_request = _awaitable(Client.cancel_request)
    join_requests = _awaitable(Client.join_requests)
    decide_request = _awaitable(Client.decide_request)
