-- What one operator's NMS owns: its topology, what runs where, what that takes, and what is wrong.

-- Every topology that was ever in force; the highest revision is.
CREATE TABLE topology (
    revision    integer PRIMARY KEY,
    document    jsonb NOT NULL,
    imported_by text NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- One row, locked by whoever plans on a topology (shared) or replaces it (alone).
CREATE TABLE topology_in_force (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    revision integer REFERENCES topology
);
INSERT INTO topology_in_force DEFAULT VALUES;

-- A change of what runs: held until it is committed, dropped or expired. `moves` has each link's placement
-- before and after. `report` is what the members answered, kept at its end.
CREATE TABLE change (
    change_id  text PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('place', 'remove', 'heal', 'align')),
    state      text NOT NULL CHECK (state IN ('held', 'committing', 'committed', 'aborted', 'dropped', 'expired')),
    who        text NOT NULL,
    why        text NOT NULL,
    moves      jsonb NOT NULL,
    elements   text[] NOT NULL DEFAULT '{}',
    problem    text,
    report     jsonb NOT NULL DEFAULT '[]',
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz
);

-- Links are never deleted: usage may arrive after their end. `placement` is in force while `in_force`, and
-- only held otherwise. `since` is domain time; `parts` are the elements that have circuits of it.
CREATE TABLE link (
    link_id       text PRIMARY KEY,
    state         text NOT NULL CHECK (state IN ('held', 'committing', 'stabilizing', 'up', 'down', 'released')),
    request       jsonb NOT NULL,
    placement     jsonb NOT NULL,
    in_force      boolean NOT NULL DEFAULT false,
    parts         text[] NOT NULL DEFAULT '{}',
    change_id     text REFERENCES change,
    reason        text NOT NULL DEFAULT '',
    expected_in_s double precision NOT NULL DEFAULT 0,
    since         timestamptz NOT NULL,
    committed_at  timestamptz,
    version       integer NOT NULL DEFAULT 1
);
CREATE INDEX link_in_force ON link (link_id) WHERE in_force;
CREATE INDEX link_parts ON link USING gin (parts) WHERE in_force;

-- Capacity, in parts per million of each resource. `used_ppm` is what links in force and held changes take
-- together: the database has the last word against double booking.
CREATE TABLE resource_use (
    resource text PRIMARY KEY,
    used_ppm integer NOT NULL DEFAULT 0,
    CONSTRAINT resource_never_overbooked CHECK (used_ppm BETWEEN 0 AND 1000000)
);
CREATE TABLE link_share (
    link_id   text NOT NULL REFERENCES link,
    resource  text NOT NULL REFERENCES resource_use,
    share_ppm integer NOT NULL CHECK (share_ppm > 0),
    PRIMARY KEY (link_id, resource)
);
CREATE TABLE change_share (
    change_id text NOT NULL REFERENCES change,
    resource  text NOT NULL REFERENCES resource_use,
    share_ppm integer NOT NULL CHECK (share_ppm > 0),
    PRIMARY KEY (change_id, resource)
);

-- What the network was told to be, change by change: the whole target of every element concerned.
CREATE TABLE network_revision (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change_id text NOT NULL UNIQUE REFERENCES change,
    who       text NOT NULL,
    why       text NOT NULL,
    targets   jsonb NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What EMSs say of their elements. `heard_at` is real time, when the EMS said it. A `stale` element missed a
-- change because it was away; it is aligned when it comes back.
CREATE TABLE element (
    element   text PRIMARY KEY,
    ems       text NOT NULL,
    reachable boolean NOT NULL,
    stale     boolean NOT NULL DEFAULT false,
    heard_at  timestamptz NOT NULL
);
CREATE TABLE readiness (
    element  text NOT NULL REFERENCES element ON DELETE CASCADE,
    link_id  text NOT NULL,
    circuit  jsonb NOT NULL,
    heard_at timestamptz NOT NULL,
    PRIMARY KEY (element, link_id)
);
CREATE INDEX readiness_of_link ON readiness (link_id);

-- Alarms of devices as their EMS tells them; times are domain time, but `heard_at`.
CREATE TABLE device_alarm (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ems        text NOT NULL,
    element    text NOT NULL,
    resource   text NOT NULL,
    alarm_type text NOT NULL,
    severity   text NOT NULL,
    text       text NOT NULL,
    raised_at  timestamptz NOT NULL,
    cleared_at timestamptz,
    heard_at   timestamptz NOT NULL
);
CREATE UNIQUE INDEX device_alarm_active ON device_alarm (element, resource, alarm_type) WHERE cleared_at IS NULL;
CREATE INDEX device_alarm_heard ON device_alarm (element, resource, alarm_type, heard_at DESC);

-- One alarm per disrupted link, naming its root cause.
CREATE TABLE link_alarm (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    link_id    text NOT NULL REFERENCES link,
    severity   text NOT NULL,
    root_cause text NOT NULL,
    text       text NOT NULL,
    raised_at  timestamptz NOT NULL,
    cleared_at timestamptz
);
CREATE UNIQUE INDEX link_alarm_active ON link_alarm (link_id) WHERE cleared_at IS NULL;

-- Which counts of a metered counter were passed on already, so that each is passed on once.
CREATE TABLE usage_counted (
    element text NOT NULL,
    link_id text NOT NULL,
    unit    text NOT NULL,
    boot_id text NOT NULL,
    counted int8multirange NOT NULL,
    PRIMARY KEY (element, link_id, unit, boot_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {worker};
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {api};
GRANT INSERT ON topology TO {api};
GRANT UPDATE ON topology_in_force TO {api};

-- Those who watch read what was told from the outbox.
GRANT SELECT ON kit.outbox, kit.outbox_source TO {api};
