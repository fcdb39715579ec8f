-- What the search of gochat/repo/search.py looks queries up in. The tokens of a user are all sequences of three characters
-- of this text: both names, then each character after a separator, which makes tokens of single characters
-- (separator a separator) and of pairs (a separator b) too: Chinese names often have but two characters.
CREATE VIEW user_names AS
SELECT number, names || char(1) || (
    WITH RECURSIVE spread (done, rest) AS (
        SELECT char(1), names
        UNION ALL
        SELECT done || substr(rest, 1, 1) || char(1), substr(rest, 2) FROM spread WHERE rest <> ''
    )
    SELECT done FROM spread WHERE rest = ''
) AS text
FROM (SELECT rowid AS number, username_key || char(1) || nickname_key AS names FROM users);

-- It keeps no text of its own: INSERT INTO user_search (user_search) VALUES ('rebuild') makes it anew.
CREATE VIRTUAL TABLE user_search USING fts5 (
    text, content = 'user_names', content_rowid = 'number', detail = none, columnsize = 0,
    tokenize = 'trigram case_sensitive 1'
);

INSERT INTO user_search (user_search) VALUES ('rebuild');

CREATE TRIGGER user_search_created AFTER INSERT ON users
BEGIN
    INSERT INTO user_search (rowid, text) SELECT number, text FROM user_names WHERE number = new.rowid;
END;

CREATE TRIGGER user_search_changing BEFORE UPDATE OF username_key, nickname_key ON users
BEGIN
    INSERT INTO user_search (user_search, rowid, text)
        SELECT 'delete', number, text FROM user_names WHERE number = old.rowid;
END;

CREATE TRIGGER user_search_changed AFTER UPDATE OF username_key, nickname_key ON users
BEGIN
    INSERT INTO user_search (rowid, text) SELECT number, text FROM user_names WHERE number = new.rowid;
END;

CREATE TRIGGER user_search_deleting BEFORE DELETE ON users
BEGIN
    INSERT INTO user_search (user_search, rowid, text)
        SELECT 'delete', number, text FROM user_names WHERE number = old.rowid;
END;

-- For those whose whole nickname was searched for.
CREATE INDEX users_by_nickname ON users (nickname_key, username_key);

-- What very many match is walked past in it, without the table.
CREATE INDEX users_by_names ON users (username_key, nickname_key, status, user_id);
