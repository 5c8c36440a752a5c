-- topology_revision: which one is in force
SELECT revision FROM topology_in_force

-- lock_topology_shared: keep the topology in force until the end of the transaction
SELECT revision FROM topology_in_force FOR SHARE

-- lock_topology: for whoever replaces it
SELECT revision FROM topology_in_force FOR UPDATE

-- topology: the one in force
SELECT t.* FROM topology t JOIN topology_in_force f USING (revision)

-- insert_topology: keep a new revision
INSERT INTO topology (revision, document, imported_by)
SELECT coalesce(max(revision), 0) + 1, %(document)s, %(who)s FROM topology RETURNING revision

-- put_topology_in_force: the newest revision counts from now on
UPDATE topology_in_force SET revision = %(revision)s

-- plan: one plan
SELECT * FROM change WHERE change_id = %(change_id)s

-- lock_plan: one plan, nobody else moves it until the end of the transaction
SELECT * FROM change WHERE change_id = %(change_id)s FOR UPDATE

-- add_plan: keep a new plan, or one in place of its expired namesake
INSERT INTO change (change_id, kind, state, who, why, moves, elements, expires_at)
VALUES (%(change_id)s, %(kind)s, 'held', %(who)s, %(why)s, %(moves)s, %(elements)s, %(expires_at)s)
ON CONFLICT (change_id) DO UPDATE SET state = 'held', kind = excluded.kind, who = excluded.who,
    why = excluded.why, moves = excluded.moves, elements = excluded.elements, problem = NULL,
    expires_at = excluded.expires_at, ended_at = NULL
WHERE change.state = 'expired'

-- extend_plan: hold it for longer
UPDATE change SET expires_at = %(expires_at)s WHERE change_id = %(change_id)s

-- begin_plan: a commit has taken it up
UPDATE change SET state = 'committing' WHERE change_id = %(change_id)s

-- end_plan: how it ended, and what its members said
UPDATE change SET state = %(state)s, problem = %(problem)s, report = %(report)s,
    ended_at = coalesce(ended_at, clock_timestamp())
WHERE change_id = %(change_id)s

-- page_used: what is taken of each resource, by name
SELECT resource, used_ppm FROM resource_use WHERE resource > %(after)s AND used_ppm > 0
ORDER BY resource LIMIT %(limit)s

-- used: what is taken of each resource
SELECT resource, used_ppm FROM resource_use WHERE used_ppm <> 0

-- name_resources: have a row for each resource, in sorted order
INSERT INTO resource_use (resource) SELECT unnest(%(resources)s::text[]) ORDER BY 1 ON CONFLICT DO NOTHING

-- take: change what is taken, rows locked in sorted order; the check constraint has the last word
WITH locked AS (
    SELECT resource FROM resource_use WHERE resource = ANY(%(resources)s) ORDER BY resource FOR UPDATE
)
UPDATE resource_use AS u SET used_ppm = u.used_ppm + d.delta
FROM unnest(%(resources)s::text[], %(deltas)s::int[]) AS d (resource, delta), locked
WHERE u.resource = d.resource AND locked.resource = d.resource

-- hold: what a plan holds, more than before
INSERT INTO change_share (change_id, resource, share_ppm)
SELECT %(change_id)s, d.resource, d.delta
FROM unnest(%(resources)s::text[], %(deltas)s::int[]) AS d (resource, delta) ORDER BY d.resource
ON CONFLICT (change_id, resource) DO UPDATE SET share_ppm = change_share.share_ppm + excluded.share_ppm

-- release_hold: what a plan held
DELETE FROM change_share WHERE change_id = %(change_id)s RETURNING resource, share_ppm

-- release_link: what a link took
DELETE FROM link_share WHERE link_id = %(link_id)s RETURNING resource, share_ppm

-- take_link: what a link takes
INSERT INTO link_share (link_id, resource, share_ppm)
SELECT %(link_id)s, d.resource, d.delta
FROM unnest(%(resources)s::text[], %(deltas)s::int[]) AS d (resource, delta) ORDER BY d.resource

-- add_revision: what the network was told to be
INSERT INTO network_revision (change_id, who, why, targets)
VALUES (%(change_id)s, %(who)s, %(why)s, %(targets)s) ON CONFLICT (change_id) DO NOTHING

-- holder_lives: whether an epoch's process still has its lease
SELECT FROM kit.lease WHERE epoch = %(epoch)s AND expires_at > clock_timestamp()

