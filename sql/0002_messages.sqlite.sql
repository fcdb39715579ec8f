-- WITHOUT ROWID keeps a message in the b-tree of its primary key: one tree touched per message, not two.
CREATE TABLE messages (
    conversation_id TEXT    NOT NULL REFERENCES conversations,
    seq             BIGINT  NOT NULL,  -- gap-free, in commit order
    from_user_id    TEXT    NOT NULL,
    to_user_id      TEXT    NOT NULL,  -- '' in a group
    content         TEXT    NOT NULL,
    message_type    TEXT    NOT NULL,
    status          INTEGER NOT NULL,  -- 1 sent, 2 delivered, 3 read, 4 recalled, 5 deleted
    metadata        TEXT    NOT NULL,  -- JSON object of strings, '' for none
    created_at      BIGINT  NOT NULL,
    updated_at      BIGINT  NOT NULL,
    PRIMARY KEY (conversation_id, seq)
) WITHOUT ROWID;

-- Few and apart, so that they are subtracted from unread counts without reading messages.
CREATE INDEX messages_withdrawn ON messages (conversation_id, seq) WHERE status >= 4;
