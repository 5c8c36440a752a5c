-- What qkit keeps in every instance's database. {api} and {worker} are the limited roles.

GRANT USAGE ON SCHEMA kit TO {api}, {worker};

-- The tenant of this transaction, or NULL: policies compare with it, so that no tenant means no rows.
CREATE FUNCTION kit.tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('bellweave.tenant', true), '');

-- Events out. Rows get their sequence from the relay, once they are committed.
CREATE TABLE kit.outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text NOT NULL,
    type        text NOT NULL,
    data        json NOT NULL,
    traceparent text,
    emitted_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    sequence    bigint UNIQUE,
    published_at timestamptz
);
CREATE INDEX outbox_unnumbered ON kit.outbox (id) WHERE sequence IS NULL;
CREATE INDEX outbox_unpublished ON kit.outbox (sequence) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON kit.outbox (published_at);

-- One row. `incarnation` is new when the database is: sequences start again without looking like duplicates.
CREATE TABLE kit.outbox_source (
    single        boolean PRIMARY KEY DEFAULT true CHECK (single),
    incarnation   text NOT NULL DEFAULT left(replace(gen_random_uuid()::text, '-', ''), 12),
    last_sequence bigint NOT NULL DEFAULT 0,
    pruned_to     bigint NOT NULL DEFAULT 0
);
INSERT INTO kit.outbox_source DEFAULT VALUES;

-- Events in. Everything up to `seen_to` was handled; `inbox` holds what was handled beyond a hole.
CREATE TABLE kit.inbox_position (
    source      text NOT NULL,
    incarnation text NOT NULL,
    seen_to     bigint NOT NULL DEFAULT 0,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, incarnation)
);
CREATE TABLE kit.inbox (
    source      text NOT NULL,
    incarnation text NOT NULL,
    sequence    bigint NOT NULL,
    PRIMARY KEY (source, incarnation, sequence)
);
CREATE TABLE kit.dead_letter (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer    text NOT NULL,
    source      text NOT NULL,
    incarnation text NOT NULL,
    sequence    bigint NOT NULL,
    type        text NOT NULL,
    envelope    text NOT NULL,
    kind        text NOT NULL,
    reason      text NOT NULL,
    failed_at   timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz
);
CREATE UNIQUE INDEX dead_letter_once ON kit.dead_letter (source, incarnation, sequence) WHERE sequence > 0;

-- Replies of requests that are answered once per request id.
CREATE TABLE kit.request_log (
    request_id  text PRIMARY KEY,
    operation   text NOT NULL,
    body_hash   bytea NOT NULL,
    reply       json,
    answered_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX request_log_age ON kit.request_log (answered_at);

-- Answers of HTTP requests that carried an Idempotency-Key.
CREATE TABLE kit.idempotency (
    scope        text NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       integer NOT NULL,
    headers      json NOT NULL,
    body         bytea NOT NULL,
    answered_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_age ON kit.idempotency (answered_at);

-- One row per live process. An epoch is never used twice.
CREATE SEQUENCE kit.lease_epoch;
CREATE TABLE kit.lease (
    holder     text PRIMARY KEY,
    epoch      bigint NOT NULL UNIQUE,
    expires_at timestamptz NOT NULL
);

-- Reconcile loops. `epoch` names the lease that works on the key now; `due_at` is infinity meanwhile.
CREATE TABLE kit.work (
    loop       text NOT NULL,
    key        text NOT NULL,
    due_at     timestamptz NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    last_error text,
    epoch      bigint,
    PRIMARY KEY (loop, key)
);
CREATE INDEX work_due ON kit.work (loop, due_at) WHERE epoch IS NULL;
CREATE INDEX work_claimed ON kit.work (loop) WHERE epoch IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA kit TO {worker};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA kit TO {worker};
REVOKE INSERT, UPDATE, DELETE ON kit.migration FROM {worker};
REVOKE INSERT, DELETE ON kit.outbox_source FROM {worker};

-- The api role emits events, wakes loops, remembers answers and checks the lease: no more.
GRANT INSERT ON kit.outbox TO {api};
GRANT SELECT, INSERT, UPDATE ON kit.work TO {api};
GRANT SELECT, INSERT ON kit.idempotency TO {api};
GRANT SELECT, INSERT, UPDATE ON kit.request_log TO {api};
GRANT SELECT ON kit.dead_letter, kit.inbox_position TO {api};
GRANT SELECT, UPDATE ON kit.lease TO {api};  -- UPDATE: row locks ask for it
