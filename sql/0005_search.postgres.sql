-- What the search of gochat/repo/search.py looks queries up in: all sequences of one, two and three characters of a
-- user's names. pg_trgm would need rights that not everybody has, does not know pairs (Chinese names often have but two
-- characters), and sees nothing but ASCII where the locale is C. COST: so much that the planner computes it for few
-- rows or none, never for a whole table.
CREATE FUNCTION name_grams(username_key TEXT, nickname_key TEXT) RETURNS TEXT[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 100 AS $$
    SELECT array_agg(DISTINCT substr(name, at, size))
    FROM unnest(ARRAY[username_key, nickname_key]) AS name, generate_series(1, 3) AS size,
        generate_series(1, length(name) - size + 1) AS at
$$;

-- Without a list of pending changes, which every search would have to read.
CREATE INDEX users_by_gram ON users USING gin (name_grams(username_key, nickname_key)) WITH (fastupdate = off);

-- For those whose whole nickname was searched for.
CREATE INDEX users_by_nickname ON users (nickname_key, username_key);

-- What very many match is walked past in it, without the table.
CREATE INDEX users_by_names ON users (username_key, nickname_key, status, user_id);
