-- The blobs that a step refers to stay as long as the step.
CREATE TABLE step_blobs (
    task        TEXT    NOT NULL REFERENCES execution_steps (task) ON DELETE CASCADE,
    hash        TEXT    NOT NULL,
    PRIMARY KEY (hash, task)
);
CREATE INDEX step_blobs_task ON step_blobs (task);
-- Of a step that is there already only the snapshot can be told; a running one is a task too, which names all of them.
INSERT INTO step_blobs (task, hash)
SELECT task, request ->> '$.context' FROM execution_steps
WHERE json_valid(request) AND length(request ->> '$.context') = 64;