-- links: those named, or all in force
SELECT * FROM link WHERE CASE WHEN %(link_ids)s::text[] IS NULL THEN in_force
    ELSE link_id = ANY(%(link_ids)s) END ORDER BY link_id

-- lock_links: those named, or all in force, locked in order
SELECT * FROM link WHERE CASE WHEN %(link_ids)s::text[] IS NULL THEN in_force
    ELSE link_id = ANY(%(link_ids)s) END ORDER BY link_id FOR UPDATE

-- links_at: links in force with circuits on an element, or of which it has reported
SELECT * FROM link WHERE in_force AND (parts @> ARRAY[%(element)s::text]
    OR link_id IN (SELECT r.link_id FROM readiness r WHERE r.element = %(element)s)) ORDER BY link_id

-- links_touching: links in force whose placement names one of some elements
SELECT * FROM link WHERE in_force AND placement->'elements' ?| %(elements)s::text[] ORDER BY link_id

-- put_link: insert or replace a link
INSERT INTO link (link_id, state, request, placement, in_force, parts, change_id, reason, expected_in_s, since,
    committed_at, version)
VALUES (%(link_id)s, %(state)s, %(request)s, %(placement)s, %(in_force)s, %(parts)s, %(change_id)s, %(reason)s,
    %(expected_in_s)s, %(since)s, %(committed_at)s, %(version)s)
ON CONFLICT (link_id) DO UPDATE SET state = excluded.state, request = excluded.request,
    placement = excluded.placement, in_force = excluded.in_force, parts = excluded.parts,
    change_id = excluded.change_id, reason = excluded.reason, expected_in_s = excluded.expected_in_s,
    since = excluded.since, committed_at = excluded.committed_at, version = excluded.version

-- set_standing: state, reason and forecast of a link
UPDATE link SET state = %(state)s, reason = %(reason)s, expected_in_s = %(expected_in_s)s, since = %(since)s,
    version = version + 1
WHERE link_id = %(link_id)s

-- take_element: what an EMS says of an element, unless something later is known
INSERT INTO element (element, ems, reachable, heard_at)
VALUES (%(element)s, %(ems)s, %(reachable)s, %(heard_at)s)
ON CONFLICT (element) DO UPDATE SET ems = excluded.ems, reachable = excluded.reachable,
    heard_at = excluded.heard_at
WHERE element.heard_at <= excluded.heard_at

-- drop_readiness: an element reports anew
DELETE FROM readiness WHERE element = %(element)s

-- add_readiness: what an element says of a link
INSERT INTO readiness (element, link_id, circuit, heard_at)
VALUES (%(element)s, %(link_id)s, %(circuit)s, %(heard_at)s)
ON CONFLICT (element, link_id) DO UPDATE SET circuit = excluded.circuit, heard_at = excluded.heard_at

-- reports: what elements said of a link
SELECT element, circuit, heard_at FROM readiness WHERE link_id = %(link_id)s

-- unreachable: elements that are away
SELECT element FROM element WHERE NOT reachable

-- set_stale: elements that missed a change, or no longer do
UPDATE element SET stale = %(stale)s WHERE element = ANY(%(elements)s)

-- stale: whether an element missed a change
SELECT stale FROM element WHERE element = %(element)s

-- later_alarm: whether something later than this is known of an alarm
SELECT FROM device_alarm WHERE element = %(element)s AND resource = %(resource)s
    AND alarm_type = %(alarm_type)s AND heard_at > %(heard_at)s LIMIT 1

-- put_alarm: raise or change a device alarm
INSERT INTO device_alarm (ems, element, resource, alarm_type, severity, text, raised_at, heard_at)
VALUES (%(ems)s, %(element)s, %(resource)s, %(alarm_type)s, %(severity)s, %(text)s, %(raised_at)s, %(heard_at)s)
ON CONFLICT (element, resource, alarm_type) WHERE cleared_at IS NULL
DO UPDATE SET severity = excluded.severity, text = excluded.text, heard_at = excluded.heard_at

-- end_alarm: a device alarm is over
UPDATE device_alarm SET cleared_at = %(raised_at)s, heard_at = %(heard_at)s
WHERE element = %(element)s AND resource = %(resource)s AND alarm_type = %(alarm_type)s AND cleared_at IS NULL

-- note_cleared: remember a clearing that came before its alarm
INSERT INTO device_alarm (ems, element, resource, alarm_type, severity, text, raised_at, cleared_at, heard_at)
VALUES (%(ems)s, %(element)s, %(resource)s, %(alarm_type)s, %(severity)s, %(text)s, %(raised_at)s,
    %(raised_at)s, %(heard_at)s)

