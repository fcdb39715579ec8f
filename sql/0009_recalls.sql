-- The newest message of a conversation that was recalled or deleted, 0 where none was: lists look for those that are
-- not to be counted or shown only in a conversation that has such.
ALTER TABLE conversations ADD COLUMN recalled_seq BIGINT NOT NULL DEFAULT 0;

UPDATE conversations SET recalled_seq = (
    SELECT MAX(messages.seq) FROM messages
    WHERE messages.conversation_id = conversations.conversation_id AND messages.status >= 4
) WHERE conversation_id IN (SELECT messages.conversation_id FROM messages WHERE messages.status >= 4);
