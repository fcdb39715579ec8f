"""The READMEs, pasted into a shell by a newcomer; and that what they name is there."""

import importlib.util
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.conftest import Own
from tests.conversations import conversation_of, history
from tests.harness import Deployment, as_service
from tests.processes import environment, gochat
from tests.web.client import ON

ROOT = Path(__file__).parent.parent
OPERATING = "gochat/commands/README.md"
FILES = (
    "README.md",
    "README.zh-CN.md",
    "proto/README.md",
    "gochat/README.md",
    "gochat/events/README.md",
    OPERATING,
    "sql/README.md",
    "tests/README.md",
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def read(file: str) -> str:
    return (ROOT / file).read_text()


def blocks(mark: str, file: str = "README.md") -> str:
    return "\n".join(re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", read(file), re.DOTALL))


def newcomer(app: Deployment, folder: Path) -> dict[str, str]:
    """The environment of a shell in this folder, where the commands of the READMEs find the program and the server."""
    (folder / ".venv").symlink_to(sys.prefix)
    path = f"{sys.prefix}/bin:{os.environ['PATH']}"
    return environment({"GOCHAT_SERVER_LISTEN": app.address, "GOCHAT_SERVER_DATA": str(app.data), "PATH": path})


def pasted(text: str, app: Deployment, folder: Path, env: dict[str, str]) -> str:
    """What it prints."""
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text.replace("127.0.0.1:50051", app.address)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("file", ["README.md", "README.zh-CN.md"])
def test_the_tour_works_when_pasted(own: Own, file: str, tmp_path: Path) -> None:
    app = own(folder=tmp_path)
    printed = pasted(blocks("tour", file), app, tmp_path, newcomer(app, tmp_path))
    assert re.sub(r"s[0-9a-z]{26}", "s<26 characters>", printed) == blocks("tour output", file)


def test_the_guides_work_when_pasted(own: Own, tmp_path: Path) -> None:
    app = own(folder=tmp_path, env=ON)
    env = newcomer(app, tmp_path)
    users = BLOCK.search(read("README.md").partition("<!-- tour -->\n")[2])
    assert users
    parts = ("talk", "sending", "gateway")
    printed = pasted(users[2] + "".join(blocks(part, "proto/README.md") for part in parts), app, tmp_path, env)
    assert printed == "".join(blocks(f"{part} output", "proto/README.md") for part in parts)
    assert pasted(blocks("phones", "proto/README.md"), app, tmp_path, env) == blocks("phones output", "proto/README.md")
    printed = pasted(blocks("events", "proto/README.md"), app, tmp_path, env)
    assert printed == blocks("events output", "proto/README.md")
    front = blocks("front", "proto/README.md").replace("http://127.0.0.1:8080", app.processes[0].web_url)
    assert pasted(front, app, tmp_path, env) == blocks("front output", "proto/README.md")
    by_curl = blocks("curl", "proto/README.md") + blocks("curl stream", "proto/README.md")
    printed = pasted(by_curl.replace("http://127.0.0.1:8080", app.processes[0].web_url), app, tmp_path, env)
    assert printed == blocks("curl output", "proto/README.md") + blocks("curl stream output", "proto/README.md")
    for _ in range(2):
        pasted(blocks("import", OPERATING), app, tmp_path, env)
    app.stop()
    with closing(sqlite3.connect(app.data / "gochat.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM messages WHERE content = 'hi'").fetchone() == (2,)


def test_backup_and_restore_when_pasted(own: Own, tmp_path: Path) -> None:
    app = own(folder=tmp_path)
    env, folder = newcomer(app, tmp_path), tmp_path / "backups"
    folder.mkdir()
    ann, ben = app.people(2)
    sent = ann.send(ben.id).message_id
    pasted(blocks("backup", OPERATING).replace("/backups", str(folder)), app, tmp_path, env)
    ann.send(ben.id)
    app.stop()
    (made,) = folder.iterdir()
    pasted(re.sub(r"/backups/\S+", str(made), blocks("restore", OPERATING)), app, tmp_path, env)
    app.start()
    stored = history(as_service(app).logic, conversation_of(sent))
    assert [message.message_id for message in stored] == [sent]


def test_the_compose_file_defines_its_services() -> None:
    services = yaml.safe_load(blocks("compose", OPERATING))["services"]
    assert set(services) == {"postgres", "repo", "logic"}


def test_both_languages_have_the_same_commands() -> None:
    english, chinese = (
        [(kind, re.sub(r"^# .*", "#", text, flags=re.MULTILINE)) for kind, text in BLOCK.findall(read(file))]
        for file in ("README.md", "README.zh-CN.md")
    )
    assert chinese == english
    links = [
        re.findall(r"\]\(([^#)][^)]*\.(?:md|toml)[^)]*)\)", read(file)) for file in ("README.md", "README.zh-CN.md")
    ]
    assert [link for link in links[0] if "zh-CN" not in link] == [link for link in links[1] if link != "README.md"]


@pytest.mark.parametrize("file", ["README.md", "README.zh-CN.md"])
def test_the_readmes_have_at_most_200_lines(file: str) -> None:
    assert len(read(file).splitlines()) <= 200


def anchors(file: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    prose = BLOCK.sub("", file.read_text())
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", FILES)
def test_every_link_leads_somewhere(file: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", BLOCK.sub("", read(file)))
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / file).parent / path if path else ROOT / file
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("file", FILES)
def test_every_file_that_is_named_is_there(file: str) -> None:
    """By its path in the repository, or beside the README."""
    words = re.findall(r"`([\w./-]+(?:/|\.py|\.proto|\.toml))`", BLOCK.sub("", read(file)))
    places = ROOT, (ROOT / file).parent
    assert [word for word in words if not any((place / word).exists() for place in places)] == []


@pytest.mark.parametrize("file", FILES)
def test_every_module_that_is_run_is_there(file: str) -> None:
    for name in re.findall(r"python -m (tests[\w.]*)", read(file)):
        assert importlib.util.find_spec(name), name


def test_every_command_is_listed() -> None:
    usage = gochat("--help", check=True)
    known = set(re.findall(r"^    (\w+)", usage.stdout, re.MULTILINE))
    listed = set(re.findall(r"^\| `gochat (\w+)", read(OPERATING), re.MULTILINE))
    assert known == listed
