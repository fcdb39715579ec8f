-- The id by which the operator's own systems know a user: opaque, compared byte by byte. Programs of the version before
-- insert users without it.
ALTER TABLE users ADD COLUMN external_id TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX users_by_external_id ON users (external_id) WHERE external_id <> '';

ALTER TABLE users ADD COLUMN is_guest INTEGER NOT NULL DEFAULT 0;

-- Who made the call for the actor, who was not there themselves: service; '' where nobody did.
ALTER TABLE audit_log ADD COLUMN acted_by TEXT NOT NULL DEFAULT '';
