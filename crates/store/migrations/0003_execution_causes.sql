-- Why an execution failed or was aborted, for lists.
ALTER TABLE executions ADD COLUMN message TEXT;
ALTER TABLE executions ADD COLUMN code TEXT;           -- stable code of the error that message tells
