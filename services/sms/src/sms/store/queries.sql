-- order_by_id: one order
SELECT * FROM orders WHERE order_id = %(order_id)s

-- order_locked: one order, locked together with everything that belongs to it
SELECT * FROM orders WHERE order_id = %(order_id)s FOR UPDATE

-- add_order: store a new order
INSERT INTO orders (order_id, tenant, name, kind, ask, state, service_id, attempt, ending, problem, deadline_s,
    created_at, version)
VALUES (%(order_id)s, %(tenant)s, %(name)s, %(kind)s, %(ask)s, %(state)s, %(service_id)s, %(attempt)s,
    %(ending)s, %(problem)s, %(deadline_s)s, %(created_at)s, %(version)s)

-- save_order: what of an order may change
UPDATE orders SET state = %(state)s, service_id = %(service_id)s, attempt = %(attempt)s, ending = %(ending)s,
    problem = %(problem)s, deadline_s = %(deadline_s)s, version = %(version)s
WHERE order_id = %(order_id)s

-- service_by_id: one service
SELECT * FROM services WHERE service_id = %(service_id)s

-- add_service: store a planned service, once
INSERT INTO services (service_id, order_id, tenant, name, kind, sites, security_level, state, reason, removal,
    ends_as, active_since, expected_active_at, created_at, version)
VALUES (%(service_id)s, %(order_id)s, %(tenant)s, %(name)s, %(kind)s, %(sites)s, %(security_level)s, %(state)s,
    %(reason)s, %(removal)s, %(ends_as)s, %(active_since)s, %(expected_active_at)s, %(created_at)s, %(version)s)
ON CONFLICT (service_id) DO NOTHING

-- save_service: what of a service may change
UPDATE services SET state = %(state)s, reason = %(reason)s, removal = %(removal)s, ends_as = %(ends_as)s,
    active_since = %(active_since)s, expected_active_at = %(expected_active_at)s, version = %(version)s
WHERE service_id = %(service_id)s

-- drop_service: delete a service that never came to be; links, segments and reports go with it
DELETE FROM services WHERE service_id = %(service_id)s

-- add_links: store the links of a service with their segments, all in one statement
WITH added AS (
    INSERT INTO links (link_id, service_id, tenant, place, a, b, joint, why, state, cause, version)
    SELECT link_id, service_id, tenant, place, a, b, nullif(joint, 'null'::jsonb), why, state, cause, version
    FROM jsonb_to_recordset(%(links)s) AS l (link_id text, service_id text, tenant text, place integer, a text,
        b text, joint jsonb, why text, state text, cause text, version integer)
    RETURNING link_id
)
INSERT INTO segments (link_id, operator, tenant, request)
SELECT s.link_id, s.operator, s.tenant, s.request
FROM jsonb_to_recordset(%(segments)s) AS s (link_id text, operator text, tenant text, request jsonb)
JOIN added USING (link_id)

-- save_links: what of links may change
UPDATE links SET figures = nullif(l.figures, 'null'::jsonb), why = l.why, state = l.state, cause = l.cause,
    version = l.version
FROM jsonb_to_recordset(%(links)s) AS l (link_id text, figures jsonb, why text, state text, cause text,
    version integer)
WHERE links.link_id = l.link_id

-- save_placed: where segments were placed
UPDATE segments SET placed = s.placed
FROM jsonb_to_recordset(%(segments)s) AS s (link_id text, operator text, placed jsonb)
WHERE segments.link_id = s.link_id AND segments.operator = s.operator

-- links_of_service: links of a service with segments, reports and usage
SELECT l.*, t.unit AS usage_unit, coalesce(t.quantity, 0) AS usage, (
    SELECT jsonb_agg(jsonb_build_object('operator', s.operator, 'request', s.request, 'placed', s.placed,
        'state', r.state, 'state_at', r.state_at, 'reason', r.reason, 'expected_up_at', r.expected_up_at,
        'placement', r.placement, 'alarm', r.alarm) ORDER BY s.operator)
    FROM segments s LEFT JOIN reports r USING (link_id, operator) WHERE s.link_id = l.link_id) AS segments
FROM links l LEFT JOIN usage_totals t USING (link_id)
WHERE l.service_id = %(service_id)s ORDER BY l.place

