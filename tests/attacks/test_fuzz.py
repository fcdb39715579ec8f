"""Half a minute of the fuzz; python -m tests.attacks.fuzz runs it for as long as one likes."""

import os

from tests.attacks.fuzz import ENV, fuzz
from tests.conftest import Own

SECONDS = 30


def test_random_requests_get_only_answers_that_clients_may_get(own: Own) -> None:
    seed = int(os.environ.get("FUZZ_SEED") or int.from_bytes(os.urandom(4)))
    report = fuzz(own(env=ENV), SECONDS, seed)
    assert not report.findings, f"FUZZ_SEED={seed}\n{report}"
    assert report.calls.total() > 200
