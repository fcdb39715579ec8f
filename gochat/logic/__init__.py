"""Business rules: the services that apps call, but for EventService, over the repo's services as generated stubs."""

from collections.abc import Callable, Collection

from gochat.api.repo.v1.repo_pb2_grpc import RepoServiceStub
from gochat.config import Auth as AuthSettings
from gochat.config import Push as PushSettings
from gochat.domain.tokens import Tokens
from gochat.internal.account.v1.account_pb2_grpc import AccountServiceStub
from gochat.internal.conversation.v1.conversation_pb2_grpc import ConversationStoreServiceStub
from gochat.internal.group.v1.group_pb2_grpc import GroupStoreServiceStub
from gochat.internal.login.v1.login_pb2_grpc import LoginStoreServiceStub
from gochat.internal.message.v1.message_pb2_grpc import MessageStoreServiceStub
from gochat.internal.push.v1.push_pb2_grpc import PushStoreServiceStub
from gochat.internal.store.v1.store_pb2_grpc import StoreServiceStub
from gochat.internal.user.v1.user_pb2_grpc import UserStoreServiceStub
from gochat.logic.administration import Administration
from gochat.logic.auth import Auth
from gochat.logic.before_send import Ask
from gochat.logic.bulk import Bulk
from gochat.logic.conversations import Conversations
from gochat.logic.group_acts import GroupActs
from gochat.logic.groups import Groups
from gochat.logic.inbox import Inbox
from gochat.logic.logins import Logins
from gochat.logic.message_acts import MessageActs
from gochat.logic.messages import Messages
from gochat.logic.push import Push
from gochat.logic.sessions import Sessions
from gochat.logic.users import Users
from gochat.serving.binding import Handlers


def handlers(
    repo: RepoServiceStub,
    store: StoreServiceStub,
    accounts: AccountServiceStub,
    messages: MessageStoreServiceStub,
    conversations: ConversationStoreServiceStub,
    groups: GroupStoreServiceStub,
    users: UserStoreServiceStub,
    tokens: Tokens,
    settings: AuthSettings,
    logins: LoginStoreServiceStub,
    origins: Callable[[], Collection[str]],
    push: PushStoreServiceStub,
    push_settings: PushSettings,
    ask: Ask | None,
) -> Handlers:
    """The objects that serve every RPC of these services, one a noun. origins: of pages that may have users sign in.
    ask: before a user's message is stored. Raises ConfigError."""
    auth = Auth(accounts, tokens, settings)
    return {
        "LogicService": (
            auth,
            Users(store),
            Messages(repo, store, ask),
            Conversations(repo, store),
            Groups(repo, store),
        ),
        "SessionService": (auth, Sessions(accounts), Logins(logins, auth, tokens, settings, origins)),
        "GroupService": (GroupActs(groups),),
        "ConversationService": (Inbox(conversations),),
        "MessageService": (Bulk(store, ask), MessageActs(messages, ask)),
        "UserService": (Administration(users),),
        "PushService": (Push(push, private_endpoints=push_settings.private_endpoints),),
    }
