"""Runs short calls on the serving thread itself, and notices where one is not short after all."""

import threading
import time
from collections.abc import Callable

from gochat.context import Lane, TooLongError
from gochat.serving.call import Executor, ServerCall

DEVICE_PAUSE = 1.0  # seconds without inline reads after one had to wait for a device
USER_PAUSE = 0.05  # seconds without a user's inline reads after one of theirs took too long
MAX_SLOW_USERS = 1000  # users whose reads are pooled for that reason; beyond it all are forgotten


class Inline:
    """Runs calls on the serving thread, while every other call waits.

    Two threads meet here. The serving thread executes the calls. The watchdog calls `take_over`, now and then, to see
    whether the call that runs has to wait for a disk; if so, another thread is to serve from then on.

    Both may want to decide about the same call: the serving thread because the call has ended, the watchdog because it
    takes too long. `_running` holds the call's number and start time, and the thread that gets the entry out of it has
    decided. That is safe without a lock, since dict.pop is atomic in CPython: exactly one of two concurrent pops gets
    the entry. A serving thread that comes back and does not find its entry knows that it was replaced: it puts its
    identifier into `replaced`, answers its call, and the loop that it returns to ends (rpc/loop.py, `_serve`).
    """

    def __init__(self, fallback: Executor) -> None:
        """fallback: the executor of calls that take too long."""
        self._fallback = fallback
        self._running: dict[int, float] = {}  # number of the call -> when it began; at most one entry
        self._slow: dict[str, float] = {}  # user, or "" for everybody -> until when their reads are pooled
        self.executed = 0
        self.replaced: set[int] = set()  # identifiers of serving threads

    def execute(self, call: ServerCall) -> None:
        """An Executor, on the serving thread. A call in another lane is on a thread of a pool, and goes to the
        fallback."""
        if call.call.lane is not Lane.INLINE:
            self._fallback(call)
            return
        self.executed = number = self.executed + 1
        self._running[number] = time.monotonic()
        error: Exception | None = None
        try:
            call.run(call.call)
        except Exception as raised:  # noqa: BLE001 - it is the answer
            error = raised
        if self._running.pop(number, None) is None:
            self.replaced.add(threading.get_ident())
        if isinstance(error, TooLongError):
            if user := call.call.caller.user_id:
                self._pause(user, USER_PAUSE)
            self._fallback(call)
        else:
            call.done(error)

    def execute_read(self, call: ServerCall) -> None:
        """An Executor for calls that may read from a disk. For a while after a read had to wait for it, reads go to the
        fallback; so do a user's reads after one of theirs took too long, since many of the same kind, one after the
        other, would hold up everybody."""
        if self._slow and time.monotonic() < max(
            self._slow.get(call.call.caller.user_id, 0.0), self._slow.get("", 0.0)
        ):
            self._fallback(call)
        else:
            self.execute(call)

    def take_over(self, seconds: float, waits: Callable[[], bool]) -> bool:
        """Called by the watchdog. True if a call has run for so many seconds and waits() confirms that its thread is
        waiting; then that thread serves no more after this call, and for a while reads are not run inline."""
        for number, began in list(self._running.items()):
            if time.monotonic() - began >= seconds and waits() and self._running.pop(number, None) is not None:
                self._pause("", DEVICE_PAUSE)
                return True
        return False

    def _pause(self, user: str, seconds: float) -> None:
        if len(self._slow) >= MAX_SLOW_USERS:
            self._slow.clear()
        self._slow[user] = time.monotonic() + seconds
