-- What happened, in the order of the commits: see README.md. Code that changes what a client sees adds a row in the same
-- transaction (gochat/repo/changes.py); content stays where it is and is read when the change is delivered.
CREATE TABLE changes (
    position        INTEGER NOT NULL PRIMARY KEY,  -- without gaps; the writer's counter
    kind            INTEGER NOT NULL,
    conversation_id TEXT    NOT NULL,  -- of a change in a conversation
    user_id         TEXT    NOT NULL,  -- of a change of a user, or the member that it is about
    actor_id        TEXT    NOT NULL,  -- who caused it; '' for a service
    first_seq       BIGINT  NOT NULL,  -- of messages that were sent: the first and the last;
    seq             BIGINT  NOT NULL,  -- else the message that it is about
    detail          TEXT    NOT NULL,
    at              BIGINT  NOT NULL   -- Unix milliseconds
);

-- The log is never empty: its first row says from where on it is complete.
INSERT INTO changes (position, kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
VALUES (1, 0, '', '', '', 0, 0, '', 0);

-- Up to which message the user's devices have received them.
ALTER TABLE members ADD COLUMN delivered_seq BIGINT NOT NULL DEFAULT 0;
