-- A user's own settings of a conversation. They are in the row that sends and read positions rewrite anyway.
ALTER TABLE members ADD COLUMN quiet_until BIGINT NOT NULL DEFAULT 0;     -- no notifications until then; 2^63 - 1: for good
ALTER TABLE members ADD COLUMN pinned_at BIGINT NOT NULL DEFAULT 0;       -- 0: it is not
ALTER TABLE members ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE members ADD COLUMN marked_unread INTEGER NOT NULL DEFAULT 0;

-- The newest message that was there when the user came: they are recipients of those after it. -1: of who came before
-- there was this column, for whom joined_at decides.
ALTER TABLE members ADD COLUMN joined_seq BIGINT NOT NULL DEFAULT -1;

-- Few and apart: at most 100 of a user.
CREATE INDEX members_pinned ON members (user_id, pinned_at, conversation_id) WHERE pinned_at > 0;
