"""Persistence: RepoService, StoreService, AccountService and AuditService over SQLite or PostgreSQL."""

from gochat.repo.accounts import Accounts
from gochat.repo.audit import Audit
from gochat.repo.bulk import Bulk
from gochat.repo.conversations import Conversations
from gochat.repo.groups import Groups
from gochat.repo.members import Members
from gochat.repo.messages import Messages
from gochat.repo.search import Search
from gochat.repo.sessions import Sessions
from gochat.repo.users import Users
from gochat.storage.database import Database


def handlers(database: Database) -> list[object]:
    """One object a noun; together they serve every RPC of these services."""
    nouns = (Users, Search, Accounts, Sessions, Messages, Bulk, Conversations, Groups, Members, Audit)
    return [noun(database) for noun in nouns]
