"""Every service that GoChat offers: which half serves it, and who it is for.

What lists services takes them from here. A new one is an entry, beside its rules in domain/access.py, its forms in
domain/forms and its handlers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from gochat.api.audit.v1 import audit_pb2
from gochat.api.conversation.v1 import conversation_pb2
from gochat.api.event.v1 import event_pb2
from gochat.api.group.v1 import group_pb2
from gochat.api.logic.v1 import logic_pb2
from gochat.api.message.v1 import message_pb2
from gochat.api.push.v1 import push_pb2
from gochat.api.repo.v1 import repo_pb2
from gochat.api.session.v1 import session_pb2
from gochat.api.user.v1 import user_pb2
from gochat.api.webhook.v1 import webhook_pb2
from gochat.internal.account.v1 import account_pb2
from gochat.internal.change.v1 import change_pb2
from gochat.internal.conversation.v1 import conversation_pb2 as conversation_store_pb2
from gochat.internal.group.v1 import group_pb2 as group_store_pb2
from gochat.internal.login.v1 import login_pb2
from gochat.internal.message.v1 import message_pb2 as message_store_pb2
from gochat.internal.push.v1 import push_pb2 as push_store_pb2
from gochat.internal.reader.v1 import reader_pb2
from gochat.internal.signal.v1 import signal_pb2
from gochat.internal.store.v1 import store_pb2
from gochat.internal.user.v1 import user_pb2 as user_store_pb2
from gochat.internal.webhook.v1 import webhook_pb2 as webhook_store_pb2

LOGIC, REPO = "logic", "repo"
"""The two halves."""


class Audience(Enum):
    APPS = "apps and bots, in the name of a user"
    BACKENDS = "backends, by tokens of role service or admin; by HTTP too"
    SERVICES = "backends and operators' tools, by tokens of role service or admin"
    INTERNAL = "the other half and operators' tools, by tokens of role service or admin"


@dataclass(frozen=True)
class Service:
    descriptor: ServiceDescriptor
    half: str
    audience: Audience


SERVICES = tuple(
    Service(file.DESCRIPTOR.services_by_name[name], half, audience)
    for file, name, half, audience in (
        (logic_pb2, "LogicService", LOGIC, Audience.APPS),
        (session_pb2, "SessionService", LOGIC, Audience.APPS),
        (message_pb2, "MessageService", LOGIC, Audience.APPS),
        (group_pb2, "GroupService", LOGIC, Audience.APPS),
        (event_pb2, "EventService", LOGIC, Audience.APPS),
        (conversation_pb2, "ConversationService", LOGIC, Audience.APPS),
        (push_pb2, "PushService", LOGIC, Audience.APPS),
        (user_pb2, "UserService", LOGIC, Audience.BACKENDS),
        (webhook_pb2, "WebhookService", LOGIC, Audience.BACKENDS),
        (repo_pb2, "RepoService", REPO, Audience.SERVICES),
        (store_pb2, "StoreService", REPO, Audience.INTERNAL),
        (group_store_pb2, "GroupStoreService", REPO, Audience.INTERNAL),
        (message_store_pb2, "MessageStoreService", REPO, Audience.INTERNAL),
        (account_pb2, "AccountService", REPO, Audience.INTERNAL),
        (login_pb2, "LoginStoreService", REPO, Audience.INTERNAL),
        (change_pb2, "ChangeService", REPO, Audience.INTERNAL),
        (reader_pb2, "ReaderService", REPO, Audience.INTERNAL),
        (signal_pb2, "SignalService", REPO, Audience.INTERNAL),
        (audit_pb2, "AuditService", REPO, Audience.SERVICES),
        (conversation_store_pb2, "ConversationStoreService", REPO, Audience.INTERNAL),
        (user_store_pb2, "UserStoreService", REPO, Audience.INTERNAL),
        (webhook_store_pb2, "WebhookStoreService", REPO, Audience.INTERNAL),
        (push_store_pb2, "PushStoreService", REPO, Audience.INTERNAL),
    )
)


def served_by(*halves: str) -> tuple[Service, ...]:
    return tuple(service for service in SERVICES if service.half in halves)


def path_of(rpc: MethodDescriptor) -> str:
    """As gRPC writes it."""
    return f"/{rpc.containing_service.full_name}/{rpc.name}"


def rpcs(services: Iterable[Service] = SERVICES) -> dict[str, MethodDescriptor]:
    """By path, in the order of the contract."""
    return {path_of(rpc): rpc for service in services for rpc in service.descriptor.methods}
