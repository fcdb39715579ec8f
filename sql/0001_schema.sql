-- Portable between SQLite and PostgreSQL. Times are Unix milliseconds. Text that is absent is ''.

CREATE TABLE users (
    user_id       TEXT    NOT NULL PRIMARY KEY,
    username      TEXT    NOT NULL,
    username_key  TEXT    NOT NULL UNIQUE,  -- case-folded: what is compared and searched
    email         TEXT    NOT NULL,
    nickname      TEXT    NOT NULL,
    nickname_key  TEXT    NOT NULL,         -- case-folded
    avatar        TEXT    NOT NULL,
    bio           TEXT    NOT NULL,
    role          TEXT    NOT NULL,         -- user, admin
    status        INTEGER NOT NULL,         -- 1 active, 2 disabled, 3 deleted
    password_hash TEXT    NOT NULL,         -- argon2id
    created_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL
);

CREATE TABLE sessions (
    session_id   TEXT   NOT NULL PRIMARY KEY,
    user_id      TEXT   NOT NULL REFERENCES users,
    device_id    TEXT   NOT NULL,
    refresh_id   TEXT   NOT NULL,  -- of the one refresh token that still works
    created_at   BIGINT NOT NULL,
    refreshed_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    UNIQUE (user_id, device_id)
);

-- Below, every primary key begins with conversation_id and no unique key crosses it, so that the tables can be
-- distributed by it.

CREATE TABLE conversations (
    conversation_id TEXT    NOT NULL PRIMARY KEY,
    type            TEXT    NOT NULL,  -- single, group
    name            TEXT    NOT NULL,
    description     TEXT    NOT NULL,
    avatar          TEXT    NOT NULL,
    owner_id        TEXT    NOT NULL,  -- '' for single
    max_members     INTEGER NOT NULL,
    member_count    INTEGER NOT NULL,
    last_seq        BIGINT  NOT NULL,  -- of the newest message; the next one gets this plus 1
    created_at      BIGINT  NOT NULL,
    updated_at      BIGINT  NOT NULL,  -- of the newest message or change
    dissolved_at    BIGINT  NOT NULL   -- 0: it exists
);

CREATE TABLE members (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    user_id         TEXT   NOT NULL,
    role            TEXT   NOT NULL,             -- owner, admin, member
    read_seq        BIGINT NOT NULL,             -- everything up to this is read
    hidden_seq      BIGINT NOT NULL DEFAULT -1,  -- everything up to this is hidden from the user; -1: nothing is
    joined_at       BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
);

CREATE INDEX members_by_user ON members (user_id, conversation_id);

-- Who was removed from a group and may not join again by himself.
CREATE TABLE removed_members (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    user_id         TEXT   NOT NULL,
    removed_at      BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
);

-- What makes a send with a client_msg_id exactly-once.
CREATE TABLE sends (
    conversation_id TEXT   NOT NULL REFERENCES conversations,
    from_user_id    TEXT   NOT NULL,
    client_msg_id   TEXT   NOT NULL,
    seq             BIGINT NOT NULL,
    digest          TEXT   NOT NULL,  -- of type and content: the same key with others is refused
    PRIMARY KEY (conversation_id, from_user_id, client_msg_id)
);
