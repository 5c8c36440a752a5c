-- Customers, plans, contracts, quotas, usage, charges and invoices.
-- Every table has row-level security: the api role reads one tenant's rows, or all of them when bellweave.staff
-- is on (roles billing and auditor); it writes nothing here. All changes are made by the worker role.

CREATE TABLE customers (
    tenant     text PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL,
    version    integer NOT NULL
);

CREATE TABLE plans (
    name        text PRIMARY KEY,
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    monthly_fee numeric NOT NULL CHECK (monthly_fee >= 0),
    created_at  timestamptz NOT NULL,
    version     integer NOT NULL
);
CREATE TABLE prices (
    plan      text NOT NULL REFERENCES plans,
    unit      text NOT NULL,
    price_per numeric NOT NULL CHECK (price_per > 0),
    amount    numeric NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (plan, unit)
);

-- One contract per tenant for now; `contract_id` is what the rest refers to.
CREATE TABLE contracts (
    contract_id        text PRIMARY KEY,
    tenant             text NOT NULL UNIQUE REFERENCES customers,
    plan               text NOT NULL REFERENCES plans,
    starts_at          timestamptz NOT NULL,
    links_limit        bigint NOT NULL CHECK (links_limit >= 0),
    key_rate_limit_bps bigint NOT NULL CHECK (key_rate_limit_bps >= 0),
    created_at         timestamptz NOT NULL,
    version            integer NOT NULL
);

-- What a tenant's orders hold. The checks stand whatever the code does: orders at once cannot pass the limit.
CREATE TABLE quotas (
    tenant             text PRIMARY KEY REFERENCES customers,
    links_limit        bigint NOT NULL,
    key_rate_limit_bps bigint NOT NULL,
    links_used         bigint NOT NULL DEFAULT 0,
    key_rate_used_bps  bigint NOT NULL DEFAULT 0,
    version            integer NOT NULL DEFAULT 1,
    CONSTRAINT links_within_quota CHECK (links_used BETWEEN 0 AND links_limit),
    CONSTRAINT key_rate_within_quota CHECK (key_rate_used_bps BETWEEN 0 AND key_rate_limit_bps)
);

