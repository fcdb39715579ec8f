"""The house rules that tools can hold: format, lint, types, imports, generated code, sizes."""

import subprocess
import sys
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from gochat.config import Config, load
from gochat.issuers import Issuer
from tests.generate import READS, generate, kept_reads

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent
GENERATED = "gochat/api/", "gochat/internal/", "gochat/web/static/gochat.js", "sql/reads.postgres.sql"


@pytest.mark.parametrize(
    "command",
    [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "lint-imports",
        "buf lint proto",
        "buf format -d --exit-code proto",
    ],
)
def test_a_tool_finds_nothing(command: str) -> None:
    program, *arguments = command.split()
    run = subprocess.run([TOOLS / program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    generate(tmp_path)
    fresh = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.py*") if path.is_file()}
    committed = {
        path.relative_to(ROOT): path.read_bytes()
        for kind in GENERATED
        for path in (ROOT / kind).rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    assert committed == fresh, "run python tests/generate.py"


def test_kept_statements_are_up_to_date() -> None:
    assert kept_reads() == READS.read_text(), "run python tests/generate.py"


def test_no_file_is_longer_than_400_lines() -> None:
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    written = [
        ROOT / name
        for name in files.stdout.split()
        if not name.startswith(GENERATED) and not name.endswith(("package-lock.json", "README.md", ".png"))
    ]
    assert len(written) > 50
    assert {path.name: lines for path in written if (lines := len(path.read_text().splitlines())) > 400} == {}


def test_shipped_settings_are_the_defaults() -> None:
    shipped = tomllib.loads((ROOT / "gochat.toml").read_text())
    names = {
        section.name: {key.name for key in fields(section.default_factory) if key.default is not MISSING}  # type: ignore[arg-type,misc]
        for section in fields(Config)
    }
    assert {section: {*keys} for section, keys in shipped.items()} == names
    assert load(ROOT / "gochat.toml", {}) == Config()


def test_shipped_settings_of_an_issuer_are_the_defaults() -> None:
    shipped = (ROOT / "gochat.toml").read_text().split("# [auth.issuers.NAME]")[1].split("\n\n")[0]
    keys = tomllib.loads("\n".join(line.removeprefix("# ") for line in shipped.splitlines()[1:]))
    assert {key: tuple(value) if isinstance(value, list) else value for key, value in keys.items()} == {
        key.name: key.default for key in fields(Issuer)
    }
