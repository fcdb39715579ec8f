-- What happened: see README.md. Code that changes what a client sees adds a row in the same transaction
-- (gochat/repo/changes.py); content stays where it is and is read when the change is delivered.
CREATE TABLE changes (
    -- The transaction, or the newest that had ended before the row was written. Transactions commit in another order than
    -- they begin, so a reader takes the rows of positions that are older than any transaction in progress
    -- (pg_snapshot_xmin): none is added to them. It takes them in the order of their ids, which are drawn under the lock
    -- of the conversation or of the user: so the changes of one are in the order of their commits. Positions are in that
    -- order too. The transaction alone would not be: one that began early and had the lock late would be read first,
    -- while a third one, between the two, is in progress.
    position        BIGINT  NOT NULL DEFAULT GREATEST(
        pg_current_xact_id()::TEXT::BIGINT, pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT - 1
    ),
    id              BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY,
    kind            INTEGER NOT NULL,
    conversation_id TEXT    NOT NULL,  -- of a change in a conversation
    user_id         TEXT    NOT NULL,  -- of a change of a user, or the member that it is about
    actor_id        TEXT    NOT NULL,  -- who caused it; '' for a service
    first_seq       BIGINT  NOT NULL,  -- of messages that were sent: the first and the last;
    seq             BIGINT  NOT NULL,  -- else the message that it is about
    detail          TEXT    NOT NULL,
    at              BIGINT  NOT NULL,  -- Unix milliseconds
    PRIMARY KEY (position, id)
);

-- The log is never empty: its first row says from where on it is complete.
INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
VALUES (0, '', '', '', 0, 0, '', 0);

-- Up to which message the user's devices have received them.
ALTER TABLE members ADD COLUMN delivered_seq BIGINT NOT NULL DEFAULT 0;
