-- The functions that handlers call. This file is applied after the numbered ones, whenever its text is not the one that
-- was applied last: see README.md.

-- The one way a message is stored. outgoing: messages to one conversation, a JSON object for each, with the keys that are read
-- below; empty strings for what is absent. Of each there is a row, in their order. number: the caller's own, of a message.
-- outcome, with what it means to a client in gochat/repo/sending.py:
--     sent             it is stored, as number seq, to the recipient ('' in a group)
--     repeated         this client_msg_id was used for the same content; seq and created_at are of that message
--     key_reused       it was used for other content
--     no_conversation, not_participant, other_recipient
--     no_recipient     the other user of a one-to-one conversation is deleted
--     posting, muted, slow_mode   the group does not let them; created_at is until when (0: as long as its settings say).
--                      Only of messages that are `restricted`, which is absent in those of programs that do not know it
-- written_at: when, of messages that are imported (all of a call, or none); else 0 or absent. Their senders need not be in
-- a group, no settings of it bind them, and the conversation moves on to their times: back to them only if it was empty.
-- On SQLite _store_sqlite in gochat/repo/sending.py takes the same steps.
--
-- The first statement locks the conversation, so that sequence numbers have no gap and follow the order of commits; each
-- later statement sees what was committed before the lock was had.
--
-- The rows of the conversation and of its members are written once, after the last message: each UPDATE leaves behind a
-- version of the row that every later statement of the transaction has to read past, so a call for each of a thousand
-- messages takes ten times as long.
CREATE OR REPLACE FUNCTION send_messages(to_conversation TEXT, outgoing JSON, sent_at BIGINT)
RETURNS TABLE (number INTEGER, conversation_id TEXT, outcome TEXT, seq BIGINT, recipient TEXT, created_at BIGINT)
LANGUAGE plpgsql AS $$
DECLARE
    conversation RECORD;
    pair         TEXT[];    -- of a one-to-one conversation its two users, but for one who is deleted
    message      RECORD;
    first        RECORD;
    is_member    BOOLEAN;
    sender_role  TEXT;      -- of a group
    limits       RECORD;    -- of the sender
    is_free      BOOLEAN;   -- every member may send
    last_sent    BIGINT;
    is_import    BOOLEAN := FALSE;
    active       BIGINT := sent_at;  -- of the conversation after this
    newest       BIGINT;
    moved        BIGINT;    -- where the log is, of a large conversation: see "Inboxes" in README.md
    senders      TEXT[];    -- of the messages that are stored, and
    seqs         BIGINT[];  -- their numbers