-- report_state: take in what an operator says about its segment unless newer is known; remember the service
WITH told AS (
    INSERT INTO reports AS r (link_id, operator, tenant, state, state_at, reason, expected_up_at, placement)
    SELECT link_id, operator, tenant, %(state)s, %(at)s, %(reason)s, %(expected_up_at)s, %(placement)s
    FROM segments WHERE link_id = %(link_id)s AND operator = %(operator)s
    ON CONFLICT (link_id, operator) DO UPDATE
    SET state = excluded.state, state_at = excluded.state_at, reason = excluded.reason,
        expected_up_at = excluded.expected_up_at, placement = coalesce(excluded.placement, r.placement)
    WHERE r.state_at IS NULL OR r.state_at <= excluded.state_at
    RETURNING link_id
)
INSERT INTO heard (operator, service_id)
SELECT %(operator)s, service_id FROM told JOIN links USING (link_id)

-- report_alarm: take in an operator's alarm on its segment unless newer is known; remember the service
WITH told AS (
    INSERT INTO reports AS r (link_id, operator, tenant, alarm, alarm_at)
    SELECT link_id, operator, tenant, %(alarm)s, %(at)s
    FROM segments WHERE link_id = %(link_id)s AND operator = %(operator)s
    ON CONFLICT (link_id, operator) DO UPDATE SET alarm = excluded.alarm, alarm_at = excluded.alarm_at
    WHERE r.alarm_at IS NULL OR r.alarm_at <= excluded.alarm_at
    RETURNING link_id
)
INSERT INTO heard (operator, service_id)
SELECT %(operator)s, service_id FROM told JOIN links USING (link_id)

-- heard_of: services that this operator's events concern
SELECT service_id, max(heard_id) AS upto FROM heard WHERE operator = %(operator)s
GROUP BY service_id ORDER BY upto LIMIT %(limit)s

-- forget_heard: what was looked at
DELETE FROM heard WHERE operator = %(operator)s AND service_id = %(service_id)s AND heard_id <= %(upto)s

-- count_usage: add to a link's total and return whose it is, unless this usage was counted before
WITH owner AS (
    SELECT l.link_id, l.service_id, l.tenant FROM links l JOIN segments s USING (link_id)
    WHERE l.link_id = %(link_id)s AND s.operator = %(operator)s
), record AS (
    INSERT INTO usage_records (usage_id, link_id, tenant, unit, quantity, period_start, period_end)
    SELECT %(usage_id)s, link_id, tenant, %(unit)s, %(quantity)s, %(period_start)s, %(period_end)s FROM owner
    ON CONFLICT (usage_id) DO NOTHING
    RETURNING link_id
), total AS (
    INSERT INTO usage_totals AS t (link_id, tenant, unit, quantity)
    SELECT link_id, tenant, %(unit)s, %(quantity)s FROM owner JOIN record USING (link_id)
    ON CONFLICT (link_id) DO UPDATE SET quantity = t.quantity + excluded.quantity
)
SELECT service_id, tenant, EXISTS (SELECT FROM record) AS fresh FROM owner

-- add_report: a change's errand, before anybody is told of it
INSERT INTO change_reports (change_id, purpose, order_id, service_id, tenant, timeline)
VALUES (%(change_id)s, %(purpose)s, %(order_id)s, %(service_id)s, %(tenant)s, %(timeline)s)
ON CONFLICT (change_id) DO NOTHING

-- save_report: votes so far, and one more step of the timeline
UPDATE change_reports SET votes = CASE WHEN %(votes)s::jsonb = '[]' THEN votes ELSE %(votes)s END,
    timeline = timeline || %(step)s
WHERE change_id = %(change_id)s

-- report_of: how a change went
SELECT r.*, c.phase, c.level, c.refusal, c.refused_where
FROM change_reports r JOIN kit.commit_change c USING (change_id) WHERE r.change_id = %(change_id)s

-- stand_in_line: wait for elements; who waits already keeps the place
INSERT INTO waiting (key, loop, claims) VALUES (%(key)s, %(loop)s, %(claims)s)
ON CONFLICT (key) DO UPDATE SET claims = excluded.claims

