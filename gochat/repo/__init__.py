"""Persistence: RepoService, StoreService, AccountService and AuditService over SQLite or PostgreSQL."""

from gochat.repo.accounts import Accounts
from gochat.repo.audit import Audit
from gochat.repo.bulk import Bulk
from gochat.repo.conversations import Conversations, StoreConversations
from gochat.repo.groups import Groups, StoreGroups
from gochat.repo.members import Members
from gochat.repo.messages import Messages
from gochat.repo.search import Search
from gochat.repo.sessions import Sessions
from gochat.repo.users import Users
from gochat.serving.binding import Handlers
from gochat.storage.database import Database


def handlers(database: Database) -> Handlers:
    """The objects that serve every RPC of these services, one a noun; two where the services share names of RPCs."""
    users, messages, members = Users(database), Messages(database), Members(database)
    return {
        "RepoService": (users, messages, Conversations(database), Groups(database), members),
        "StoreService": (
            *(users, Search(database), messages, Bulk(database)),
            *(StoreConversations(database), StoreGroups(database), members),
        ),
        "AccountService": (Accounts(database), Sessions(database)),
        "AuditService": (Audit(database),),
    }
