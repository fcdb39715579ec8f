"""Push: streams of what happens, fed from the change log. service.py has the RPCs, hub.py the streams of a process."""

from gochat.events.hub import Hub
from gochat.events.service import Events
from gochat.internal.change.v1.change_pb2_grpc import ChangeServiceStub
from gochat.serving.binding import Handlers


def handlers(changes: ChangeServiceStub, hub: Hub) -> Handlers:
    """The objects that serve every RPC of EventService."""
    return {"EventService": (Events(changes, hub),)}
