"""Peewee models of the tables. The tables are defined in sql/ alone; a test compares the two."""

from peewee import BigIntegerField, CompositeKey, IntegerField, Model, TextField

# In a conversation of up to so many members each carries its last_seq and updated_at, which lists are ordered by: every
# send writes these rows. In a larger one both columns are LOOKED_UP, newer than everything, and lists read its row.
MAX_INBOX_MEMBERS = 10
LOOKED_UP = 2**62


class User(Model):
    user_id = TextField(primary_key=True)
    username = TextField()
    username_key = TextField(unique=True)
    email = TextField()
    nickname = TextField()
    nickname_key = TextField()
    avatar = TextField()
    bio = TextField()
    role = TextField()
    status = IntegerField()
    password_hash = TextField()
    created_at = BigIntegerField()
    updated_at = BigIntegerField()
    username_shape = TextField(unique=True)
    external_id = TextField(default="")
    is_guest = IntegerField(default=0)

    class Meta:
        table_name = "users"


class Session(Model):
    session_id = TextField(primary_key=True)
    user_id = TextField()
    device_id = TextField()
    refresh_id = TextField()
    created_at = BigIntegerField()
    refreshed_at = BigIntegerField()
    expires_at = BigIntegerField()
    previous_refresh_id = TextField(default="")

    class Meta:
        table_name = "sessions"


class Device(Model):
    user_id = TextField()
    device_id = TextField()
    seen_at = BigIntegerField()

    class Meta:
        table_name = "devices"
        primary_key = CompositeKey("user_id", "device_id")


class Activity(Model):
    user_id = TextField(primary_key=True)
    active_at = BigIntegerField()

    class Meta:
        table_name = "activity"


class EndedSession(Model):
    session_id = TextField(primary_key=True)
    ended_at = BigIntegerField()
    position = BigIntegerField()

    class Meta:
        table_name = "ended_sessions"


class Conversation(Model):
    conversation_id = TextField(primary_key=True)
    type = TextField()
    name = TextField()
    description = TextField()
    avatar = TextField()
    owner_id = TextField()
    max_members = IntegerField()
    member_count = IntegerField()
    last_seq = BigIntegerField()
    created_at = BigIntegerField()
    updated_at = BigIntegerField()
    dissolved_at = BigIntegerField()
    recalled_seq = BigIntegerField(default=0)
    # Of a group: what it lets people do.
    posting = TextField(default="everyone")
    adding = TextField(default="managers")
    editing = TextField(default="managers")
    slow_mode_seconds = IntegerField(default=0)
    joining = TextField(default="open")
    muted_until = BigIntegerField(default=0)
    search_key = TextField(default="")
    position = BigIntegerField(default=0)

    class Meta:
        table_name = "conversations"


class Member(Model):
    conversation_id = TextField()
    user_id = TextField()
    role = TextField()
    read_seq = BigIntegerField()
    hidden_seq = BigIntegerField(default=-1)
    joined_at = BigIntegerField()
    # As of inbox_columns() in gochat/repo/membership.py.
    last_seq = BigIntegerField(default=LOOKED_UP)
    active_at = BigIntegerField(default=LOOKED_UP)
    delivered_seq = BigIntegerField(default=0)
    # The user's own settings.
    quiet_until = BigIntegerField(default=0)
    pinned_at = BigIntegerField(default=0)
    archived = IntegerField(default=0)
    marked_unread = IntegerField(default=0)
    joined_seq = BigIntegerField(default=-1)
    deleted_seq = BigIntegerField(default=0)

    class Meta:
        table_name = "members"
        primary_key = CompositeKey("conversation_id", "user_id")


class RemovedMember(Model):
    conversation_id = TextField()
    user_id = TextField()
    removed_at = BigIntegerField()

    class Meta:
        table_name = "removed_members"
        primary_key = CompositeKey("conversation_id", "user_id")


class FormerMember(Model):
    conversation_id = TextField()
    user_id = TextField()
    hidden_seq = BigIntegerField()

    class Meta:
        table_name = "former_members"
        primary_key = CompositeKey("conversation_id", "user_id")


class MemberDetail(Model):
    conversation_id = TextField()
    user_id = TextField()
    title = TextField(default="")
    group_nickname = TextField(default="")
    group_nickname_key = TextField(default="")
    muted_until = BigIntegerField(default=0)
    last_sent_at = BigIntegerField(default=0)

    class Meta:
        table_name = "member_details"
        primary_key = CompositeKey("conversation_id", "user_id")


class Ban(Model):
    conversation_id = TextField()
    user_id = TextField()
    until = BigIntegerField()
    reason = TextField()
    banned_by = TextField()
    banned_at = BigIntegerField()

    class Meta:
        table_name = "bans"
        primary_key = CompositeKey("conversation_id", "user_id")


class Invitation(Model):
    conversation_id = TextField()
    token = TextField()
    created_by = TextField()
    created_at = BigIntegerField()
    expires_at = BigIntegerField()
    max_uses = IntegerField()
    uses = IntegerField()

    class Meta:
        table_name = "invitations"
        primary_key = CompositeKey("conversation_id", "token")


