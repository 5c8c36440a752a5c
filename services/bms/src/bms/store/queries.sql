-- read_all_tenants: let staff read every tenant's rows, in this transaction
SELECT set_config('bellweave.staff', 'on', true)

-- customer: by tenant
SELECT * FROM customers WHERE tenant = %(tenant)s

-- lock_customer: one invoice of a tenant at a time
SELECT * FROM customers WHERE tenant = %(tenant)s FOR UPDATE

-- add_customer: unless it is there
INSERT INTO customers (tenant, name, created_at, version)
VALUES (%(tenant)s, %(name)s, %(created_at)s, %(version)s) ON CONFLICT DO NOTHING

-- page_of_customers: by tenant
SELECT * FROM customers WHERE tenant > coalesce(%(after)s, '') ORDER BY tenant LIMIT %(limit)s

-- add_plan: unless there is one of that name
INSERT INTO plans (name, currency, monthly_fee, created_at, version)
VALUES (%(name)s, %(currency)s, %(monthly_fee)s, %(created_at)s, %(version)s) ON CONFLICT DO NOTHING

-- add_price: of a new plan
INSERT INTO prices (plan, unit, price_per, amount) VALUES (%(plan)s, %(unit)s, %(price_per)s, %(amount)s)

-- plans: by name, each with its prices as text, so that no decimal passes through a float
SELECT p.name, p.currency, p.monthly_fee, p.created_at, p.version, (
    SELECT coalesce(jsonb_agg(jsonb_build_array(unit, price_per::text, amount::text) ORDER BY unit), '[]')
    FROM prices WHERE prices.plan = p.name) AS prices
FROM plans p
WHERE (%(name)s::text IS NULL OR p.name = %(name)s) AND p.name > coalesce(%(after)s, '')
ORDER BY p.name LIMIT %(limit)s

-- contract_of_tenant: the one that holds
SELECT * FROM contracts WHERE tenant = %(tenant)s

-- contract: by id
SELECT * FROM contracts WHERE contract_id = %(contract_id)s

-- page_of_contracts: by id
SELECT * FROM contracts WHERE contract_id > coalesce(%(after)s, '') ORDER BY contract_id LIMIT %(limit)s

-- add_contract: unless the tenant has one, with its empty quota
WITH signed AS (
    INSERT INTO contracts (contract_id, tenant, plan, starts_at, links_limit, key_rate_limit_bps, created_at,
        version)
    VALUES (%(contract_id)s, %(tenant)s, %(plan)s, %(starts_at)s, %(links_limit)s, %(key_rate_limit_bps)s,
        %(created_at)s, %(version)s)
    ON CONFLICT DO NOTHING
    RETURNING tenant, links_limit, key_rate_limit_bps
)
INSERT INTO quotas (tenant, links_limit, key_rate_limit_bps) SELECT * FROM signed

-- quota: what a tenant's orders hold
SELECT * FROM quotas WHERE tenant = %(tenant)s

-- lock_quota: one order of a tenant at a time
SELECT * FROM quotas WHERE tenant = %(tenant)s FOR UPDATE

-- save_quota: what is held now; the table's checks keep it within the limits
UPDATE quotas SET links_used = %(links_used)s, key_rate_used_bps = %(key_rate_used_bps)s, version = %(version)s
WHERE tenant = %(tenant)s

-- lock_reservation: what an order holds
SELECT * FROM quota_reservations WHERE order_id = %(order_id)s FOR UPDATE

-- add_reservation: once per order
INSERT INTO quota_reservations (order_id, tenant, links, key_rate_bps, released)
VALUES (%(order_id)s, %(tenant)s, %(links)s, %(key_rate_bps)s, %(released)s) ON CONFLICT DO NOTHING

-- release_reservation: for ever
UPDATE quota_reservations SET released = true WHERE order_id = %(order_id)s

-- put_service: unless something newer is known
INSERT INTO services AS s (service_id, tenant, order_id, kind, state, changed_at)
VALUES (%(service_id)s, %(tenant)s, %(order_id)s, %(kind)s, %(state)s, %(changed_at)s)
ON CONFLICT (service_id) DO UPDATE SET state = excluded.state, changed_at = excluded.changed_at
    WHERE s.changed_at < excluded.changed_at
RETURNING xmax = 0 AS fresh

-- service_tenant: whose service it is
SELECT tenant FROM services WHERE service_id = %(service_id)s

-- add_usage: once per usage id
INSERT INTO usage_records (usage_id, tenant, service_id, link_id, unit, quantity, period_start, period_end,
    suspended)
VALUES (%(usage_id)s, %(tenant)s, %(service_id)s, %(link_id)s, %(unit)s, %(quantity)s, %(period_start)s,
    %(period_end)s, %(suspended)s)
ON CONFLICT DO NOTHING

-- add_charge: what a usage record costs
INSERT INTO charges (tenant, contract_id, usage_id, service_id, link_id, unit, quantity, price_per, price_amount,
    amount, due_at)
VALUES (%(tenant)s, %(contract_id)s, %(usage_id)s, %(service_id)s, %(link_id)s, %(unit)s, %(quantity)s,
    %(price_per)s, %(price_amount)s, %(amount)s, %(due_at)s)

