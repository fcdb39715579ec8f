-- What of the log concerns a stream that resumes is found by these, however much has happened since.
CREATE INDEX changes_of_conversation ON changes (conversation_id, position);
CREATE INDEX changes_of_user ON changes (user_id, position) WHERE user_id <> '';
CREATE INDEX changes_dissolving ON changes (position) WHERE kind = 12;
CREATE INDEX changes_of_profiles ON changes (position) WHERE kind = 13;