-- One row per order for ever: a released one stays, so that a late repetition takes nothing.
CREATE TABLE quota_reservations (
    order_id     text PRIMARY KEY,
    tenant       text NOT NULL,
    links        bigint NOT NULL CHECK (links >= 0),
    key_rate_bps bigint NOT NULL CHECK (key_rate_bps >= 0),
    released     boolean NOT NULL DEFAULT false,
    reserved_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reservations_held ON quota_reservations (tenant) WHERE NOT released;

-- Services as the SMS told of them: whose they are and what they are called on a bill.
CREATE TABLE services (
    service_id text PRIMARY KEY,
    tenant     text NOT NULL,
    order_id   text NOT NULL,
    kind       text NOT NULL,
    state      text NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Usage as it was delivered, each id once for ever, whatever became of it. Times are domain time.
CREATE TABLE usage_records (
    usage_id     text PRIMARY KEY,
    tenant       text NOT NULL,
    service_id   text NOT NULL,
    link_id      text NOT NULL,
    unit         text NOT NULL,
    quantity     bigint NOT NULL CHECK (quantity >= 0),
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    suspended    text,
    received_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX usage_of_tenant ON usage_records (tenant, period_start, usage_id);
CREATE INDEX usage_by_time ON usage_records (period_start, usage_id);
CREATE INDEX usage_suspended ON usage_records (tenant, usage_id) WHERE suspended IS NOT NULL;

CREATE TABLE invoice_numbers (
    series text PRIMARY KEY,
    last   bigint NOT NULL CHECK (last >= 0)
);
INSERT INTO invoice_numbers VALUES ('main', 0);

CREATE TABLE invoices (
    invoice_id   text PRIMARY KEY,
    number       text NOT NULL UNIQUE,
    tenant       text NOT NULL REFERENCES customers,
    contract_id  text NOT NULL REFERENCES contracts,
    currency     text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    issued_at    timestamptz NOT NULL,
    total        numeric NOT NULL,
    state        text NOT NULL CHECK (state = 'issued'),
    version      integer NOT NULL
);
CREATE INDEX invoices_of_tenant ON invoices (tenant, invoice_id DESC);
CREATE TABLE invoice_lines (
    invoice_id text NOT NULL REFERENCES invoices,
    place      integer NOT NULL,
    tenant     text NOT NULL,
    text       text NOT NULL,
    service_id text,
    link_id    text,
    unit       text NOT NULL,
    quantity   numeric NOT NULL,
    price_per  numeric NOT NULL,
    unit_price numeric NOT NULL,
    amount     numeric NOT NULL,
    PRIMARY KEY (invoice_id, place)
);

-- What is to be paid, exactly: usage once per record, the fee once per contract month. On one invoice at most.
CREATE TABLE charges (
    charge_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       text NOT NULL,
    contract_id  text NOT NULL REFERENCES contracts,
    usage_id     text UNIQUE REFERENCES usage_records,
    month_start  timestamptz,
    service_id   text,
    link_id      text,
    unit         text NOT NULL,
    quantity     bigint NOT NULL,
    price_per    numeric NOT NULL,
    price_amount numeric NOT NULL,
    amount       numeric NOT NULL,
    due_at       timestamptz NOT NULL,
    invoice_id   text REFERENCES invoices DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT fee_once UNIQUE (contract_id, month_start),
    CONSTRAINT usage_or_fee CHECK ((usage_id IS NULL) <> (month_start IS NULL))
);
CREATE INDEX charges_open ON charges (tenant, due_at) WHERE invoice_id IS NULL;
CREATE INDEX charges_of_invoice ON charges (invoice_id) WHERE invoice_id IS NOT NULL;

-- A closed invoice never changes, and neither do the charges on it, whoever asks.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'closed invoices never change' USING ERRCODE = 'check_violation',
        CONSTRAINT = 'closed_invoice';
END $$;
CREATE TRIGGER closed BEFORE UPDATE OR DELETE ON invoices FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER closed BEFORE UPDATE OR DELETE ON invoice_lines FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER closed BEFORE UPDATE OR DELETE ON charges FOR EACH ROW
    WHEN (OLD.invoice_id IS NOT NULL) EXECUTE FUNCTION refuse_change();

-- Nothing is committed whose lines do not add up: the last word, after lines were written or added later.
CREATE FUNCTION check_total() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stated numeric;
    added  numeric;
BEGIN
    SELECT total INTO stated FROM invoices WHERE invoice_id = NEW.invoice_id;
    SELECT coalesce(sum(amount), 0) INTO added FROM invoice_lines WHERE invoice_id = NEW.invoice_id;
    IF stated <> added THEN
        RAISE EXCEPTION 'lines add up to %, not to %', added, stated USING ERRCODE = 'check_violation',
            CONSTRAINT = 'total_of_lines';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER adds_up AFTER INSERT ON invoices DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_total();

DO $$
DECLARE
    seen text;
BEGIN
    FOREACH seen IN ARRAY ARRAY['customers', 'contracts', 'quotas', 'quota_reservations', 'services',
        'usage_records', 'invoices', 'invoice_lines', 'charges', 'plans', 'prices', 'invoice_numbers']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', seen);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', seen);
        EXECUTE format('CREATE POLICY staff_reads ON %I FOR SELECT TO {api}
            USING (current_setting(''bellweave.staff'', true) = ''on'')', seen);
        EXECUTE format('CREATE POLICY worker_does_all ON %I TO {worker} USING (true) WITH CHECK (true)', seen);
    END LOOP;
    FOREACH seen IN ARRAY ARRAY['customers', 'contracts', 'quotas', 'quota_reservations', 'services',
        'usage_records', 'invoices', 'invoice_lines', 'charges']
    LOOP
        EXECUTE format('CREATE POLICY own_rows ON %I FOR SELECT TO {api} USING (tenant = kit.tenant())', seen);
    END LOOP;
END $$;

-- A tenant sees the plan that its contract names: `contracts` shows it only its own.
CREATE POLICY plan_of_contract ON plans FOR SELECT TO {api}
    USING (EXISTS (SELECT FROM contracts WHERE contracts.plan = plans.name));
CREATE POLICY prices_of_contract ON prices FOR SELECT TO {api}
    USING (EXISTS (SELECT FROM contracts WHERE contracts.plan = prices.plan));

GRANT SELECT ON customers, plans, prices, contracts, quotas, usage_records, charges, invoices, invoice_lines
    TO {api};
GRANT SELECT, INSERT ON customers, plans, prices, contracts, quotas, quota_reservations, services,
    usage_records, charges, invoices, invoice_lines TO {worker};
GRANT SELECT ON invoice_numbers TO {worker};
GRANT UPDATE (version) ON customers TO {worker};  -- row locks ask for it
GRANT UPDATE (links_used, key_rate_used_bps, version) ON quotas TO {worker};
GRANT UPDATE (released) ON quota_reservations TO {worker};
GRANT UPDATE (state, changed_at) ON services TO {worker};
GRANT UPDATE (suspended) ON usage_records TO {worker};
GRANT UPDATE (invoice_id) ON charges TO {worker};
GRANT UPDATE (last) ON invoice_numbers TO {worker};