-- active_alarms: device alarms that are active now
SELECT * FROM device_alarm WHERE cleared_at IS NULL ORDER BY id

-- link_alarms: link alarms that are active now
SELECT * FROM link_alarm WHERE cleared_at IS NULL ORDER BY link_id

-- raise_link_alarm: raise it, or give the active one another cause
INSERT INTO link_alarm (link_id, severity, root_cause, text, raised_at)
VALUES (%(link_id)s, %(severity)s, %(root_cause)s, %(text)s, %(raised_at)s)
ON CONFLICT (link_id) WHERE cleared_at IS NULL
DO UPDATE SET severity = excluded.severity, root_cause = excluded.root_cause, text = excluded.text

-- clear_link_alarm: end it
UPDATE link_alarm SET cleared_at = %(at)s WHERE link_id = %(link_id)s AND cleared_at IS NULL RETURNING *

-- name_counter: have a row for a counter
INSERT INTO usage_counted (element, link_id, unit, boot_id, counted)
VALUES (%(element)s, %(link_id)s, %(unit)s, %(boot_id)s, '{}') ON CONFLICT DO NOTHING

-- count: mark a span as counted; how many of its counts were new
WITH before AS (
    SELECT int8multirange(int8range(%(from_count)s, %(to_count)s)) - counted AS fresh FROM usage_counted
    WHERE element = %(element)s AND link_id = %(link_id)s AND unit = %(unit)s AND boot_id = %(boot_id)s
    FOR UPDATE
), marked AS (
    UPDATE usage_counted SET counted = counted + int8multirange(int8range(%(from_count)s, %(to_count)s))
    WHERE element = %(element)s AND link_id = %(link_id)s AND unit = %(unit)s AND boot_id = %(boot_id)s
)
SELECT coalesce(sum(upper(span) - lower(span)), 0)::bigint AS fresh FROM before, unnest(before.fresh) AS span

-- page_links: links by id
SELECT * FROM link WHERE link_id > %(after)s ORDER BY link_id LIMIT %(limit)s

-- page_alarms: alarms of links and devices, newest first
SELECT * FROM (
    SELECT 'link-' || id AS id, 'link' AS kind, link_id, NULL AS element, NULL AS resource,
        'link-disrupted' AS alarm_type, severity, text, root_cause, raised_at, cleared_at FROM link_alarm
    UNION ALL
    SELECT 'device-' || id, 'device', NULL, element, resource, alarm_type, severity, text, NULL, raised_at,
        cleared_at FROM device_alarm WHERE severity <> 'cleared'
) AS alarm
WHERE (%(every)s OR cleared_at IS NULL)
    AND (%(before_at)s::timestamptz IS NULL OR (raised_at, id) < (%(before_at)s, %(before_id)s))
ORDER BY raised_at DESC, id DESC LIMIT %(limit)s

-- page_changes: changes with where their commit stands, newest first
SELECT c.*, k.phase, k.settled, k.members FROM change c LEFT JOIN kit.commit_change k USING (change_id)
WHERE %(before_at)s::timestamptz IS NULL OR (c.created_at, c.change_id) < (%(before_at)s, %(before_id)s)
ORDER BY c.created_at DESC, c.change_id DESC LIMIT %(limit)s

-- one_change: one change with where its commit stands
SELECT c.*, k.phase, k.settled, k.members FROM change c LEFT JOIN kit.commit_change k USING (change_id)
WHERE change_id = %(change_id)s

-- page_revisions: network revisions, newest first
SELECT r.id, r.change_id, r.who, r.why, r.at, r.targets, c.kind, c.report FROM network_revision r
JOIN change c USING (change_id) WHERE (%(before)s::bigint IS NULL OR r.id < %(before)s) ORDER BY r.id DESC LIMIT %(limit)s

-- revision: one network revision
SELECT r.id, r.change_id, r.who, r.why, r.at, r.targets, c.kind, c.report FROM network_revision r
JOIN change c USING (change_id) WHERE r.id = %(id)s

-- elements: what is known of elements, with what they last reported
SELECT e.*, coalesce((SELECT jsonb_agg(r.circuit ORDER BY r.link_id) FROM readiness r
    WHERE r.element = e.element), '[]') AS circuits
FROM element e ORDER BY e.element

-- told_after: our events after a sequence, for those who watch
SELECT sequence, topic, data, emitted_at FROM kit.outbox WHERE sequence > %(after)s ORDER BY sequence LIMIT 200

-- told_last: the last sequence so far
SELECT last_sequence FROM kit.outbox_source