class JoinRequest(Model):
    conversation_id = TextField()
    user_id = TextField()
    note = TextField()
    requested_at = BigIntegerField()

    class Meta:
        table_name = "join_requests"
        primary_key = CompositeKey("conversation_id", "user_id")


class Send(Model):
    conversation_id = TextField()
    from_user_id = TextField()
    client_msg_id = TextField()
    seq = BigIntegerField()
    digest = TextField()

    class Meta:
        table_name = "sends"
        primary_key = CompositeKey("conversation_id", "from_user_id", "client_msg_id")


class Message(Model):
    conversation_id = TextField()
    seq = BigIntegerField()
    from_user_id = TextField()
    to_user_id = TextField()
    content = TextField()
    message_type = TextField()
    status = IntegerField()
    metadata = TextField()
    created_at = BigIntegerField()
    updated_at = BigIntegerField()
    edited_at = BigIntegerField(default=0)
    reply_seq = BigIntegerField(default=0)
    forwarded_user_id = TextField(default="")
    forwarded_at = BigIntegerField(default=0)
    pinned_by = TextField(default="")
    pinned_at = BigIntegerField(default=0)
    reactions = TextField(default="")

    class Meta:
        table_name = "messages"
        primary_key = CompositeKey("conversation_id", "seq")


class MessageVersion(Model):
    conversation_id = TextField()
    seq = BigIntegerField()
    version = BigIntegerField()
    content = TextField()
    created_at = BigIntegerField()
    replaced_at = BigIntegerField()
    replaced_by = TextField()

    class Meta:
        table_name = "message_versions"
        primary_key = CompositeKey("conversation_id", "seq", "version")


class Reaction(Model):
    conversation_id = TextField()
    seq = BigIntegerField()
    user_id = TextField()
    reaction = TextField()
    number = BigIntegerField()
    created_at = BigIntegerField()

    class Meta:
        table_name = "reactions"
        primary_key = CompositeKey("conversation_id", "seq", "user_id", "reaction")


class Mention(Model):
    conversation_id = TextField()
    user_id = TextField()
    seq = BigIntegerField()

    class Meta:
        table_name = "mentions"
        primary_key = CompositeKey("conversation_id", "user_id", "seq")


class OwnDeletion(Model):
    conversation_id = TextField()
    user_id = TextField()
    seq = BigIntegerField()

    class Meta:
        table_name = "own_deletions"
        primary_key = CompositeKey("conversation_id", "user_id", "seq")


class PushToken(Model):
    token_id = TextField(primary_key=True)
    user_id = TextField()
    session_id = TextField()
    device_id = TextField()
    platform = TextField()
    token = TextField()
    p256dh = TextField()
    auth = TextField()
    registered_at = BigIntegerField()

    class Meta:
        table_name = "push_tokens"


class PushPending(Model):
    conversation_id = TextField()
    user_id = TextField()
    first_seq = BigIntegerField()
    seq = BigIntegerField()
    due_at = BigIntegerField()
    notified_at = BigIntegerField()
    was_connected = IntegerField()

    class Meta:
        table_name = "push_pending"
        primary_key = CompositeKey("conversation_id", "user_id")


class PushDelivery(Model):
    token_id = TextField()
    conversation_id = TextField()
    seq = BigIntegerField()
    attempts = IntegerField()
    due_at = BigIntegerField()
    expires_at = BigIntegerField()

    class Meta:
        table_name = "push_deliveries"
        primary_key = CompositeKey("token_id", "conversation_id")


class Secret(Model):
    name = TextField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "secrets"


class AuditEvent(Model):
    event_id = TextField(primary_key=True)
    at = BigIntegerField()
    actor_id = TextField()
    actor_role = TextField()
    action = TextField()
    target_id = TextField()
    detail = TextField()
    outcome = TextField()
    peer = TextField()
    request_id = TextField()
    acted_by = TextField(default="")

    class Meta:
        table_name = "audit_log"


class Webhook(Model):
    webhook_id = TextField(primary_key=True)
    url = TextField()
    description = TextField()
    events = TextField()
    conversation_ids = TextField()
    message_types = TextField()
    enabled = IntegerField()
    disabled_reason = TextField()
    secret = TextField()
    previous_secret = TextField()
    previous_until = BigIntegerField()
    created_at = BigIntegerField()
    updated_at = BigIntegerField()

    class Meta:
        table_name = "webhooks"


class WebhookDelivery(Model):
    webhook_id = TextField()
    number = BigIntegerField()
    delivery_id = TextField()
    event = TextField()
    lane = TextField()
    change = TextField()
    change_index = IntegerField()
    state = TextField()
    attempts = IntegerField()
    next_attempt_at = BigIntegerField()
    created_at = BigIntegerField()
    last_error = TextField()

    class Meta:
        table_name = "webhook_deliveries"
        primary_key = CompositeKey("webhook_id", "number")


# Tables come after those that they refer to.
ALL = (
    *(User, Activity, Session, Device, EndedSession, Conversation, Member, RemovedMember, FormerMember),
    *(MemberDetail, Ban, Invitation, JoinRequest),
    *(Send, Message, Secret, AuditEvent),
    *(MessageVersion, Reaction, Mention, OwnDeletion),
    *(Webhook, WebhookDelivery),
    *(PushToken, PushPending, PushDelivery),
)
