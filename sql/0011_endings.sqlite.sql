-- Sessions that ended are asked for by their order and not by time, which may jump. position: the number of the entry.
ALTER TABLE ended_sessions ADD COLUMN position BIGINT NOT NULL DEFAULT 0;

UPDATE ended_sessions SET position = rowid;

CREATE INDEX ended_sessions_by_position ON ended_sessions (position);
