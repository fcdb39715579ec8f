-- What these did, the statements of gochat/repo/ and of routines.postgres.sql do: they keep last_seq and active_at of
-- members. A distributed PostgreSQL has no triggers on its tables.
DROP TRIGGER members_entered ON members;
DROP TRIGGER conversations_active ON conversations;
DROP TRIGGER conversations_grown ON conversations;
DROP FUNCTION member_entered();
DROP FUNCTION conversation_active();
DROP FUNCTION conversation_grown();

-- routines.postgres.sql has send_messages() instead.
DROP FUNCTION send_message(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, BIGINT);
