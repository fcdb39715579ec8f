"""Half a minute of the fuzz; python -m tests.attacks.fuzz runs it for as long as one likes."""

import os

from tests.attacks.fuzz import ENV, fuzz
from tests.conftest import Own

SECONDS = 30


def test_random_requests_get_no_answer_that_they_should_not(own: Own) -> None:
    seed = int(os.environ.get("FUZZ_SEED") or int.from_bytes(os.urandom(4)))
    report = fuzz(own(env=ENV), SECONDS, seed)
    assert not report.findings, f"FUZZ_SEED={seed}\n{report}"
    assert report.calls.total() > 200