BEGIN
    SELECT found.type, found.last_seq, found.member_count, found.updated_at, found.posting, found.slow_mode_seconds, found.muted_until
    INTO conversation
    FROM conversations AS found
    WHERE found.conversation_id = to_conversation AND found.dissolved_at = 0
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY
            SELECT wanted.number, to_conversation, CASE WHEN used.seq IS NULL THEN 'no_conversation' ELSE 'repeated' END,
                COALESCE(used.seq, 0), '', COALESCE(earlier.created_at, 0)
            FROM json_to_recordset(outgoing) AS wanted (
                number INTEGER, from_user_id TEXT, client_msg_id TEXT, digest TEXT
            )
            LEFT JOIN sends AS used ON used.conversation_id = to_conversation
                AND used.from_user_id = wanted.from_user_id AND used.client_msg_id = wanted.client_msg_id
                AND used.digest = wanted.digest
            LEFT JOIN messages AS earlier ON earlier.conversation_id = used.conversation_id
                AND earlier.seq = used.seq;
        RETURN;
    END IF;
    newest := conversation.last_seq;
    is_free := conversation.posting = 'everyone' AND conversation.slow_mode_seconds = 0
        AND conversation.muted_until <= sent_at;
    IF conversation.type = 'single' THEN
        pair := ARRAY(
            SELECT member.user_id FROM members AS member
            WHERE member.conversation_id = to_conversation AND member.role <> 'deleted'
        );
    END IF;

    FOR message IN
        SELECT * FROM json_to_recordset(outgoing) AS wanted (
            number INTEGER, from_user_id TEXT, to_user_id TEXT, content TEXT, message_type TEXT, metadata TEXT,
            client_msg_id TEXT, digest TEXT, restricted BOOLEAN, written_at BIGINT
        )
    LOOP
        is_import := COALESCE(message.written_at, 0) > 0;
        number := message.number;
        conversation_id := to_conversation;
        seq := newest + 1;
        recipient := '';
        created_at := CASE WHEN is_import THEN message.written_at ELSE sent_at END;

        IF conversation.type = 'single' THEN
            is_member := message.from_user_id = ANY (pair);
            recipient := COALESCE((array_remove(pair, message.from_user_id))[1], '');
        ELSE
            SELECT member.role INTO sender_role FROM members AS member
            WHERE member.conversation_id = to_conversation AND member.user_id = message.from_user_id;
            is_member := FOUND OR is_import;
        END IF;
        outcome := CASE
            WHEN NOT is_member THEN 'not_participant'
            WHEN conversation.type = 'single' AND recipient = '' THEN 'no_recipient'
            WHEN message.to_user_id NOT IN ('', recipient) THEN 'other_recipient'
            ELSE 'sent'
        END;

        -- As send_refusal() in gochat/domain/group_policy.py.
        IF NOT is_free AND outcome = 'sent' AND message.restricted THEN
            SELECT detail.muted_until, detail.last_sent_at INTO limits FROM member_details AS detail
            WHERE detail.conversation_id = to_conversation AND detail.user_id = message.from_user_id;
            last_sent := CASE WHEN message.from_user_id = ANY (senders) THEN sent_at ELSE limits.last_sent_at END;
            IF conversation.posting = 'managers' AND sender_role = 'member' THEN
                outcome := 'posting';
                created_at := 0;
            ELSIF limits.muted_until > sent_at THEN
                outcome := 'muted';
                created_at := limits.muted_until;
            ELSIF conversation.slow_mode_seconds > 0 AND sender_role = 'member'
                AND last_sent + 1000 * conversation.slow_mode_seconds > sent_at THEN
                outcome := 'slow_mode';
                created_at := last_sent + 1000 * conversation.slow_mode_seconds;
            END IF;
        END IF;

        IF outcome = 'sent' AND message.client_msg_id <> '' THEN
            INSERT INTO sends (conversation_id, from_user_id, client_msg_id, seq, digest)
            VALUES (to_conversation, message.from_user_id, message.client_msg_id, seq, message.digest)
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                SELECT CASE used.digest WHEN message.digest THEN 'repeated' ELSE 'key_reused' END, used.seq,
                    earlier.created_at
                INTO outcome, seq, created_at
                FROM sends AS used
                JOIN messages AS earlier ON earlier.conversation_id = used.conversation_id AND earlier.seq = used.seq
                WHERE used.conversation_id = to_conversation AND used.from_user_id = message.from_user_id
                    AND used.client_msg_id = message.client_msg_id;
            END IF;
        ELSIF outcome IN ('not_participant', 'no_recipient', 'posting', 'muted', 'slow_mode') AND message.client_msg_id <> '' THEN
            -- It may have been sent when it could be: then its sender, who repeats it, gets the first answer.
            SELECT used.seq, earlier.created_at INTO first
            FROM sends AS used
            JOIN messages AS earlier ON earlier.conversation_id = used.conversation_id AND earlier.seq = used.seq
            WHERE used.conversation_id = to_conversation AND used.from_user_id = message.from_user_id
                AND used.client_msg_id = message.client_msg_id AND used.digest = message.digest;
            IF FOUND THEN
                outcome := 'repeated';
                seq := first.seq;
                created_at := first.created_at;
            END IF;
        END IF;

        IF outcome = 'sent' THEN
            INSERT INTO messages (
                conversation_id, seq, from_user_id, to_user_id, content, message_type, status, metadata, created_at,
                updated_at
            ) VALUES (
                to_conversation, seq, message.from_user_id, recipient, message.content, message.message_type, 1,
                message.metadata, created_at, created_at
            );
            IF is_import THEN
                conversation.updated_at := CASE seq WHEN 1 THEN created_at
                    ELSE GREATEST(conversation.updated_at, created_at) END;
                active := conversation.updated_at;
            END IF;
            newest := seq;
            senders := senders || message.from_user_id;
            seqs := seqs || seq;
        END IF;
        RETURN NEXT;
    END LOOP;

    IF newest > conversation.last_seq THEN
        IF conversation.member_count > 10 THEN
            moved := pg_current_xact_id()::TEXT::BIGINT;
        END IF;
        UPDATE conversations AS found
        SET last_seq = newest, updated_at = active, position = COALESCE(moved, found.position)
        WHERE found.conversation_id = to_conversation;

        -- One's own message is read, and everything before it. In small conversations members repeat what lists are
        -- ordered by. In one statement, so that one's own message is at no moment unread.
        IF conversation.member_count <= 10 THEN
            UPDATE members AS member
            SET last_seq = newest, active_at = active, read_seq = COALESCE((
                SELECT max(own.seq) FROM unnest(senders, seqs) AS own (sender, seq) WHERE own.sender = member.user_id
            ), member.read_seq), marked_unread = CASE
                WHEN member.user_id = ANY (senders) THEN 0 ELSE member.marked_unread
            END
            WHERE member.conversation_id = to_conversation;

            -- The first message is seen by the user who did not open the conversation, too.
            IF conversation.last_seq = 0 THEN
                UPDATE members AS member SET hidden_seq = -1
                WHERE member.conversation_id = to_conversation AND member.hidden_seq = 0;

                IF conversation.type = 'single' THEN
                    INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
                    VALUES (6, to_conversation, '', '', 0, 0, '', sent_at);
                END IF;
            END IF;
        ELSE
            UPDATE members AS member
            SET read_seq = (
                SELECT max(own.seq) FROM unnest(senders, seqs) AS own (sender, seq) WHERE own.sender = member.user_id
            ), marked_unread = 0
            WHERE member.conversation_id = to_conversation AND member.user_id = ANY (senders);
        END IF;

        IF conversation.slow_mode_seconds > 0 AND NOT is_import THEN
            INSERT INTO member_details AS detail (conversation_id, user_id, last_sent_at)
            SELECT DISTINCT to_conversation, own.sender, sent_at FROM unnest(senders) AS own (sender)
            ON CONFLICT ON CONSTRAINT member_details_pkey DO UPDATE SET last_sent_at = excluded.last_sent_at;
        END IF;

        -- As gochat/repo/changes.py writes them: 1 is MESSAGES_SENT, 6 above CONVERSATION_UPDATED.
        INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
        VALUES (1, to_conversation, '', '', conversation.last_seq + 1, newest,
            CASE WHEN is_import THEN 'imported' ELSE '' END, sent_at);
    END IF;
