-- What a group lets people do: see gochat/domain/group_policy.py. Defaults are what held before, also for programs of the
-- version before, which insert rows without these columns.
ALTER TABLE conversations ADD COLUMN posting TEXT NOT NULL DEFAULT 'everyone';  -- everyone, managers; so the next two
ALTER TABLE conversations ADD COLUMN adding TEXT NOT NULL DEFAULT 'managers';
ALTER TABLE conversations ADD COLUMN editing TEXT NOT NULL DEFAULT 'managers';
ALTER TABLE conversations ADD COLUMN slow_mode_seconds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN joining TEXT NOT NULL DEFAULT 'open';      -- open, approval, invitation, closed
-- Nobody is muted beyond this: so sends need not read whether their sender is.
ALTER TABLE conversations ADD COLUMN muted_until BIGINT NOT NULL DEFAULT 0;
-- The name of a searchable group, case-folded; '' where it is not searchable.
ALTER TABLE conversations ADD COLUMN search_key TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX conversations_searchable ON conversations (search_key, conversation_id) WHERE search_key <> '';

-- What belongs to a user in a group, apart from members, which every send rewrites. Absent: all of it is the default.
-- muted_until and last_sent_at stay when the user leaves: neither a mute nor slow mode ends by coming back.
CREATE TABLE member_details (
    conversation_id    TEXT   NOT NULL REFERENCES conversations,
    user_id            TEXT   NOT NULL,
    title              TEXT   NOT NULL DEFAULT '',
    group_nickname     TEXT   NOT NULL DEFAULT '',
    group_nickname_key TEXT   NOT NULL DEFAULT '',  -- case-folded
    muted_until        BIGINT NOT NULL DEFAULT 0,
    last_sent_at       BIGINT NOT NULL DEFAULT 0,   -- of the newest message that was sent in slow mode, written only then
    PRIMARY KEY (conversation_id, user_id)
);

-- Who may not join, nor be added. Never members; a row of a ban that has ended may be there until they join.
CREATE TABLE bans (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    user_id         TEXT   NOT NULL,
    until           BIGINT NOT NULL,  -- 0: for good
    reason          TEXT   NOT NULL,
    banned_by       TEXT   NOT NULL,  -- '': a service
    banned_at       BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
);
CREATE INDEX bans_by_time ON bans (conversation_id, banned_at, user_id);

CREATE TABLE invitations (
    conversation_id TEXT    NOT NULL REFERENCES conversations,
    token           TEXT    NOT NULL,
    created_by      TEXT    NOT NULL,  -- a member, or '': a service
    created_at      BIGINT  NOT NULL,
    expires_at      BIGINT  NOT NULL,  -- 0: never
    max_uses        INTEGER NOT NULL,  -- 0: any number
    uses            INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, token)
);
CREATE INDEX invitations_by_token ON invitations (token);

-- Requests to join that are not decided. Never of members.
CREATE TABLE join_requests (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    user_id         TEXT   NOT NULL,
    note            TEXT   NOT NULL,
    requested_at    BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
);
CREATE INDEX join_requests_by_time ON join_requests (conversation_id, requested_at, user_id);
CREATE INDEX join_requests_by_user ON join_requests (user_id);