-- leave_line: wait no longer
DELETE FROM waiting WHERE key = %(key)s

-- line: everybody who waits, oldest first
SELECT loop, key, claims FROM waiting ORDER BY since, key LIMIT 1000

-- add_notes: tell people, in this order
INSERT INTO journal (tenant, order_id, service_id, link_id, topic, step, told, data, at)
SELECT tenant, order_id, service_id, link_id, topic, step, told, data, at
FROM ROWS FROM (jsonb_to_recordset(%(notes)s) AS (tenant text, order_id text, service_id text, link_id text,
    topic text, step text, told text, data jsonb, at timestamptz)) WITH ORDINALITY
    AS n (tenant, order_id, service_id, link_id, topic, step, told, data, at, place)
ORDER BY place

-- known_sites: what operators said about their sites
SELECT * FROM known_sites ORDER BY instance

-- keep_sites: what an operator says now
INSERT INTO known_sites (instance, operator, revision, sites, borders)
VALUES (%(instance)s, %(operator)s, %(revision)s, %(sites)s, %(borders)s)
ON CONFLICT (instance) DO UPDATE SET operator = excluded.operator, revision = excluded.revision,
    sites = excluded.sites, borders = excluded.borders

-- read_all_tenants: let this transaction read every tenant's rows; for operators
SELECT set_config('bellweave.operator', 'on', true)

-- page_of_orders: newest first
SELECT * FROM orders WHERE (%(after)s::text IS NULL OR order_id < %(after)s)
ORDER BY order_id DESC LIMIT %(limit)s

-- page_of_services: newest first
SELECT * FROM services WHERE (%(after)s::text IS NULL OR service_id < %(after)s)
ORDER BY service_id DESC LIMIT %(limit)s

-- page_of_links: newest first, of one service or of all
SELECT l.*, t.unit AS usage_unit, coalesce(t.quantity, 0) AS usage, (
    SELECT jsonb_agg(jsonb_build_object('operator', s.operator, 'request', s.request, 'placed', s.placed,
        'state', r.state, 'state_at', r.state_at, 'reason', r.reason, 'expected_up_at', r.expected_up_at,
        'placement', r.placement, 'alarm', r.alarm) ORDER BY s.operator)
    FROM segments s LEFT JOIN reports r USING (link_id, operator) WHERE s.link_id = l.link_id) AS segments,
    v.state AS service_state
FROM links l JOIN services v USING (service_id) LEFT JOIN usage_totals t USING (link_id)
WHERE (%(service_id)s::text IS NULL OR l.service_id = %(service_id)s)
    AND (%(link_id)s::text IS NULL OR l.link_id = %(link_id)s)
    AND (%(after)s::text IS NULL OR l.link_id < %(after)s)
ORDER BY l.link_id DESC LIMIT %(limit)s

-- links_of_services: the ids of several services' links
SELECT service_id, array_agg(link_id ORDER BY place) AS link_ids FROM links
WHERE service_id = ANY(%(service_ids)s) GROUP BY service_id

-- usage_of_service: totals by link
SELECT l.link_id, l.a, l.b, t.unit, coalesce(t.quantity, 0) AS quantity
FROM links l LEFT JOIN usage_totals t USING (link_id) WHERE l.service_id = %(service_id)s ORDER BY l.place

-- journal_of_order: what was told about an order since
SELECT * FROM journal WHERE order_id = %(order_id)s AND note_id > %(after)s ORDER BY note_id LIMIT %(limit)s

-- progress_of_orders: what was told about several orders themselves
SELECT * FROM journal WHERE order_id = ANY(%(order_ids)s) AND topic = 'order' ORDER BY order_id, note_id

-- history_of_service: what was told about a service itself, page by page, oldest first
SELECT * FROM journal
WHERE service_id = %(service_id)s AND topic = 'service' AND note_id > %(after)s
ORDER BY note_id LIMIT %(limit)s

-- journal_since: what was told to a tenant since a position, up to the oldest transaction still running
SELECT * FROM journal
WHERE (xid, note_id) > (%(xid)s, %(note_id)s) AND xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY xid, note_id LIMIT %(limit)s

-- journal_end: where the journal ends now
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 AS xid