-- add_fee: what a contract month costs, once
INSERT INTO charges (tenant, contract_id, month_start, unit, quantity, price_per, price_amount, amount, due_at)
VALUES (%(tenant)s, %(contract_id)s, %(month_start)s, %(unit)s, 1, 1, %(amount)s, %(amount)s, %(month_start)s)
ON CONFLICT ON CONSTRAINT fee_once DO NOTHING

-- suspended_usage: a tenant's records without a charge, by id
SELECT * FROM usage_records
WHERE tenant = %(tenant)s AND suspended IS NOT NULL AND usage_id > %(after)s
ORDER BY usage_id LIMIT %(limit)s FOR UPDATE

-- set_suspended: another reason, or none any more
UPDATE usage_records SET suspended = %(suspended)s WHERE usage_id = %(usage_id)s

-- close_charges: put what is due on an invoice, added up by line
WITH closed AS (
    UPDATE charges SET invoice_id = %(invoice_id)s
    WHERE tenant = %(tenant)s AND invoice_id IS NULL AND due_at <= %(until)s
    RETURNING service_id, link_id, unit, price_per, price_amount, month_start, quantity, amount
)
SELECT service_id, link_id, unit, price_per, price_amount, month_start,
    (SELECT kind FROM services s WHERE s.service_id = closed.service_id) AS kind,
    sum(quantity) AS quantity, sum(amount) AS amount
FROM closed GROUP BY service_id, link_id, unit, price_per, price_amount, month_start

-- next_number: of invoices; nobody else gets one until this transaction ends
UPDATE invoice_numbers SET last = last + 1 WHERE series = 'main' RETURNING last

-- last_invoice: of a tenant, by the time it reaches to
SELECT * FROM invoices WHERE tenant = %(tenant)s ORDER BY period_end DESC LIMIT 1

-- add_invoice: it never changes again
INSERT INTO invoices (invoice_id, number, tenant, contract_id, currency, period_start, period_end, issued_at,
    total, state, version)
VALUES (%(invoice_id)s, %(number)s, %(tenant)s, %(contract_id)s, %(currency)s, %(period_start)s, %(period_end)s,
    %(issued_at)s, %(total)s, %(state)s, %(version)s)

-- add_line: of a new invoice
INSERT INTO invoice_lines (invoice_id, place, tenant, text, service_id, link_id, unit, quantity, price_per,
    unit_price, amount)
VALUES (%(invoice_id)s, %(place)s, %(tenant)s, %(text)s, %(service_id)s, %(link_id)s, %(unit)s, %(quantity)s,
    %(price_per)s, %(unit_price)s, %(amount)s)

-- page_of_invoices: newest first
SELECT * FROM invoices
WHERE (%(tenant)s::text IS NULL OR tenant = %(tenant)s) AND (%(after)s::text IS NULL OR invoice_id < %(after)s)
ORDER BY invoice_id DESC LIMIT %(limit)s

-- invoice: by id
SELECT * FROM invoices WHERE invoice_id = %(invoice_id)s

-- lines_of_invoice: in their order
SELECT * FROM invoice_lines WHERE invoice_id = %(invoice_id)s ORDER BY place

-- usage_newest_first: a page of records with what became of them
SELECT u.*, c.amount, c.invoice_id, p.currency
FROM usage_records u LEFT JOIN charges c USING (usage_id) LEFT JOIN contracts k ON k.contract_id = c.contract_id
    LEFT JOIN plans p ON p.name = k.plan
WHERE (%(tenant)s::text IS NULL OR u.tenant = %(tenant)s)
    AND (%(service_id)s::text IS NULL OR u.service_id = %(service_id)s)
    AND (%(start)s::timestamptz IS NULL OR u.period_start >= %(start)s)
    AND (%(end)s::timestamptz IS NULL OR u.period_start < %(end)s)
    AND (%(suspended)s::boolean IS NULL OR (u.suspended IS NOT NULL) = %(suspended)s)
    AND (%(after_start)s::timestamptz IS NULL
        OR (u.period_start, u.usage_id) < (%(after_start)s, %(after_id)s::text))
ORDER BY u.period_start DESC, u.usage_id DESC LIMIT %(limit)s

-- usage_oldest_first: the same the other way round, for exports
SELECT u.*, c.amount, c.invoice_id, p.currency
FROM usage_records u LEFT JOIN charges c USING (usage_id) LEFT JOIN contracts k ON k.contract_id = c.contract_id
    LEFT JOIN plans p ON p.name = k.plan
WHERE (%(tenant)s::text IS NULL OR u.tenant = %(tenant)s)
    AND (%(service_id)s::text IS NULL OR u.service_id = %(service_id)s)
    AND (%(start)s::timestamptz IS NULL OR u.period_start >= %(start)s)
    AND (%(end)s::timestamptz IS NULL OR u.period_start < %(end)s)
    AND (%(suspended)s::boolean IS NULL OR (u.suspended IS NOT NULL) = %(suspended)s)
    AND (%(after_start)s::timestamptz IS NULL
        OR (u.period_start, u.usage_id) > (%(after_start)s, %(after_id)s::text))
ORDER BY u.period_start, u.usage_id LIMIT %(limit)s
