-- A user's latest and his unread conversations are found by index, however many he has: members carry what a list is
-- ordered by and what tells that something is unread. Sends would have to rewrite every member of a group for that, so
-- in conversations of more than 10 members both are 2^62 instead, newer than everything, and these few are looked up.
ALTER TABLE members ADD COLUMN last_seq BIGINT NOT NULL DEFAULT 4611686018427387904;   -- of the conversation
ALTER TABLE members ADD COLUMN active_at BIGINT NOT NULL DEFAULT 4611686018427387904;  -- its updated_at

UPDATE members SET (last_seq, active_at) = (
    SELECT c.last_seq, c.updated_at FROM conversations c WHERE c.conversation_id = members.conversation_id
) WHERE conversation_id IN (SELECT conversation_id FROM conversations WHERE member_count <= 10);

DROP INDEX members_by_user;
CREATE INDEX members_by_activity ON members (user_id, active_at, conversation_id);
CREATE INDEX members_unread ON members (user_id) WHERE last_seq > read_seq;

CREATE TRIGGER members_entered AFTER INSERT ON members
WHEN (SELECT member_count FROM conversations WHERE conversation_id = NEW.conversation_id) <= 10
BEGIN
    UPDATE members SET (last_seq, active_at) = (
        SELECT last_seq, updated_at FROM conversations WHERE conversation_id = NEW.conversation_id
    ) WHERE conversation_id = NEW.conversation_id AND user_id = NEW.user_id;
END;

CREATE TRIGGER conversations_active AFTER UPDATE OF last_seq, updated_at, member_count ON conversations
WHEN NEW.member_count <= 10
BEGIN
    UPDATE members SET last_seq = NEW.last_seq, active_at = NEW.updated_at
        WHERE conversation_id = NEW.conversation_id;
END;

CREATE TRIGGER conversations_grown AFTER UPDATE OF member_count ON conversations
WHEN NEW.member_count > 10 AND OLD.member_count <= 10
BEGIN
    UPDATE members SET last_seq = 4611686018427387904, active_at = 4611686018427387904
        WHERE conversation_id = NEW.conversation_id;
END;
