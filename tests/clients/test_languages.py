"""Clients in Go and TypeScript, as proto/README.md shows them: generated, compiled and run when pasted."""

import json
import os
import shutil
import sys
from pathlib import Path

from tests.conftest import Own
from tests.harness import Deployment
from tests.processes import missing
from tests.test_readme import blocks, newcomer, pasted
from tests.web.client import ON

GUIDE = "proto/README.md"
LOCKED = Path(__file__).parent / "typescript"
GO = "/usr/local/go/bin"
"""Where Go is if it is on no PATH."""


def tools(app: Deployment, folder: Path, *needed: str) -> dict[str, str]:
    """The environment of a shell in this folder that has these programs, and the protoc of grpcio-tools. What it
    installs, it installs in the folder; what it downloads and compiles, the caches of Go and npm keep."""
    programs = folder / "bin"
    path = f"{programs}:{os.environ['PATH']}:{GO}"
    absent = [program for program in needed if not shutil.which(program, path=path)]
    if absent:
        missing(f"no {' and no '.join(absent)} to make a client in another language with")
    programs.mkdir()
    (programs / "protoc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m grpc_tools.protoc "$@"\n')
    (programs / "protoc").chmod(0o700)
    env = newcomer(app, folder)
    npm = {"prefer_offline": "true", "ignore_scripts": "true", "audit": "false", "fund": "false"}
    return (
        env
        | {"PATH": f"{programs}:{env['PATH']}:{GO}", "GOBIN": str(programs)}
        | {f"npm_config_{option}": value for option, value in npm.items()}
    )


def server(own: Own, folder: Path) -> Deployment:
    """With the users of the tour."""
    app = own(folder=folder, env=ON)
    for username, password in (("alice", "wonderland"), ("bob", "builder")):
        app.create_user(username, password=password)
    return app


def test_a_client_in_go(own: Own, tmp_path: Path) -> None:
    app = server(own, tmp_path)
    env = tools(app, tmp_path, "go")
    assert pasted(blocks("go", GUIDE), app, tmp_path, env).endswith(blocks("go output", GUIDE))


def test_a_client_in_typescript(own: Own, tmp_path: Path) -> None:
    app = server(own, tmp_path)
    env = tools(app, tmp_path, "node", "npm")
    client = tmp_path / "ts-client"
    shutil.copytree(LOCKED, client)  # what these packages need is locked too
    commands = blocks("typescript", GUIDE).replace("http://127.0.0.1:8080", app.processes[0].web_url)
    assert pasted(commands, app, tmp_path, env).endswith(blocks("typescript output", GUIDE))
    assert versions(client) == versions(LOCKED), "the guide has other versions"


def versions(folder: Path) -> dict[str, str]:
    """Of the packages, by their checksums. (Where they came from is noted or not, as npm is configured.)"""
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    return {name: package.get("integrity", "") for name, package in locked.items()}
