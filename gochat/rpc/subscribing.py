"""A streaming RPC of a handler, as a state machine of the serving loop: see calls.py, whose rules hold here too.

It begins as a unary call does: one request, admitted and run by an executor, which returns a Subscription or an error.
With the Subscription the call counts as answered, so its latency is the time until the stream was opened. Then messages
are sent, one at a time, each when the one before was sent; so a client that does not read costs one message here, and
the rest is the Subscription's to bound. A message that is not taken in time ends the stream, not its connection.

Threads: the executor's calls `on_done`, which sets `_subscription` as the last thing before it wakes the loop; so the
loop sees either none, or one that is complete. `wake` of the Subscription is called by any thread, and has the loop
pump the call between two operations. Everything else is called on the serving thread.
"""

import logging
import time

from gochat.rpc import grpcio_internals as core
from gochat.rpc.calls import UnaryCall
from gochat.rpc.state import State
from gochat.serving.call import ServerCall
from gochat.serving.connections import SEND_TIMEOUT, Connection
from gochat.serving.endpoints import FAILED, Status, Subscription, UnaryEndpoint

log = logging.getLogger(__name__)


class SubscribeCall(UnaryCall):
    """_subscription: from its opening until it is closed. _begun: a message was sent. _sending: a message or the status
    is being sent. _ending: the status is. _is_ready: it is to be pumped already."""

    __slots__ = ("_begun", "_ending", "_is_ready", "_sending", "_subscription")

    def __init__(self, state: State, connection: Connection, event: core.Event, endpoint: UnaryEndpoint) -> None:
        super().__init__(state, connection, event, endpoint)
        self._subscription: Subscription | None = None
        self._begun = self._sending = self._ending = self._is_ready = False

    def on_done(self, call: ServerCall) -> None:
        if call.failed:
            super().on_done(call)
            return
        subscription: Subscription = call.response
        subscription.wake = self._wake
        self._subscription = subscription
        self._wake()

    def _wake(self) -> None:
        """Any thread. A call that is to be pumped already is not added again: `pump` clears the mark, then looks."""
        if not self._is_ready:
            self._is_ready = True
            self._state.pump_soon(self)

    def pump(self) -> None:
        """Sends the next message, or the status, if nothing is being sent; closes the stream if its client has left."""
        self._is_ready = False
        if self._subscription is None:
            return
        if self._server_call is not None:
            self._open(self._server_call)
        if self._cancelled:
            self._close()
        elif not self._sending:
            self._send_next(self._subscription)

    def _open(self, call: ServerCall) -> None:
        """The call is answered. What belongs to it is dropped, since a stream stays for an hour."""
        self._state.connections.stream_opened(self.connection)
        call.record_outcome(not self._cancelled)
        self._server_call, self._metadata = None, ()
        self.on_wait()

    def _send_next(self, subscription: Subscription) -> None:
        try:
            data = subscription.next()
            status = subscription.over if data is None else None
        except Exception:
            log.exception("%s failed", self._endpoint.method.path)
            data, status = None, FAILED
        if data is not None:
            core.send_message(self.call, data, self._on_message_sent, first=not self._begun)
            self._begun = True
            self._send_started(len(data))
        elif status is not None:
            self._end(status)

    def _end(self, status: Status) -> None:
        core.send_end(self.call, None, *status, self._on_message_sent, first=not self._begun)
        self._ending = True
        self._send_started(0)

    def _send_started(self, size: int) -> None:
        self._sending, self._size = True, size
        self._state.sending[self] = time.monotonic() + SEND_TIMEOUT
        self._state.connections.send_started(self.connection, size)

    def _on_message_sent(self, event: core.Event) -> None:
        self._sending = False
        del self._state.sending[self]
        self._state.connections.send_ended(self.connection, self._size, taken=event.success)
        if self._ending or not event.success:
            self._close()
        else:
            self.pump()
        self._forget_if_over()  # also where it was closed while this was being sent

    def _on_close(self, event: core.Event) -> None:  # noqa: ARG002 - a tag
        self._close_pending, self._cancelled = False, True
        self.pump()
        self._forget_if_over()

    def _close(self) -> None:
        """The status was sent, or the client has left. The Subscription, which others may keep, lets go of the call."""
        if (subscription := self._subscription) is None:
            return
        self._subscription, self._over = None, True
        subscription.wake = _do_nothing
        self._state.connections.stream_ended(self.connection)
        self._forget_if_over()
        subscription.closed()

    def _forget_if_over(self) -> None:
        if not self._sending:
            super()._forget_if_over()


def _do_nothing() -> None:
    pass
