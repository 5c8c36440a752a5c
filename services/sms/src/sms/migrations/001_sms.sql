-- Orders, the services made from them, their links and segments, what operators reported, and the journal.
-- Whoever changes anything of an order locks its row in `orders` first. Tables that tenants see have row-level
-- security: the api role sees one tenant's rows, or all of them for reading when bellweave.operator is on.

CREATE TABLE orders (
    order_id   text PRIMARY KEY,
    tenant     text NOT NULL,
    name       text,
    kind       text NOT NULL,
    ask        jsonb NOT NULL,
    state      text NOT NULL CHECK (state IN ('received', 'placing', 'committing', 'stabilizing', 'completed',
                   'refused', 'failed', 'cancelled')),
    service_id text,
    attempt    integer NOT NULL,
    ending     text CHECK (ending IN ('refused', 'failed', 'cancelled')),
    problem    jsonb,
    deadline_s double precision NOT NULL,
    created_at timestamptz NOT NULL,
    version    integer NOT NULL
);
CREATE INDEX orders_of_tenant ON orders (tenant, order_id DESC);

CREATE TABLE services (
    service_id         text PRIMARY KEY,
    order_id           text NOT NULL UNIQUE REFERENCES orders,
    tenant             text NOT NULL,
    name               text,
    kind               text NOT NULL,
    sites              text[] NOT NULL,
    security_level     text NOT NULL,
    state              text NOT NULL CHECK (state IN ('provisioning', 'stabilizing', 'active', 'degraded',
                           'terminating', 'terminated', 'failed')),
    reason             text NOT NULL,
    removal            integer NOT NULL,
    ends_as            text NOT NULL CHECK (ends_as IN ('terminated', 'failed')),
    active_since       timestamptz,
    expected_active_at timestamptz,
    created_at         timestamptz NOT NULL,
    version            integer NOT NULL
);
CREATE INDEX services_of_tenant ON services (tenant, service_id DESC);

CREATE TABLE links (
    link_id    text PRIMARY KEY,
    service_id text NOT NULL REFERENCES services ON DELETE CASCADE,
    tenant     text NOT NULL,
    place      integer NOT NULL,
    a          text NOT NULL,
    b          text NOT NULL,
    joint      jsonb,
    figures    jsonb,
    why        text NOT NULL,
    state      text NOT NULL,
    cause      text NOT NULL,
    version    integer NOT NULL
);
CREATE INDEX links_of_service ON links (service_id, place);
CREATE INDEX links_of_tenant ON links (tenant, link_id DESC);

-- What was asked of each operator, written by the order alone.
CREATE TABLE segments (
    link_id  text NOT NULL REFERENCES links ON DELETE CASCADE,
    operator text NOT NULL,
    tenant   text NOT NULL,
    request  jsonb NOT NULL,
    placed   jsonb,
    PRIMARY KEY (link_id, operator)
);

-- What each operator said since, written by the consumer of that operator's events alone: two writers that
-- never meet in a row cannot deadlock, however events and orders are batched.
CREATE TABLE reports (
    link_id        text NOT NULL,
    operator       text NOT NULL,
    tenant         text NOT NULL,
    state          text,
    state_at       timestamptz,
    reason         text NOT NULL DEFAULT '',
    expected_up_at timestamptz,
    placement      jsonb,
    alarm          jsonb,
    alarm_at       timestamptz,
    PRIMARY KEY (link_id, operator),
    FOREIGN KEY (link_id, operator) REFERENCES segments ON DELETE CASCADE
);

-- Services that an operator's events concern and that have not been looked at since. Insert only.
CREATE TABLE heard (
    heard_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator   text NOT NULL,
    service_id text NOT NULL
);
CREATE INDEX heard_by_operator ON heard (operator, heard_id);

-- Usage as it was passed on to billing: each id once for ever. Kept after the service, by intent.
CREATE TABLE usage_records (
    usage_id     text PRIMARY KEY,
    link_id      text NOT NULL,
    tenant       text NOT NULL,
    unit         text NOT NULL,
    quantity     bigint NOT NULL CHECK (quantity >= 0),
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL
);
CREATE TABLE usage_totals (
    link_id  text PRIMARY KEY REFERENCES links ON DELETE CASCADE,
    tenant   text NOT NULL,
    unit     text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 0)
);

-- What people are told. Within one order ids follow the commits, since every writer holds the order's lock;
-- across orders readers go by (xid, note_id) below the oldest transaction still running.
CREATE TABLE journal (
    note_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid        bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    tenant     text NOT NULL,
    order_id   text NOT NULL,
    service_id text,
    link_id    text,
    topic      text NOT NULL CHECK (topic IN ('order', 'service', 'link')),
    step       text NOT NULL,
    told       text NOT NULL,
    data       jsonb NOT NULL,
    at         timestamptz NOT NULL
);
CREATE INDEX journal_of_order ON journal (order_id, note_id);
CREATE INDEX journal_of_service ON journal (service_id, note_id) WHERE topic = 'service';
CREATE INDEX journal_of_tenant ON journal (tenant, xid, note_id);

-- How network-wide changes went. For operators only.
CREATE TABLE change_reports (
    change_id  text PRIMARY KEY,
    purpose    text NOT NULL CHECK (purpose IN ('create', 'remove')),
    order_id   text NOT NULL,
    service_id text NOT NULL,
    tenant     text NOT NULL,
    votes      jsonb NOT NULL DEFAULT '[]',
    timeline   jsonb NOT NULL DEFAULT '[]'
);

-- Changes that wait for elements which another change has claimed, oldest first.
CREATE TABLE waiting (
    key    text PRIMARY KEY,
    loop   text NOT NULL,
    claims text[] NOT NULL,
    since  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What operators said about their sites, so that a restart does not wait for them.
CREATE TABLE known_sites (
    instance text PRIMARY KEY,
    operator text NOT NULL,
    revision integer NOT NULL,
    sites    jsonb NOT NULL,
    borders  text[] NOT NULL
);

DO $$
DECLARE
    seen text;
BEGIN
    FOREACH seen IN ARRAY ARRAY['orders', 'services', 'links', 'segments', 'reports', 'usage_records',
        'usage_totals', 'journal']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', seen);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', seen);
        EXECUTE format('CREATE POLICY own_rows ON %I TO {api} USING (tenant = kit.tenant())
            WITH CHECK (tenant = kit.tenant())', seen);
        EXECUTE format('CREATE POLICY operator_reads ON %I FOR SELECT TO {api}
            USING (current_setting(''bellweave.operator'', true) = ''on'')', seen);
        EXECUTE format('CREATE POLICY worker_does_all ON %I TO {worker} USING (true) WITH CHECK (true)', seen);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO {worker}', seen);
        EXECUTE format('GRANT SELECT ON %I TO {api}', seen);
    END LOOP;
END $$;

GRANT INSERT, UPDATE ON orders TO {api};
GRANT UPDATE ON services TO {api};
GRANT INSERT ON journal TO {api};
GRANT SELECT ON change_reports TO {api};
GRANT SELECT, INSERT, UPDATE, DELETE ON heard, change_reports, waiting, known_sites TO {worker};
