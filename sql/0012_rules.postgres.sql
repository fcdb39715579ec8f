-- Who is deleted is no member of a group and no owner, and in a one-to-one conversation neither sender nor recipient, by
-- the role 'deleted'. gochat/repo/deletion.py keeps this from now on.
UPDATE members SET role = 'deleted'
WHERE user_id IN (SELECT user_id FROM users WHERE status = 3)
    AND conversation_id IN (SELECT conversation_id FROM conversations WHERE type = 'single');

DELETE FROM members WHERE role <> 'deleted' AND user_id IN (SELECT user_id FROM users WHERE status = 3);

UPDATE conversations SET member_count = (
    SELECT COUNT(*) FROM members WHERE members.conversation_id = conversations.conversation_id
) WHERE type = 'group' AND dissolved_at = 0 AND member_count <> (
    SELECT COUNT(*) FROM members WHERE members.conversation_id = conversations.conversation_id
);

UPDATE conversations SET dissolved_at = updated_at WHERE type = 'group' AND dissolved_at = 0 AND member_count = 0;

-- Their groups are handed over to the longest-serving admin, else member; to the disabled only where nobody else is left.
UPDATE conversations SET owner_id = (
    SELECT member.user_id
    FROM members AS member
    JOIN users ON users.user_id = member.user_id
    WHERE member.conversation_id = conversations.conversation_id
    ORDER BY CASE users.status WHEN 1 THEN 0 ELSE 1 END, CASE member.role WHEN 'admin' THEN 0 ELSE 1 END,
        member.joined_at, member.user_id
    LIMIT 1
) WHERE type = 'group' AND dissolved_at = 0 AND owner_id IN (SELECT user_id FROM users WHERE status = 3);

UPDATE members SET role = 'owner' WHERE role <> 'owner' AND (conversation_id, user_id) IN (
    SELECT conversation_id, owner_id FROM conversations WHERE type = 'group' AND dissolved_at = 0
);

-- Of groups that have 10 members or fewer now.
UPDATE members SET (last_seq, active_at) = (
    SELECT c.last_seq, c.updated_at FROM conversations c WHERE c.conversation_id = members.conversation_id
) WHERE active_at = 4611686018427387904
    AND conversation_id IN (SELECT conversation_id FROM conversations WHERE member_count <= 10);

-- A conversation whose messages after it was hidden are all deleted stays hidden: what comes after hidden_seq has one that
-- can be seen. gochat/repo/messages.py keeps this from now on.
UPDATE members SET (hidden_seq, read_seq) = (
    SELECT c.last_seq, c.last_seq FROM conversations c WHERE c.conversation_id = members.conversation_id
) WHERE hidden_seq > 0 AND EXISTS (
    SELECT 1 FROM conversations c
    WHERE c.conversation_id = members.conversation_id AND c.last_seq > members.hidden_seq
) AND NOT EXISTS (
    SELECT 1 FROM messages l
    WHERE l.conversation_id = members.conversation_id AND l.seq > members.hidden_seq AND l.status < 5
);

-- What people who left a group had hidden of it: it stays hidden when they come back.
CREATE TABLE former_members (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    user_id         TEXT   NOT NULL,
    hidden_seq      BIGINT NOT NULL,  -- as in members
    PRIMARY KEY (conversation_id, user_id)
);

-- A refresh token that comes a second time within 30 s, as after an answer that was lost, is answered as the first time.
ALTER TABLE sessions ADD COLUMN previous_refresh_id TEXT NOT NULL DEFAULT '';

-- Devices on which a user has signed in: there they sign in also while strangers guess their password.
CREATE TABLE devices (
    user_id   TEXT   NOT NULL REFERENCES users,
    device_id TEXT   NOT NULL,
    seen_at   BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

INSERT INTO devices SELECT user_id, device_id, refreshed_at FROM sessions WHERE device_id <> session_id;

-- Names are compared without the dot that the small form of the Turkish dotted I keeps, and without characters that show
-- nothing. A username of which there would be two stays as it is; it is still found by its old key.
-- Another encoding than UTF-8 has no such characters.
DO $$
BEGIN
    IF current_setting('server_encoding') = 'UTF8' THEN
        UPDATE users SET username_key = replace(username_key, 'i' || chr(775), 'i')
        WHERE user_id IN (SELECT MIN(user_id) FROM users WHERE strpos(username_key, 'i' || chr(775)) > 0
            GROUP BY replace(username_key, 'i' || chr(775), 'i'))
            AND NOT EXISTS (
                SELECT 1 FROM users AS other WHERE other.username_key = replace(users.username_key, 'i' || chr(775), 'i')
            );

        -- Letters of the Arabic and the Persian keyboard that look the same, and Malayalam chillus, which have two spellings.
        UPDATE users SET username_shape = replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(username_shape, 'i' || chr(775), 'i'), chr(1610), chr(1740)), chr(1609), chr(1740)), chr(1603), chr(1705)), chr(3450), chr(3363) || chr(3405)), chr(3451), chr(3368) || chr(3405)), chr(3452), chr(3376) || chr(3405)), chr(3453), chr(3378) || chr(3405)), chr(3454), chr(3379) || chr(3405)), chr(3455), chr(3349) || chr(3405))
        WHERE user_id IN (
                SELECT MIN(user_id) FROM users WHERE username_shape <> replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(username_shape, 'i' || chr(775), 'i'), chr(1610), chr(1740)), chr(1609), chr(1740)), chr(1603), chr(1705)), chr(3450), chr(3363) || chr(3405)), chr(3451), chr(3368) || chr(3405)), chr(3452), chr(3376) || chr(3405)), chr(3453), chr(3378) || chr(3405)), chr(3454), chr(3379) || chr(3405)), chr(3455), chr(3349) || chr(3405))
                GROUP BY replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(username_shape, 'i' || chr(775), 'i'), chr(1610), chr(1740)), chr(1609), chr(1740)), chr(1603), chr(1705)), chr(3450), chr(3363) || chr(3405)), chr(3451), chr(3368) || chr(3405)), chr(3452), chr(3376) || chr(3405)), chr(3453), chr(3378) || chr(3405)), chr(3454), chr(3379) || chr(3405)), chr(3455), chr(3349) || chr(3405))
            )
            AND NOT EXISTS (
                SELECT 1 FROM users AS other WHERE other.username_shape = replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(users.username_shape, 'i' || chr(775), 'i'), chr(1610), chr(1740)), chr(1609), chr(1740)), chr(1603), chr(1705)), chr(3450), chr(3363) || chr(3405)), chr(3451), chr(3368) || chr(3405)), chr(3452), chr(3376) || chr(3405)), chr(3453), chr(3378) || chr(3405)), chr(3454), chr(3379) || chr(3405)), chr(3455), chr(3349) || chr(3405))
            );

        UPDATE users SET nickname_key = translate(replace(nickname_key, 'i' || chr(775), 'i'), chr(8204) || chr(8205) || chr(65039) || chr(65038) || chr(173) || chr(8203) || chr(8288) || chr(65279) || chr(8206) || chr(8207), '')
        WHERE nickname_key <> translate(replace(nickname_key, 'i' || chr(775), 'i'), chr(8204) || chr(8205) || chr(65039) || chr(65038) || chr(173) || chr(8203) || chr(8288) || chr(65279) || chr(8206) || chr(8207), '');
    END IF;
END
$$;
