-- The network-wide commit's durable state, the same at every level. A change is one row, so that saving it is
-- one write; see qcommit.machine for the phases and what must be saved when.
CREATE TABLE kit.commit_change (
    change_id         text PRIMARY KEY,
    level             text NOT NULL CHECK (level IN ('root', 'middle', 'leaf')),
    epoch             bigint NOT NULL,
    parent            text,
    phase             text NOT NULL,
    confirm_timeout_s double precision NOT NULL,
    deadline_s        double precision NOT NULL,
    refusal           text,
    refused_where     text,
    provision_epoch   bigint,
    voted             boolean NOT NULL,
    decided_at_s      double precision,
    members           jsonb NOT NULL,
    body              jsonb NOT NULL,
    settled           boolean NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX commit_unsettled ON kit.commit_change (created_at) WHERE NOT settled;

-- What a change has for itself until it ends: one holder per resource.
CREATE TABLE kit.commit_claim (
    resource   text PRIMARY KEY,
    change_id  text NOT NULL REFERENCES kit.commit_change,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX commit_claim_of ON kit.commit_claim (change_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON kit.commit_change, kit.commit_claim TO {worker};
GRANT SELECT ON kit.commit_change, kit.commit_claim TO {api};
