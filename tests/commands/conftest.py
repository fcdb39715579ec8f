"""The real chat logs."""

import os
from pathlib import Path

import pytest

from tests.processes import missing


@pytest.fixture(scope="session")
def logs() -> tuple[Path, Path]:
    """The real logs lie beside the project, not in it."""
    folder = Path(os.environ.get("GOCHAT_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    files = folder / "rooms.jsonl", folder / "dialogues.jsonl"
    if not all(file.is_file() for file in files):
        missing(f"no real logs to test with in {folder}; GOCHAT_TEST_DATA may name another folder")
    return files
