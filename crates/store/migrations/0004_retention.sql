-- When old rows may go.
ALTER TABLE tasks ADD COLUMN told_at BIGINT;           -- when the engine had heard of the end
UPDATE tasks SET told_at = created_at WHERE told;
CREATE INDEX tasks_told ON tasks (told_at) WHERE told;
CREATE INDEX executions_ended ON executions (id, ended_at) WHERE ended_at IS NOT NULL;
