-- What people do with messages: edit them, answer, react, mention, forward, pin, delete them for themselves.

-- What belongs to one message is in its row, so that a page of messages is read without looking elsewhere. Recall and
-- deletion empty all of it.
ALTER TABLE messages ADD COLUMN edited_at BIGINT NOT NULL DEFAULT 0;          -- 0: never
ALTER TABLE messages ADD COLUMN reply_seq BIGINT NOT NULL DEFAULT 0;          -- of the message that it answers; 0: none
ALTER TABLE messages ADD COLUMN forwarded_user_id TEXT NOT NULL DEFAULT '';   -- who said first what is forwarded,
ALTER TABLE messages ADD COLUMN forwarded_at BIGINT NOT NULL DEFAULT 0;       -- and when; 0: it is not forwarded
ALTER TABLE messages ADD COLUMN pinned_by TEXT NOT NULL DEFAULT '';           -- '' for a service
ALTER TABLE messages ADD COLUMN pinned_at BIGINT NOT NULL DEFAULT 0;          -- 0: it is not
-- The sum of table reactions: a MessageDetail of message.proto with reactions alone, in base64, so that a page of messages
-- neither counts nor builds them; '' for none.
ALTER TABLE messages ADD COLUMN reactions TEXT NOT NULL DEFAULT '';

CREATE INDEX messages_pinned ON messages (conversation_id, pinned_at) WHERE pinned_at > 0;

CREATE TABLE reactions (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    seq             BIGINT NOT NULL,
    user_id         TEXT   NOT NULL,
    reaction        TEXT   NOT NULL,
    number          BIGINT NOT NULL,  -- in the order in which they were added to the message
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, seq, user_id, reaction)
) WITHOUT ROWID;

CREATE UNIQUE INDEX reactions_by_number ON reactions (conversation_id, seq, number);

-- Who is mentioned, by metadata mentions, in messages that are neither recalled nor deleted: rows go with either.
CREATE TABLE mentions (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    user_id         TEXT   NOT NULL,  -- '': all members. A message has either one such row or rows of users, never both
    seq             BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id, seq)
) WITHOUT ROWID;

CREATE INDEX mentions_by_message ON mentions (conversation_id, seq);

-- The texts that edited messages had.
CREATE TABLE message_versions (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    seq             BIGINT NOT NULL,
    version         BIGINT NOT NULL,  -- from 1
    content         TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,  -- from when on it was the text, and
    replaced_at     BIGINT NOT NULL,  -- until when
    replaced_by     TEXT   NOT NULL,  -- '' for a service
    PRIMARY KEY (conversation_id, seq, version)
) WITHOUT ROWID;

-- Messages that a user has deleted for themselves alone. Kept when they leave, for when they come back.
CREATE TABLE own_deletions (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    user_id         TEXT   NOT NULL,
    seq             BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id, seq)
) WITHOUT ROWID;

CREATE INDEX own_deletions_by_message ON own_deletions (conversation_id, seq);

-- The newest message that the user has deleted for themselves alone, 0 for none: lists look for such only where it is set.
ALTER TABLE members ADD COLUMN deleted_seq BIGINT NOT NULL DEFAULT 0;
