-- A user who is in many large conversations would have all of them looked up for each list. Theirs are carried too, as of
-- a position of the log: see "Inboxes" in README.md.
CREATE TABLE inboxes (
    user_id  TEXT   NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL  -- of the log: what large conversations carry in members is as new as this, or newer
);

-- Of a large conversation: where the log was when its last_seq or its updated_at changed last.
ALTER TABLE conversations ADD COLUMN position BIGINT NOT NULL DEFAULT 0;
CREATE INDEX conversations_moved ON conversations (position) WHERE member_count > 10;

-- Few, so that what concerns them costs the same in a group of 100,000.
CREATE INDEX members_hidden ON members (conversation_id, hidden_seq) WHERE hidden_seq > 0;
CREATE INDEX members_managing ON members (conversation_id) WHERE role IN ('owner', 'admin');
