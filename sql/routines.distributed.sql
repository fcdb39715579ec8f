-- What a database on a Citus cluster has besides, applied after routines.postgres.sql: see "Distributed PostgreSQL" in
-- README.md. In that file INSERT INTO changes is INSERT INTO outgoing_changes there (gochat/storage/distributed.py).

-- Changes of one conversation, on the node of the conversation: their ids are drawn there, under the lock of what changed,
-- and so are in the order of their commits. changed: JSON objects with the columns of outgoing_changes.
CREATE OR REPLACE FUNCTION add_changes(of_conversation TEXT, changed JSON)
RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outgoing_changes (conversation_id, kind, user_id, actor_id, first_seq, seq, detail, at)
    SELECT of_conversation, one.kind, one.user_id, one.actor_id, one.first_seq, one.seq, one.detail, one.at
    FROM json_to_recordset(changed) AS one (
        kind INTEGER, user_id TEXT, actor_id TEXT, first_seq BIGINT, seq BIGINT, detail TEXT, at BIGINT
    );
END
$$;

-- Moves what the conversations' nodes have into the log, on the coordinator. One transaction does so at a time, until its
-- commit: so the log has the rows of a conversation in the order in which that node has committed them.
CREATE OR REPLACE FUNCTION collect_changes()
RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(113728106815862);
    IF NOT EXISTS (SELECT 1 FROM outgoing_changes) THEN
        RETURN;  -- a DELETE would be prepared and committed on every node
    END IF;
    WITH taken AS (
        DELETE FROM outgoing_changes RETURNING *
    )
    INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
    SELECT kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at FROM taken ORDER BY id;
END
$$;

SELECT create_distributed_function(
    'add_changes(text, json)', 'of_conversation', colocate_with => 'conversations', force_delegation => TRUE
);
SELECT create_distributed_function(
    'send_messages(text, json, bigint)', 'to_conversation', colocate_with => 'conversations', force_delegation => TRUE
);
SELECT create_distributed_function(
    'mark_read(text, text, bigint, text, bigint, boolean)', 'in_conversation', colocate_with => 'conversations',
    force_delegation => TRUE
);