END
$$;

-- For messages that come in together, to any conversations: those that wait for nobody and are sent; of all others there
-- is no row, and nothing has happened. A message whose rows another transaction has locked is left: not only would all
-- others wait with it, two calls that hold some rows and wait for others could wait for each other. A send changes its
-- conversation and its sender's row in members; in a conversation of up to 10 members, each member's. send_messages()
-- takes its arguments from the lockable rows, so that no plan can call it before they are locked.
CREATE OR REPLACE FUNCTION send_unlocked(outgoing JSON, sent_at BIGINT)
RETURNS TABLE (number INTEGER, conversation_id TEXT, outcome TEXT, seq BIGINT, recipient TEXT, created_at BIGINT)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    WITH wanted AS MATERIALIZED (
        SELECT message, message ->> 'conversation_id' AS conversation_id, message ->> 'from_user_id' AS sender
        FROM json_array_elements(outgoing) AS message
    ), senders AS (
        SELECT wanted.conversation_id, array_agg(DISTINCT wanted.sender) AS user_ids
        FROM wanted
        GROUP BY wanted.conversation_id
    ), lockable AS MATERIALIZED (
        SELECT conversation.conversation_id, conversation.member_count, member.user_ids
        FROM senders
        CROSS JOIN LATERAL (
            SELECT free.conversation_id, free.member_count
            FROM conversations AS free
            WHERE free.conversation_id = senders.conversation_id
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS conversation
        CROSS JOIN LATERAL (
            SELECT array_agg(locked.user_id) AS user_ids
            FROM (
                SELECT free.user_id
                FROM members AS free
                WHERE free.conversation_id = conversation.conversation_id AND free.user_id = ANY (
                    CASE WHEN conversation.member_count > 10 THEN senders.user_ids ELSE ARRAY(
                        SELECT every.user_id
                        FROM members AS every
                        WHERE every.conversation_id = conversation.conversation_id
                    ) END
                )
                FOR NO KEY UPDATE SKIP LOCKED
            ) AS locked
        ) AS member
    ), sendable AS (
        SELECT lockable.conversation_id, json_agg(wanted.message ORDER BY (wanted.message ->> 'number')::INTEGER) AS messages
        FROM lockable
        JOIN wanted ON wanted.conversation_id = lockable.conversation_id AND wanted.sender = ANY (lockable.user_ids)
        WHERE lockable.member_count > 10 OR lockable.member_count = cardinality(lockable.user_ids)
        GROUP BY lockable.conversation_id
    )
    SELECT sent.*
    FROM sendable
    CROSS JOIN LATERAL send_messages(sendable.conversation_id, sendable.messages, sent_at) AS sent
    WHERE sent.outcome = 'sent';
END
$$;

-- MarkRead in one statement: moves a member's read position forward. Returns '', or why it may not: 'no_conversation',
-- 'not_participant', 'no_message'. skip_locked: 'locked' where another transaction has locked the row, rather than wait.
-- On SQLite membership() and mark_read() in gochat/repo/membership.py take the same steps.
CREATE OR REPLACE FUNCTION mark_read(
    in_conversation TEXT, reader TEXT, read_until BIGINT, actor TEXT, read_at BIGINT, skip_locked BOOLEAN DEFAULT FALSE
)
RETURNS TEXT
LANGUAGE plpgsql AS $$
DECLARE
    facts RECORD;  -- of the conversation, and of the reader in it
BEGIN
    SELECT conversation.last_seq, member.role, member.marked_unread INTO facts
    FROM conversations AS conversation
    LEFT JOIN members AS member ON member.conversation_id = conversation.conversation_id AND member.user_id = reader
        AND member.role <> 'deleted'
    WHERE conversation.conversation_id = in_conversation AND conversation.dissolved_at = 0;
    IF NOT FOUND THEN
        RETURN 'no_conversation';
    ELSIF facts.role IS NULL THEN
        RETURN 'not_participant';
    ELSIF read_until NOT BETWEEN 1 AND facts.last_seq THEN
        RETURN 'no_message';
    END IF;
    IF skip_locked THEN
        PERFORM 1 FROM members AS member
        WHERE member.conversation_id = in_conversation AND member.user_id = reader
        FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN 'locked';
        END IF;
    END IF;

    -- 18 is SETTINGS_UPDATED, 4 READ, as gochat/repo/changes.py writes them.
    IF facts.marked_unread = 1 THEN
        UPDATE members AS member SET marked_unread = 0
        WHERE member.conversation_id = in_conversation AND member.user_id = reader AND member.marked_unread = 1;
        IF FOUND THEN
            INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
            VALUES (18, in_conversation, reader, actor, 0, 0, '', read_at);
        END IF;
    END IF;
    UPDATE members AS member SET read_seq = read_until, marked_unread = 0
    WHERE member.conversation_id = in_conversation AND member.user_id = reader AND member.read_seq < read_until;
    IF FOUND THEN
        INSERT INTO changes (kind, conversation_id, user_id, actor_id, first_seq, seq, detail, at)
        VALUES (4, in_conversation, reader, actor, 0, read_until, '', read_at);
    END IF;
    RETURN '';
END
$$;
