"""Persistence: the services of the repo half, over SQLite or PostgreSQL."""

from gochat.config import Messages as MessageSettings
from gochat.domain.rates import OWN_COUNTS, Counts
from gochat.repo.accounts import Accounts
from gochat.repo.activity import Activity
from gochat.repo.administration import Administration
from gochat.repo.audit import Audit
from gochat.repo.conversations import Conversations, StoreConversations
from gochat.repo.deletion import Deletion
from gochat.repo.editing import Editing
from gochat.repo.feed import Feed
from gochat.repo.group_settings import GroupSettings
from gochat.repo.groups import Groups, StoreGroups
from gochat.repo.importing import Importing
from gochat.repo.inbox import Inbox
from gochat.repo.inboxes import Inboxes
from gochat.repo.invitations import Invitations
from gochat.repo.logins import Logins
from gochat.repo.member_details import MemberDetails
from gochat.repo.members import Members
from gochat.repo.message_details import MessageDetails
from gochat.repo.messages import Messages
from gochat.repo.moderation import Moderation
from gochat.repo.notifying import Notifying
from gochat.repo.pins import Pins
from gochat.repo.push_deliveries import PushDeliveries
from gochat.repo.push_tokens import PushTokens
from gochat.repo.reactions import Reactions
from gochat.repo.readers import Readers
from gochat.repo.receipts import Receipts
from gochat.repo.requests import Requests
from gochat.repo.roles import Roles
from gochat.repo.search import Search
from gochat.repo.sending import Sending
from gochat.repo.sessions import Sessions
from gochat.repo.settings import Settings
from gochat.repo.states import States
from gochat.repo.together import Together
from gochat.repo.users import Users
from gochat.repo.webhooks import Outbox, Webhooks
from gochat.serving.binding import Handlers
from gochat.storage.database import Database


def handlers(database: Database, settings: MessageSettings, inboxes: Inboxes, counts: Counts = OWN_COUNTS) -> Handlers:
    """The objects that serve every RPC of these services, one a noun; two where the services share names of RPCs."""
    users, messages, sending = Users(database), Messages(database), Sending(database)
    members = Members(database)
    return {
        "RepoService": (
            users,
            Deletion(database),
            messages,
            sending,
            Conversations(database, inboxes),
            Groups(database),
            members,
        ),
        "StoreService": (
            *(users, Search(database), messages, sending, Together(database, inboxes)),
            *(StoreConversations(database, inboxes), StoreGroups(database), members),
        ),
        "GroupStoreService": (
            *(Roles(database), Moderation(database), GroupSettings(database)),
            *(Invitations(database), Requests(database), MemberDetails(database)),
        ),
        "MessageStoreService": (
            *(MessageDetails(database), Editing(database, settings.edit_within)),
            *(Reactions(database), Pins(database), Importing(database)),
        ),
        "AccountService": (Accounts(database, counts), Sessions(database)),
        "LoginStoreService": (Logins(database),),
        "ChangeService": (Feed(database), States(database)),
        "ReaderService": (Readers(database),),
        "SignalService": (Activity(database),),
        "AuditService": (Audit(database),),
        "UserStoreService": (Administration(database),),
        "WebhookStoreService": (Webhooks(database), Outbox(database)),
        "PushStoreService": (PushTokens(database), Notifying(database), PushDeliveries(database)),
        "ConversationStoreService": (Inbox(database, inboxes), Settings(database), Receipts(database)),
    }
