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

-- A send in one round trip: the steps of gochat/repo/messages.py (_store) as a function. Its first statement locks the
-- conversation, so that sequence numbers have no gap and stand in commit order; each later one sees what was committed
-- before the lock was had. outcome: sent, or why nothing was changed: no_conversation, not_participant,
-- other_recipient, repeated (the key was used before).
CREATE FUNCTION send_message(
    this_conversation TEXT, sender TEXT, named_recipient TEXT, content TEXT, message_type TEXT, metadata TEXT,
    key TEXT, digest TEXT, sent_at BIGINT,
    OUT outcome TEXT, OUT seq BIGINT, OUT recipient TEXT
) LANGUAGE plpgsql AS $$
DECLARE
    kind TEXT;
BEGIN
    SELECT c.type, c.last_seq + 1 INTO kind, seq FROM conversations c
        WHERE c.conversation_id = this_conversation AND c.dissolved_at = 0 FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_conversation';
        RETURN;
    END IF;
    PERFORM 1 FROM members m WHERE m.conversation_id = this_conversation AND m.user_id = sender;
    IF NOT FOUND THEN
        outcome := 'not_participant';
        RETURN;
    END IF;
    recipient := '';
    IF kind = 'single' THEN
        SELECT m.user_id INTO recipient FROM members m
            WHERE m.conversation_id = this_conversation AND m.user_id <> sender;
    END IF;
    IF named_recipient NOT IN ('', recipient) THEN
        outcome := 'other_recipient';
        RETURN;
    END IF;
    IF key <> '' THEN
        INSERT INTO sends VALUES (this_conversation, sender, key, seq, digest) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            outcome := 'repeated';
            RETURN;
        END IF;
    END IF;
    UPDATE conversations c SET last_seq = seq, updated_at = sent_at WHERE c.conversation_id = this_conversation;
    UPDATE members m SET read_seq = seq WHERE m.conversation_id = this_conversation AND m.user_id = sender;
    INSERT INTO messages VALUES
        (this_conversation, seq, sender, recipient, content, message_type, 1, metadata, sent_at, sent_at);
    outcome := 'sent';
END
$$;
