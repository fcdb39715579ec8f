-- When a user was last seen: at each sign-in and refresh, which whoever uses the service does every [auth] access_ttl.
-- Apart from users and sessions: its rows change often, and stay when a session ends.
CREATE TABLE activity (
    user_id   TEXT   NOT NULL PRIMARY KEY REFERENCES users,
    active_at BIGINT NOT NULL
);

CREATE INDEX activity_by_time ON activity (active_at);

INSERT INTO activity SELECT user_id, MAX(refreshed_at) FROM sessions GROUP BY user_id;
