-- What these did, the statements of gochat/repo/ do: membership.py and sending.py keep last_seq and active_at of members,
-- users.py keeps the search index.
DROP TRIGGER members_entered;
DROP TRIGGER conversations_active;
DROP TRIGGER conversations_grown;
DROP TRIGGER user_search_created;
DROP TRIGGER user_search_changing;
DROP TRIGGER user_search_changed;
DROP TRIGGER user_search_deleting;
