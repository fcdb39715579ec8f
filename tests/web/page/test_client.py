"""gochat.js as other pages and Node.js use it: its types, its parts, and that nothing is lost by a bad network."""

import json
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Own
from tests.conversations import contents, conversation_of
from tests.generate import CLIENT, ROOT, joined_client
from tests.harness import PASSWORD
from tests.waiting import eventually
from tests.web.page.conftest import HERE, url_of, web

Node = Callable[..., Any]

STATIC = CLIENT.parent
VENDORED = {
    "preact.js": ("preact/dist/preact.mjs", "preact/LICENSE"),
    "hooks.js": ("preact/hooks/dist/hooks.mjs", "preact/LICENSE"),
    "htm.js": ("htm/dist/htm.mjs", "htm/LICENSE"),
}
STRICT = ("--strict", "--noEmit", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext")


@pytest.fixture
def node(npm: Path) -> Callable[..., Any]:
    """node(script, ...) -> what a script prints, as JSON."""

    def run(script: str, *arguments: object, timeout: float = 60) -> Any:
        command = ["node", str(npm.parent / script), *map(str, arguments)]
        run = subprocess.run(command, cwd=npm.parent, capture_output=True, text=True, encoding="utf-8", timeout=timeout)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    return run


def test_the_client_is_up_to_date() -> None:
    assert CLIENT.read_text() == joined_client(), "run python tests/generate.py"


def test_the_types_are_what_an_app_needs(npm: Path, tmp_path: Path) -> None:
    for file in (*STATIC.glob("*.d.ts"), STATIC / "package.json", HERE / "npm/types.ts"):
        shutil.copy(file, tmp_path)
    tsc = ("node", npm / "typescript/bin/tsc", *STRICT, "--lib", "es2022,dom,dom.asynciterable", "types.ts")
    run = subprocess.run(tsc, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout


def test_the_types_name_what_there_is(node: Node) -> None:
    """Every member of the class is in the types, and nothing else."""
    found = node("members.mjs", CLIENT, STATIC / "gochat.d.ts")
    assert found["exported"] == ["ChatError", "Client", "IndexedDbStore", "MemoryStore"]
    assert found["undeclared"] == []
    assert found["missing"] == []


def test_vendored_files_are_those_of_npm(npm: Path) -> None:
    """Without the line that names a source map, and with paths where npm has names of packages."""
    listed = (STATIC / "vendor/README.md").read_text()
    for name, (source, licence) in VENDORED.items():
        lines = (npm / source).read_text().splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("//# sourceMappingURL"))
        vendored = (STATIC / "vendor" / name).read_text()
        assert vendored == text.replace('from"preact"', 'from"./preact.js"')
        package = source.partition("/")[0]
        assert (STATIC / f"vendor/{package}.LICENSE.txt").read_text() == (npm / licence).read_text()
        version = json.loads((npm / package / "package.json").read_text())["version"]
        assert f"| `{name}` | {package} {version} |" in listed
        assert sha256(vendored.encode()).hexdigest() in listed


def test_a_bad_network_loses_and_doubles_nothing(own: Own, node: Node) -> None:
    app = web(own)
    wanted = [f"message {number}" for number in range(120)]
    saw = node("faults.mjs", CLIENT, url_of(app), len(wanted), 7, timeout=100)
    assert saw["live"] == saw["own"] == wanted
    assert saw["stored"] == {"live": wanted, "own": wanted}
    assert saw["faults"] > 30
    assert saw["restarts"] >= 2


def test_the_bot_of_the_guide_answers(own: Own, npm: Path, tmp_path: Path) -> None:  # noqa: ARG001 - says that node is there
    app = web(own)
    bob, alice = app.person("bob", password=PASSWORD), app.person("alice", password=PASSWORD)
    text = (ROOT / "proto/README.md").read_text().partition("<!-- javascript -->")[2].split("```")[1].removeprefix("js")
    settings = {"http://127.0.0.1:8080": url_of(app), '"bob"': f'"{bob.username}"', '"builder"': f'"{PASSWORD}"'}
    for shown, used in settings.items():
        assert shown in text
        text = text.replace(shown, used)
    (tmp_path / "bot.mjs").write_text(text)
    for file in ("gochat.js", "package.json"):
        shutil.copy(STATIC / file, tmp_path)
    bot = subprocess.Popen(["node", tmp_path / "bot.mjs"])
    try:
        eventually(lambda: app.processes[0].metrics()("gochat_streams_open") == 1)
        conversation = conversation_of(alice.send(bob.id, "hello"))
        eventually(lambda: contents(alice, conversation)[:1] == ["You said: hello"])
    finally:
        bot.kill()
        bot.wait()


def test_a_token_provider_says_whose_the_store_is(own: Own, node: Node) -> None:
    """What another has left there is neither shown nor sent, and one that fails is asked again."""
    app = web(own)
    saw = node("provider.mjs", CLIENT, url_of(app))
    profile = saw["first"].pop("profile")
    assert profile.startswith("ann")
    assert saw == {
        "first": {"texts": ["for ann"], "asked": 1, "isAnn": True},
        "unnamed": {"texts": [], "userId": "", "stored": []},
        "waiting": {"texts": [], "states": ["queued"]},
        "other": {"texts": ["by ben"], "isBen": True},
        "named": {"isCem": True, "owner": True},
        "renewed": {"asked": 1, "isAnn": True},
        "changed": {"error": "OTHER_USER", "connection": "signedOut"},
    }


def test_who_comes_back_after_a_while(own: Own, node: Node) -> None:
    """To more new conversations than a page of the list has; and by a send before the stream's next try."""
    app = web(own)
    assert node("away.mjs", CLIENT, url_of(app), 130) == {"groups": 130, "unread": 130, "waited": 0}


def test_what_is_missing_of_a_stream_is_fetched(own: Own, node: Node) -> None:
    app = web(own)
    assert node("gaps.mjs", CLIENT, url_of(app)) == {
        "gap": ["1", "2", "3", "4", "5"],
        "again": ["1", "2", "3", "4", "5"],
        "resync": ["1", "2", "3", "4", "5", "6", "7"],
        "refreshes": 1,
        "answers": 10,
        "unread": [5, 4, 3, 3, 2],
        "kept": "without its event",
    }
