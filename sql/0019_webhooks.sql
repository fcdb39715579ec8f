-- Readers of the log of changes that go on where they were. holder: the process that reads, until held_until (Unix
-- milliseconds); '' where none does. Of a copy of the database the epoch is another one: they go on from its now.
CREATE TABLE log_readers (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    held_until BIGINT NOT NULL,
    epoch      TEXT   NOT NULL,
    position   BIGINT NOT NULL
);

CREATE TABLE webhooks (
    webhook_id       TEXT    NOT NULL PRIMARY KEY,
    url              TEXT    NOT NULL,
    description      TEXT    NOT NULL,
    events           TEXT    NOT NULL,  -- of the filter, JSON lists
    conversation_ids TEXT    NOT NULL,
    message_types    TEXT    NOT NULL,
    enabled          INTEGER NOT NULL,
    disabled_reason  TEXT    NOT NULL,
    secret           TEXT    NOT NULL,
    previous_secret  TEXT    NOT NULL,  -- signs until previous_until (Unix milliseconds); '' for none
    previous_until   BIGINT  NOT NULL,
    created_at       BIGINT  NOT NULL,
    updated_at       BIGINT  NOT NULL
);

-- What could not be delivered yet, without content: a row of the log of changes, and which of the events that it is.
-- Of each webhook in the order of the log, by number. A lane (a conversation, else a user) goes on after its first row.
CREATE TABLE webhook_deliveries (
    webhook_id      TEXT    NOT NULL REFERENCES webhooks,
    number          BIGINT  NOT NULL,
    delivery_id     TEXT    NOT NULL,
    event           TEXT    NOT NULL,
    lane            TEXT    NOT NULL,
    change          TEXT    NOT NULL,  -- JSON
    change_index    INTEGER NOT NULL,
    state           TEXT    NOT NULL,  -- pending, parked
    attempts        INTEGER NOT NULL,
    next_attempt_at BIGINT  NOT NULL,
    created_at      BIGINT  NOT NULL,
    last_error      TEXT    NOT NULL,
    PRIMARY KEY (webhook_id, number),
    UNIQUE (webhook_id, delivery_id)
);

CREATE INDEX webhook_deliveries_by_lane ON webhook_deliveries (webhook_id, lane, number) WHERE state = 'pending';
