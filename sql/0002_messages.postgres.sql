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
);

-- Few and apart, so that they are subtracted from unread counts without reading messages.
CREATE INDEX messages_withdrawn ON messages (conversation_id, seq) WHERE status >= 4;

-- Names are ordered by code point, as SQLite does, whatever the database's locale.
ALTER TABLE users ALTER COLUMN username_key TYPE TEXT COLLATE "C";
ALTER TABLE users ALTER COLUMN nickname_key TYPE TEXT COLLATE "C";

-- Rows that every send rewrites: room on their page keeps the rewrite off the indexes (HOT updates).
ALTER TABLE conversations SET (fillfactor = 70);
ALTER TABLE members SET (fillfactor = 70);
