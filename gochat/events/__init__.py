"""Push: streams of what happens, fed from the change log. service.py has the RPCs, hub.py the streams of a process,
relay.py what processes send each other."""

from gochat.events.hub import Hub
from gochat.events.relay import Relay
from gochat.events.service import Events, Signals
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub
from gochat.internal.signal.v1.signal_pb2_grpc import SignalServiceStub
from gochat.serving.binding import Handlers


def handlers(changes: ChangeServiceStub, signals: SignalServiceStub, hub: Hub) -> Handlers:
    """The objects that serve every RPC of EventService."""
    return {"EventService": (Events(changes, signals, hub),)}


def relay_handlers(relay: Relay) -> Handlers:
    """The objects that serve those RPCs of SignalService which need no database."""
    return {"SignalService": (Signals(relay),)}
