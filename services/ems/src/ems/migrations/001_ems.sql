-- What one EMS owns: devices, what each should do, and what was last seen of it.

-- `login` is encrypted by the process (see ems.adapters.vault); the database never sees a credential.
CREATE TABLE device (
    name       text PRIMARY KEY,
    host       text NOT NULL,
    port       integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    host_key   text NOT NULL,
    login_user text NOT NULL,
    login      bytea NOT NULL,
    state      text NOT NULL CHECK (state IN ('learning', 'managed', 'observed', 'unreachable', 'quarantined')),
    problem    text,
    profile    jsonb,
    traits     jsonb NOT NULL DEFAULT '{}',
    version    integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Every intended configuration that was ever in force; the highest revision is.
CREATE TABLE intended (
    element   text NOT NULL REFERENCES device ON DELETE CASCADE,
    revision  integer NOT NULL,
    target    jsonb NOT NULL,
    change_id text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (element, revision),
    UNIQUE (element, change_id)
);

-- Times are domain time.
CREATE TABLE alarm (
    element    text NOT NULL REFERENCES device ON DELETE CASCADE,
    resource   text NOT NULL,
    alarm_type text NOT NULL,
    severity   text NOT NULL,
    text       text NOT NULL,
    raised_at  timestamptz NOT NULL,
    cleared_at timestamptz,
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
CREATE UNIQUE INDEX alarm_active ON alarm (element, resource, alarm_type) WHERE cleared_at IS NULL;

-- What was last told about each element, so that only changes are told again.
CREATE TABLE readiness (
    element   text PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    reachable boolean NOT NULL,
    circuits  jsonb NOT NULL,
    at        timestamptz NOT NULL
);

-- Up to where each counter was turned into usage. A new boot id starts from zero.
CREATE TABLE usage_mark (
    element text NOT NULL REFERENCES device ON DELETE CASCADE,
    link_id text NOT NULL,
    boot_id text NOT NULL,
    unit    text NOT NULL,
    counted bigint NOT NULL CHECK (counted >= 0),
    at      timestamptz NOT NULL,
    PRIMARY KEY (element, link_id, boot_id)
);

CREATE TABLE performance (
    element text PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    at      timestamptz NOT NULL,
    values  jsonb NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON device, intended, alarm, readiness, usage_mark, performance TO {worker};
GRANT SELECT ON intended, alarm, readiness, usage_mark, performance TO {api};
GRANT SELECT (name, host, port, host_key, login_user, state, problem, profile, traits, version, created_at)
    ON device TO {api};
