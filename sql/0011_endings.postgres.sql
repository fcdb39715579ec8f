-- Sessions that ended are asked for by their order and not by time, which may jump. position: the transaction that ended
-- it. Transactions commit in another order than they begin, so a reader goes on from the oldest one that had not ended
-- when it last looked (pg_snapshot_xmin), and misses none.
ALTER TABLE ended_sessions ADD COLUMN position BIGINT NOT NULL DEFAULT pg_current_xact_id()::TEXT::BIGINT;

CREATE INDEX ended_sessions_by_position ON ended_sessions (position);
