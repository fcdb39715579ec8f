-- A page of a group's members is read without sorting the group.
CREATE INDEX members_by_time ON members (conversation_id, joined_at, user_id);

-- Few and apart, so that conversations are counted by index alone.
CREATE INDEX members_hiding ON members (user_id, conversation_id) WHERE hidden_seq >= 0;
