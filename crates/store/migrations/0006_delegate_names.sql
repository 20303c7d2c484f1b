-- A join token may be for one name, and a name belongs to one live delegate.
ALTER TABLE join_tokens ADD COLUMN delegate_name TEXT NOT NULL DEFAULT '';   -- empty: any name
CREATE INDEX delegates_live ON delegates (name) WHERE revoked_at IS NULL;
CREATE INDEX enrolments_delegate ON enrolments (delegate);
