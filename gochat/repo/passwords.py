"""Password hashes: argon2id."""

import os
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

# OWASP's Password Storage Cheat Sheet names 19 MiB, 2 passes, 1 lane as the least for argon2id.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Each hash takes a core and 19 MiB for its time: no more at once than there are cores.
_places = threading.Semaphore(os.cpu_count() or 1)


def hashed(password: str) -> str:
    with _places:
        return _hasher.hash(password)


_OF_NOBODY = hashed("")


def matches(password_hash: str | None, password: str) -> bool:
    """Does the same work where there is no hash, so that time does not tell whether the user exists."""
    with _places:
        try:
            return _hasher.verify(password_hash or _OF_NOBODY, password) and password_hash is not None
        except (VerifyMismatchError, InvalidHashError):
            return False
