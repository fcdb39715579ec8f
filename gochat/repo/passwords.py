"""Password hashes: argon2id."""

import os
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

# The minimum for argon2id in OWASP's Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

hashing_slots = threading.Semaphore(max(1, (os.cpu_count() or 1) - 1))
"""A hash takes a whole core and 19 MiB while it is computed; one core is left to everything else."""


def hashed(password: str) -> str:
    with hashing_slots:
        return _hasher.hash(password)


_HASH_OF_NOBODY = _hasher.hash("")


def matches(password_hash: str | None, password: str) -> bool:
    """Takes as long where there is no hash, so that the time does not show whether the user exists. The caller holds a
    hashing slot."""
    try:
        return _hasher.verify(password_hash or _HASH_OF_NOBODY, password) and password_hash is not None
    except (VerifyMismatchError, InvalidHashError):
        return False
