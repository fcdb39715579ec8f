"""Password hashes: argon2id."""

import os
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from gochat.domain.text import opaque

# The minimum for argon2id in OWASP's Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

hashing_slots = threading.Semaphore(max(1, (os.cpu_count() or 1) - 1))
"""A hash takes a whole core and 19 MiB while it is computed; one core is left to everything else."""


def hashed(password: str) -> str:
    with hashing_slots:
        return _hasher.hash(opaque(password))


_HASH_OF_NOBODY = (  # of some password, with the parameters of _hasher
    "$argon2id$v=19$m=19456,t=2,p=1$NDy2zVpqO+9X9fQA22EvAw$9tHeLFaXgyD+n9gsYz+63Yu3bFLs3J5YCOM3nkiT3c8"
)


def matches(password_hash: str, password: str) -> bool:
    """password_hash: "" takes as long, so that the time does not show whether the user exists. The caller holds a
    hashing slot. Hashes made before passwords were prepared are of the password as it was typed; both are compared,
    whichever is right, so that the time does not show it to a client that is not heard."""
    spellings = dict.fromkeys((opaque(password), password))
    found = [_verified(password_hash or _HASH_OF_NOBODY, spelling) for spelling in spellings]
    return any(found) and password_hash != ""


def _verified(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerifyMismatchError, InvalidHashError):
        return False
