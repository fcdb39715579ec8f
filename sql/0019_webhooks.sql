-- Readers of the log of changes that go on where they were. holder: the process that reads, until held_until (Unix
-- milliseconds); '' where none does. Of a copy of the database the epoch is another one: they go on from its now.
CREATE TABLE log_readers (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    held_until BIGINT NOT NULL,
    epoch      TEXT   NOT NULL,
    position   BIGINT NOT NULL
);
