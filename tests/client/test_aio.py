"""AsyncClient: what is cancelled loses no event and leaves nothing behind."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from gochat.client import AsyncClient, ChatError
from tests.client.clients import FAST
from tests.conftest import Own
from tests.conversations import group
from tests.harness import PASSWORD, Deployment, Person
from tests.processes import memory
from tests.waiting import eventually

STREAMS = 400
MAX_GROWTH = 4 * 1024  # KiB; 10 for each stream


@pytest.fixture(scope="module")
def server(own_of_module: Own) -> Deployment:
    return own_of_module()


def client_of(server: Deployment, person: Person, **options: Any) -> AsyncClient:
    given = {"username": person.username, "password": PASSWORD, "backoff": FAST} | options
    return AsyncClient(server.address, **given)


async def next_content(events: Any) -> str:
    async for event in events:
        if event.HasField("message_sent"):
            return str(event.message_sent.message.content)
    raise AssertionError("it ended")


def test_two_programs_talk(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)

    async def echo(events: Any, client: AsyncClient) -> None:
        async for event in events:
            if event.HasField("message_sent") and event.message_sent.message.from_user_id == ann.id:
                message = event.message_sent.message
                await client.send(f"{message.content}, too", conversation_id=message.conversation_id)

    async def main() -> list[str]:
        async with client_of(server, ann) as anns, client_of(server, ben) as bens:
            async with anns.events() as heard, bens.events() as echoed:
                task = asyncio.create_task(echo(echoed, bens))
                room = (await anns.create_group("room", [ben.id])).group_id
                said = [await (await anns.send(content, conversation_id=room)) for content in ("one", "two")]
                assert len(set(said)) == 2
                contents = sorted([await next_content(heard) for _ in range(4)])
                task.cancel()
            profiles = await asyncio.gather(*(anns.profile(user) for user in [ann.id, ben.id] * 20))
            assert {each.user_id for each in profiles} == {await anns.user_id(), await bens.user_id()}
            with pytest.raises(ChatError, match="NOT_FOUND"):
                await anns.history("nowhere")
            return contents

    assert asyncio.run(main()) == ["one", "one, too", "two", "two, too"]


def test_a_wait_that_is_cancelled_loses_no_event(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    room = group(ann, ben)

    async def main() -> list[str]:
        contents = []
        async with client_of(server, ben) as client, client.events() as events:
            for number in range(30):
                waiting = asyncio.create_task(next_content(events))
                await asyncio.sleep(0)  # the task runs up to where it waits
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await asyncio.to_thread(ann.send, room, str(number))
                contents.append(await asyncio.wait_for(next_content(events), 30))
        return contents

    assert asyncio.run(main()) == [str(number) for number in range(30)]


def test_what_nobody_was_given_comes_again(server: Deployment) -> None:
    ann, ben = server.people(2, PASSWORD)
    room = group(ann, ben)

    async def main() -> str:
        async with client_of(server, ben) as client:
            async with client.events() as events:
                waiting = asyncio.create_task(next_content(events))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.to_thread(ann.send, room, "for nobody")
                pending = events._next
                assert pending is not None
                await asyncio.wrap_future(pending)
            return await asyncio.wait_for(next_content(client.events()), 30)

    assert asyncio.run(main()) == "for nobody"


def test_a_token_provider_may_be_a_coroutine(server: Deployment) -> None:
    ann = server.person(password=PASSWORD)

    async def provide() -> str:
        await asyncio.sleep(0)
        return ann.access_token

    async def main() -> str:
        async with AsyncClient(server.address, token_provider=provide) as client:
            return (await client.profile()).user_id

    assert asyncio.run(main()) == ann.id


LEAVES_ALL_OPEN = """
import asyncio, sys
from gochat.client import AsyncClient
address, username, password = sys.argv[1:]
async def main():
    events = AsyncClient(address, username=username, password=password).events()
    asyncio.create_task(anext(events))
    while not events.is_connected:
        await asyncio.sleep(0.01)
asyncio.run(main())
"""


def test_a_program_that_closes_nothing_ends(server: Deployment) -> None:
    ann = server.person(password=PASSWORD)
    arguments = (sys.executable, "-c", LEAVES_ALL_OPEN, server.address, ann.username, PASSWORD)
    assert subprocess.run(arguments, timeout=60).returncode == 0


def test_streams_that_are_cancelled_leave_nothing_behind(server: Deployment) -> None:
    ann = server.person(password=PASSWORD)

    async def streams(client: AsyncClient, number: int) -> int:
        for _ in range(number):
            async with client.events() as events:
                waiting = asyncio.create_task(next_content(events))
                while events._events._watchdog._call is None:  # until the stream is open
                    await asyncio.sleep(0.001)
                waiting.cancel()
        gc.collect()
        return memory(os.getpid())

    async def main() -> int:
        async with client_of(server, ann) as client:
            before = await streams(client, 100)
            return await streams(client, STREAMS) - before

    threads = threading.active_count()
    assert asyncio.run(main()) < MAX_GROWTH
    eventually(lambda: threading.active_count() <= threads)
