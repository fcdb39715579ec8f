-- A user's latest and his unread conversations are found by index, however many he has: members carry what a list is
-- ordered by and what tells that something is unread. Sends would have to rewrite every member of a group for that, so
-- in conversations of more than 10 members both are 2^62 instead, newer than everything, and these few are looked up.
ALTER TABLE members ADD COLUMN last_seq BIGINT NOT NULL DEFAULT 4611686018427387904;   -- of the conversation
ALTER TABLE members ADD COLUMN active_at BIGINT NOT NULL DEFAULT 4611686018427387904;  -- its updated_at

UPDATE members m SET last_seq = c.last_seq, active_at = c.updated_at FROM conversations c
    WHERE c.conversation_id = m.conversation_id AND c.member_count <= 10;

DROP INDEX members_by_user;
CREATE INDEX members_by_activity ON members (user_id, active_at, conversation_id);
CREATE INDEX members_unread ON members (user_id) WHERE last_seq > read_seq;

CREATE FUNCTION member_entered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.last_seq, c.updated_at INTO NEW.last_seq, NEW.active_at FROM conversations c
        WHERE c.conversation_id = NEW.conversation_id AND c.member_count <= 10;
    IF NOT FOUND THEN
        NEW.last_seq := 4611686018427387904;
        NEW.active_at := 4611686018427387904;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER members_entered BEFORE INSERT ON members FOR EACH ROW EXECUTE FUNCTION member_entered();

CREATE FUNCTION conversation_active() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE members SET last_seq = NEW.last_seq, active_at = NEW.updated_at
        WHERE conversation_id = NEW.conversation_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER conversations_active AFTER UPDATE OF last_seq, updated_at, member_count ON conversations
    FOR EACH ROW WHEN (NEW.member_count <= 10) EXECUTE FUNCTION conversation_active();

CREATE FUNCTION conversation_grown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE members SET last_seq = 4611686018427387904, active_at = 4611686018427387904
        WHERE conversation_id = NEW.conversation_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER conversations_grown AFTER UPDATE OF member_count ON conversations
    FOR EACH ROW WHEN (NEW.member_count > 10 AND OLD.member_count <= 10) EXECUTE FUNCTION conversation_grown();

-- As in 0002, but one's own position moves first: so one's own message is at no moment unread.
CREATE OR REPLACE FUNCTION send_message(
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
    UPDATE members m SET read_seq = seq WHERE m.conversation_id = this_conversation AND m.user_id = sender;
    UPDATE conversations c SET last_seq = seq, updated_at = sent_at WHERE c.conversation_id = this_conversation;
    INSERT INTO messages VALUES
        (this_conversation, seq, sender, recipient, content, message_type, 1, metadata, sent_at, sent_at);
    outcome := 'sent';
END
$$;
