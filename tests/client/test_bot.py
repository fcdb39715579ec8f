"""The bot of the guide, as it stands there."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import Own
from tests.conversations import contents, conversation_of
from tests.harness import PASSWORD
from tests.processes import environment
from tests.test_readme import blocks
from tests.waiting import eventually


def test_the_bot_of_the_guide(own: Own, tmp_path: Path) -> None:
    app, code = own(), blocks("bot", "proto/README.md")
    assert len(code.splitlines()) <= 15
    ann = app.person(password=PASSWORD)
    bob = app.create_user("bob", password="builder")
    program = code.replace("127.0.0.1:50051", app.address)

    def start() -> "subprocess.Popen[bytes]":
        env = environment({"PYTHONPATH": str(Path(__file__).parents[2])})
        return subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=env)

    running = start()
    try:
        eventually(lambda: (tmp_path / "bob.db").exists())
        eventually(lambda: b"cursor" in b"".join(file.read_bytes() for file in tmp_path.glob("bob.db*")))
        room = conversation_of(ann.send(bob, "one"))
        eventually(lambda: contents(ann, room) == ["You said: one", "one"])
        running.kill()
        running.wait()
        ann.send(bob, "two")
        running = start()
        expected = ["You said: two", "two", "You said: one", "one"]
        eventually(lambda: contents(ann, room) == expected)
    finally:
        running.kill()
        running.wait()
