-- Times are milliseconds since the Unix epoch, UTC. An empty org or project means "not set".

CREATE TABLE join_tokens (
    id          TEXT   NOT NULL PRIMARY KEY,
    hash        BLOB   NOT NULL,               -- SHA-256 of the token's secret part
    label       TEXT   NOT NULL,
    org         TEXT   NOT NULL,
    project     TEXT   NOT NULL,
    max_uses    BIGINT NOT NULL,
    uses        BIGINT NOT NULL DEFAULT 0,
    created_by  TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    revoked_at  BIGINT
);

CREATE TABLE delegates (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    org         TEXT   NOT NULL,
    project     TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    seen_at     BIGINT,
    certificate_ends_at BIGINT,                -- of the newest certificate
    revoked_at  BIGINT
);

-- One use of a token: the same key always gets the same delegate.
CREATE TABLE enrolments (
    token       TEXT   NOT NULL REFERENCES join_tokens (id),
    public_key  BLOB   NOT NULL,               -- SHA-256 of the public key
    delegate    TEXT   NOT NULL REFERENCES delegates (id),
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (token, public_key)
);

CREATE TABLE tasks (
    id          TEXT    NOT NULL PRIMARY KEY,
    version     BIGINT  NOT NULL,              -- for compare-and-set
    org         TEXT    NOT NULL,
    project     TEXT    NOT NULL,
    selectors   TEXT    NOT NULL,              -- JSON array
    payload     BLOB    NOT NULL,              -- the task, protobuf, without its epoch; emptied once told
    record      TEXT    NOT NULL,              -- who holds it, JSON
    delegate    TEXT,                          -- to which it was offered last
    outcome     BLOB,                          -- its result, protobuf
    ended       BOOLEAN NOT NULL DEFAULT FALSE,
    told        BOOLEAN NOT NULL DEFAULT FALSE,-- the engine has heard of the end
    deadline    BIGINT  NOT NULL,
    created_at  BIGINT  NOT NULL
);
CREATE INDEX tasks_untold ON tasks (created_at) WHERE NOT told;
