-- Where a device gets notifications. A token ends with its session; one whose session is not there, or has expired, does
-- not count.
CREATE TABLE push_tokens (
    token_id      TEXT   NOT NULL PRIMARY KEY,  -- a hash of platform and token: of two users the later one has it
    user_id       TEXT   NOT NULL REFERENCES users,
    session_id    TEXT   NOT NULL,              -- '': of none, registered by a service
    device_id     TEXT   NOT NULL,
    platform      TEXT   NOT NULL,              -- apns, fcm, webpush, custom
    token         TEXT   NOT NULL,              -- of webpush: the endpoint
    p256dh        TEXT   NOT NULL,              -- of webpush, as auth: the keys of the subscription, base64url
    auth          TEXT   NOT NULL,
    registered_at BIGINT NOT NULL
);
CREATE INDEX push_tokens_by_user ON push_tokens (user_id, registered_at);
CREATE INDEX push_tokens_by_session ON push_tokens (session_id);

-- Who may have to be notified of what was sent in a conversation, or was lately.
CREATE TABLE push_pending (
    conversation_id TEXT    NOT NULL REFERENCES conversations,
    user_id         TEXT    NOT NULL REFERENCES users,
    first_seq       BIGINT  NOT NULL,  -- the messages; 0: none
    seq             BIGINT  NOT NULL,
    due_at          BIGINT  NOT NULL,  -- when this is judged, in Unix milliseconds; without a message: forgotten
    notified_at     BIGINT  NOT NULL,  -- the last time; 0: never
    was_connected   INTEGER NOT NULL,  -- 1: they had a stream when this was judged first
    PRIMARY KEY (conversation_id, user_id)
);
CREATE INDEX push_pending_by_due ON push_pending (due_at);

-- Notifications to be sent to browsers: of a subscription and a conversation the newest one.
CREATE TABLE push_deliveries (
    token_id        TEXT    NOT NULL REFERENCES push_tokens ON DELETE CASCADE,
    conversation_id TEXT    NOT NULL,
    seq             BIGINT  NOT NULL,
    attempts        INTEGER NOT NULL,
    due_at          BIGINT  NOT NULL,
    expires_at      BIGINT  NOT NULL,
    PRIMARY KEY (token_id, conversation_id)
);
CREATE INDEX push_deliveries_by_due ON push_deliveries (due_at);
