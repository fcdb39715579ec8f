"""The real chat logs."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def logs() -> tuple[Path, Path]:
    """The real logs lie beside the project, not in it."""
    folder = Path(os.environ.get("GOCHAT_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    files = folder / "rooms.jsonl", folder / "dialogues.jsonl"
    if not all(file.is_file() for file in files):
        if os.environ.get("CI") == "true":
            pytest.fail(f"the real logs must be tested under CI, and are not in {folder}; set GOCHAT_TEST_DATA")
        pytest.skip(f"no real logs to test with in {folder}; GOCHAT_TEST_DATA may name another folder")
    return files
