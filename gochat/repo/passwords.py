"""Password hashes: argon2id."""

import os
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

# OWASP's Password Storage Cheat Sheet names 19 MiB, 2 passes, 1 lane as the least for argon2id.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

place = threading.Semaphore(max(1, (os.cpu_count() or 1) - 1))
"""Each hash takes a core and 19 MiB for its time: one core is left to everything else."""


def hashed(password: str) -> str:
    with place:
        return _hasher.hash(password)


_OF_NOBODY = _hasher.hash("")


def matches(password_hash: str | None, password: str) -> bool:
    """Does the same work where there is no hash, so that time does not tell whether the user exists. The caller holds a
    place."""
    try:
        return _hasher.verify(password_hash or _OF_NOBODY, password) and password_hash is not None
    except (VerifyMismatchError, InvalidHashError):
        return False
