-- Times are milliseconds since the Unix epoch, UTC. An empty org or project means "not set".

CREATE TABLE entities (
    kind        TEXT    NOT NULL,
    org         TEXT    NOT NULL,
    project     TEXT    NOT NULL,
    parent      TEXT    NOT NULL,              -- environment of an infrastructure definition, else ''
    identifier  TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    path        TEXT    NOT NULL,              -- of a file in the file store, else ''
    version     BIGINT  NOT NULL,              -- the current one, counted from 1, never reused
    deleted     BOOLEAN NOT NULL DEFAULT FALSE,
    created_at  BIGINT  NOT NULL,
    updated_at  BIGINT  NOT NULL,
    PRIMARY KEY (kind, org, project, parent, identifier)
);
CREATE UNIQUE INDEX entities_path ON entities (org, project, path) WHERE path <> '' AND NOT deleted;

CREATE TABLE entity_versions (
    kind        TEXT   NOT NULL,
    org         TEXT   NOT NULL,
    project     TEXT   NOT NULL,
    parent      TEXT   NOT NULL,
    identifier  TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    text        TEXT   NOT NULL,               -- as the user wrote it
    created_by  TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (kind, org, project, parent, identifier, version)
);

CREATE TABLE secret_values (
    org         TEXT   NOT NULL,
    project     TEXT   NOT NULL,
    identifier  TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    key_id      TEXT   NOT NULL,
    ciphertext  BLOB   NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (org, project, identifier)
);

CREATE TABLE users (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    role        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id          TEXT   NOT NULL PRIMARY KEY,
    user_id     TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash        BLOB   NOT NULL,               -- SHA-256 of the token's secret part
    label       TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT,
    revoked_at  BIGINT
);

CREATE TABLE executions (
    id               TEXT   NOT NULL PRIMARY KEY,
    org              TEXT   NOT NULL,
    project          TEXT   NOT NULL,
    pipeline         TEXT   NOT NULL,
    pipeline_version BIGINT NOT NULL,
    sequence         BIGINT NOT NULL,          -- run number of this pipeline, from 1
    plan             TEXT   NOT NULL,
    inputs           TEXT   NOT NULL,
    state            TEXT   NOT NULL,
    status           TEXT   NOT NULL,
    version          BIGINT NOT NULL,          -- compare-and-set of state
    requested_by     TEXT   NOT NULL,
    created_at       BIGINT NOT NULL,
    ended_at         BIGINT,
    UNIQUE (org, project, pipeline, sequence)
);
CREATE INDEX executions_running ON executions (id) WHERE ended_at IS NULL;

CREATE TABLE execution_events (
    execution   TEXT   NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    seq         BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    event       TEXT   NOT NULL,
    PRIMARY KEY (execution, seq)
);

CREATE TABLE execution_pins (
    execution   TEXT   NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    kind        TEXT   NOT NULL,
    org         TEXT   NOT NULL,
    project     TEXT   NOT NULL,
    parent      TEXT   NOT NULL,
    identifier  TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    PRIMARY KEY (execution, kind, org, project, parent, identifier)
);

CREATE TABLE execution_steps (
    task        TEXT   NOT NULL PRIMARY KEY,
    execution   TEXT   NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    node        TEXT   NOT NULL,
    attempt     BIGINT NOT NULL,
    request     TEXT   NOT NULL,
    progress    TEXT,
    created_at  BIGINT NOT NULL,
    UNIQUE (execution, node, attempt)
);

CREATE TABLE log_lines (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    execution   TEXT   NOT NULL,
    node        TEXT   NOT NULL,
    task        TEXT   NOT NULL,
    epoch       BIGINT NOT NULL,
    seq         BIGINT NOT NULL,               -- given by the delegate, per task and epoch
    unit        TEXT   NOT NULL,
    level       TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    text        TEXT   NOT NULL,
    UNIQUE (task, epoch, seq)
);
CREATE INDEX log_lines_execution ON log_lines (execution, position);

CREATE TABLE settings (
    name        TEXT   NOT NULL PRIMARY KEY,
    value       BLOB   NOT NULL
);
