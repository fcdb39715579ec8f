"""Guesses at passwords: which attempts are heard, and which failures count where.

Strangers who guess at a name delay further sign-ins by that name, and those who guess from an address those from there,
but nobody who has shown to be the owner of the name: a device that has signed in before, and a live session, have
counts of their own (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"). What a failed sign-in is answered
depends on the address and on the name's count alone, so that it shows neither whether the name exists nor which devices
it has. The counts are kept by the password's hash too: a new password begins without
failures, in every process.
"""

from typing import NamedTuple

from gochat.domain.rates import Failures
from gochat.errors import ChatError, limited


class Attempt(NamedTuple):
    """The counts of an attempt. delays: the one whose delay it is answered. excuses: one by which it is heard
    nevertheless, while that has no delay itself; "" for none. also: one that counts its failure, and delays others.
    may_be_heard: there might be one that excuses it, by what the attempt says of itself. address_delay: seconds for
    which nothing else is heard from its address."""

    delays: str
    excuses: str = ""
    also: str = ""
    may_be_heard: bool = False
    address_delay: float = 0.0


def signing_in(
    name: str, password_hash: str, device_id: str, *, is_known_device: bool, address_delay: float = 0.0
) -> Attempt:
    """name: its skeleton. password_hash: "" for a name that nobody has."""
    of_name = _of_name(name, password_hash)
    of_device = f"{of_name}\0{device_id}" if device_id and is_known_device else ""
    return Attempt(of_name, excuses=of_device, may_be_heard=bool(device_id), address_delay=address_delay)


def changing(name: str, password_hash: str, session_id: str) -> Attempt:
    """Of the old password, by one who is signed in."""
    return Attempt(f"session\0{session_id}", also=_of_name(name, password_hash))


def address_limited(delay: float) -> ChatError:
    return limited("too many failed sign-ins from your address", "ADDRESS_LIMITED", delay)


def _of_name(name: str, password_hash: str) -> str:
    return f"name\0{name}\0{password_hash}"


class Guesses:
    def __init__(self, failures: Failures) -> None:
        self._failures = failures

    def admit(self, attempt: Attempt) -> tuple[float, bool]:
        """(seconds until the next attempt is heard, is this one heard)."""
        wait = self._wait(attempt)
        return wait, not wait or (attempt.excuses != "" and not self._failures.wait(attempt.excuses))

    def failed(self, attempt: Attempt) -> None:
        """An attempt during a delay does not lengthen it, whether or not it was heard."""
        was_delayed = self._wait(attempt) > 0
        for count in (attempt.excuses, *([] if was_delayed else [attempt.delays, attempt.also])):
            if count and not self._failures.wait(count):
                self._failures.failed(count)

    def succeeded(self, attempt: Attempt) -> None:
        for count in (attempt.delays, attempt.excuses, attempt.also):
            self._failures.succeeded(count)

    def _wait(self, attempt: Attempt) -> float:
        return attempt.address_delay or self._failures.wait(attempt.delays)
