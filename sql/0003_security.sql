-- The same for usernames that look the same. Of accounts that there were before: their key.
ALTER TABLE users ADD COLUMN username_shape TEXT NOT NULL DEFAULT '';

UPDATE users SET username_shape = username_key;

CREATE UNIQUE INDEX users_by_shape ON users (username_shape);

-- Sessions that ended while access tokens of theirs may live: whoever verifies tokens reads the latest every second.
CREATE TABLE ended_sessions (
    session_id TEXT   NOT NULL PRIMARY KEY,
    ended_at   BIGINT NOT NULL
);

CREATE INDEX ended_sessions_by_time ON ended_sessions (ended_at);

-- Written in the transaction of the act, never changed: 0004 forbids it.
CREATE TABLE audit_log (
    event_id   TEXT   NOT NULL PRIMARY KEY,  -- sorts by time
    at         BIGINT NOT NULL,
    actor_id   TEXT   NOT NULL,  -- '' for a service, an operator, or one who is not signed in
    actor_role TEXT   NOT NULL,  -- user, admin, service; '' for one who is not signed in
    action     TEXT   NOT NULL,
    target_id  TEXT   NOT NULL,  -- of a user, a group, a message, a key
    detail     TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,  -- ok, refused
    peer       TEXT   NOT NULL,  -- network address
    request_id TEXT   NOT NULL
);

-- Made at the first start, kept for ever: "pair" is the key of the ids of one-to-one conversations.
CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
