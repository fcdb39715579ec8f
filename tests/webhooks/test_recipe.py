"""The receiver of proto/README.md: it takes what is genuine, once, and nothing else."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gochat.domain.webhooks import new_secret
from gochat.outbound import post
from gochat.webhooks.signing import signed
from tests.conversations import group
from tests.harness import Person
from tests.test_readme import blocks
from tests.waiting import eventually
from tests.webhooks.conftest import Hooked
from tests.webhooks.receiver import receiving

BODY = b'{"type": "message_sent", "data": {"messageSent": {"message": {"content": "%s"}}}}'


@contextmanager
def recipe(folder: Path, secret: str, port: int = 0) -> Iterator[Any]:
    """The receiver, its port, and a function that returns what it has printed since the last call."""
    program, out = folder / "receiver.py", folder / "out"
    program.write_text(blocks("receiver", "proto/README.md"))
    with out.open("w") as file:
        process = subprocess.Popen([sys.executable, program, secret, str(port)], stdout=file)
    try:
        eventually(lambda: "listening on" in out.read_text())
        yield process, int(out.read_text().split()[2]), lambda: out.read_text().splitlines()[1:]
    finally:
        process.kill()
        process.wait()


def test_the_receiver_takes_what_is_genuine_once_and_nothing_else(tmp_path: Path) -> None:
    secret, now = new_secret(), int(time.time())
    with recipe(tmp_path, secret) as (_, port, printed):

        def status(headers: dict[str, str], body: bytes) -> int:
            return post(f"http://127.0.0.1:{port}/", body, headers, 10, None).status

        good = signed([new_secret(), secret], "evt_1", now, BODY % b"once")
        assert [status(good, BODY % b"once"), status(good, BODY % b"once")] == [204, 204]
        assert status(signed([new_secret()], "evt_2", now, BODY % b"forged"), BODY % b"forged") == 401
        assert status(signed([secret], "evt_3", now, BODY % b"one"), BODY % b"other") == 401
        assert status(good | {"webhook-id": "evt_4"}, BODY % b"once") == 401
        assert status(signed([secret], "evt_5", now - 301, BODY % b"old"), BODY % b"old") == 401
        for header, value in (("timestamp", "soon"), ("timestamp", "9" * 5000), ("timestamp", "²"), ("signature", "é")):
            assert status(good | {f"webhook-{header}": value}, BODY % b"once") == 401
        assert status({}, BODY % b"once") == 401
        assert printed() == ["message_sent once"]


def test_the_receiver_waits_for_nobody_and_reads_no_more_than_it_says(tmp_path: Path) -> None:
    secret = new_secret()
    with recipe(tmp_path, secret) as (_, port, printed), socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\n")
        for size in ("1048577", "-1", "1e3", "9" * 5000, ""):
            with socket.create_connection(("127.0.0.1", port), 10) as calling:
                calling.sendall(f"POST / HTTP/1.1\r\ncontent-length: {size}\r\n\r\n".encode())
                assert calling.makefile("rb").readline().split()[1] == b"413"
        good = signed([secret], "evt_1", int(time.time()), BODY % b"meanwhile")
        assert post(f"http://127.0.0.1:{port}/", BODY % b"meanwhile", good, 10, None).status == 204
        assert printed() == ["message_sent meanwhile"]


def test_it_gets_all_from_a_server_also_what_came_while_it_was_dead(
    hooked: Hooked, ann: Person, tmp_path: Path
) -> None:
    room = group(ann)
    with receiving() as free:
        port = int(free.url.split(":")[2].split("/")[0])
    hook = hooked.add(f"http://127.0.0.1:{port}/", room)
    with recipe(tmp_path, hook.secret, port) as (process, _, printed):
        ann.send(room, "one")
        eventually(lambda: printed() == ["message_sent one"])
        process.kill()
    ann.send(room, "two")
    ann.send(room, "three")
    eventually(lambda: len(hooked.deliveries(hook.id)) == 2)
    with recipe(tmp_path, hook.secret, port) as (_, _, printed):
        eventually(lambda: printed() == ["message_sent two", "message_sent three"], 60)
    hooked.hook.DeleteWebhook(webhook_id=hook.id)
