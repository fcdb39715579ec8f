"""A streaming RPC of a handler, as a state machine of the serving loop: see calls.py, whose rules hold here too.

It begins as a unary call does: one request, admitted and run by an executor, which returns a Subscription or an error.
Then its messages are sent, one at a time, each when the one before was sent; so a client that does not read costs one
message here, and the rest is the Subscription's to bound. `wake` of the Subscription is called by any thread, and has
the loop pump the call between two operations.
"""

from gochat.rpc import grpcio_internals as core
from gochat.rpc.calls import UnaryCall
from gochat.rpc.state import State
from gochat.serving.call import ServerCall
from gochat.serving.connections import Connection
from gochat.serving.endpoints import Status, Subscription, UnaryEndpoint


class SubscribeCall(UnaryCall):
    """_sending: a message or the status is being sent. _ending: the status is."""

    __slots__ = ("_begun", "_ending", "_is_ready", "_sending", "_subscription")

    def __init__(self, state: State, connection: Connection, event: core.Event, endpoint: UnaryEndpoint) -> None:
        super().__init__(state, connection, event, endpoint)
        self._subscription: Subscription | None = None
        self._begun = self._sending = self._ending = self._is_ready = False

    def on_done(self, call: ServerCall) -> None:
        """By the executor's thread."""
        if call.failed:
            super().on_done(call)
            return
        self._subscription = call.response
        self._state.connections.send_started(self.connection, 0, ran=True)  # it does not count as waiting any more
        self._state.connections.send_ended(self.connection, 0, taken=True)
        self._subscription.wake = self._wake
        self._wake()

    def _wake(self) -> None:
        """Any thread. A call that is to be pumped already is not added again: `pump` clears the mark, then looks."""
        if not self._is_ready:
            self._is_ready = True
            self._state.pump_soon(self)

    def pump(self) -> None:
        """Serving thread: sends the next message, or the status, if nothing is being sent."""
        self._is_ready = False
        subscription = self._subscription
        if subscription is None or self._sending or self._over:
            return
        if not self._watches_close:
            self.on_wait()
        data = subscription.next()
        if data is not None:
            self._sending = True
            self._size = len(data)
            self._state.connections.send_started(self.connection, self._size)
            core.send_message(self.call, data, self._on_message_sent, first=not self._begun)
            self._begun = True
        elif (status := subscription.over) is not None:
            self._end(status)

    def _end(self, status: Status) -> None:
        self._sending = self._ending = True
        self._size = 0
        self._state.connections.send_started(self.connection, 0)
        core.send_end(self.call, None, *status, self._on_message_sent, first=not self._begun)

    def _on_message_sent(self, event: core.Event) -> None:
        self._sending = False
        self._state.connections.send_ended(self.connection, self._size, taken=event.success)
        if self._ending or not event.success:
            self._close(delivered=event.success)
        else:
            self.pump()
        self._forget_if_over()

    def _on_close(self, event: core.Event) -> None:
        self._close(delivered=False)
        super()._on_close(event)

    def _close(self, *, delivered: bool) -> None:
        """The status was sent, or the client has left."""
        if self._subscription is None or self._server_call is None:
            return
        self._over = True
        self._server_call.record_outcome(delivered)
        self._subscription.closed()
        self._server_call = self._subscription = None

    def _forget_if_over(self) -> None:
        if not self._sending:
            super()._forget_if_over()
