-- The guests that the background may have to disable.
CREATE INDEX users_active_guests ON users (user_id) WHERE is_guest = 1 AND status = 1;
