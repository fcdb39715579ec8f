"""How long to wait before trying again."""

import random
from collections.abc import Iterator


def full_jitter(first: float, most: float) -> Iterator[float]:
    """Seconds, each random from 0 to a limit that doubles from the first to the most: so that clients which lost a
    server at the same time do not come back at the same time."""
    limit = first
    while True:
        yield random.uniform(0, min(limit, most))  # noqa: S311 - no secret
        limit = min(limit * 2, most)
