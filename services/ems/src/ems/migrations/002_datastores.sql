-- What devices have configured and what they should have: contents once, revisions in order, and drift.

-- `base` is canonical XML in the device's schema without what node configurations own, which is `node`;
-- `leaves` shows all of it by path, readable when the schema is gone.
CREATE TABLE content (
    digest  text PRIMARY KEY,
    base    text NOT NULL,
    node    text NOT NULL,
    unknown jsonb NOT NULL,
    leaves  jsonb NOT NULL
);

CREATE TABLE revision (
    element   text NOT NULL REFERENCES device ON DELETE CASCADE,
    datastore text NOT NULL CHECK (datastore IN ('intended', 'running')),
    revision  integer NOT NULL,
    digest    text NOT NULL REFERENCES content,
    cause     text NOT NULL CHECK (cause IN ('learned', 'change', 'sync-from', 'read')),
    who       text NOT NULL,
    change_id text,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (element, datastore, revision)
);
CREATE UNIQUE INDEX revision_of_change ON revision (element, change_id) WHERE change_id IS NOT NULL;

-- Out-of-band changes; times are domain time. One at most is open per element.
CREATE TABLE drift (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    element    text NOT NULL REFERENCES device ON DELETE CASCADE,
    found_at   timestamptz NOT NULL,
    difference jsonb NOT NULL,
    state      text NOT NULL CHECK (state IN ('open', 'overwritten', 'imported', 'gone')),
    ended_at   timestamptz,
    ended_by   text
);
CREATE UNIQUE INDEX drift_open ON drift (element) WHERE state = 'open';

ALTER TABLE device ADD COLUMN drift_policy text NOT NULL DEFAULT 'alarm'
    CHECK (drift_policy IN ('alarm', 'overwrite', 'import'));

GRANT SELECT, INSERT, UPDATE, DELETE ON content, revision, drift TO {worker};
GRANT SELECT ON content, revision, drift TO {api};
GRANT SELECT (drift_policy) ON device TO {api};
