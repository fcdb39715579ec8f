"""Half a minute of the fuzz; python -m tests.attacks.fuzz runs it for as long as one likes."""

import os
from pathlib import Path

from tests.attacks.fuzz import ENV, fuzz
from tests.harness import Deployment

SECONDS = 30


def test_random_requests_get_no_answer_that_they_should_not(tmp_path: Path) -> None:
    seed = int(os.environ.get("FUZZ_SEED") or int.from_bytes(os.urandom(4)))
    app = Deployment(tmp_path, env=ENV)
    try:
        report = fuzz(app, SECONDS, seed)
    finally:
        app.kill()
    assert not report.findings, f"FUZZ_SEED={seed}\n{report}"
    assert report.calls.total() > 200
