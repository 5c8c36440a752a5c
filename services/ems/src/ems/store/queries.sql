-- add_device: a device that was just learned; nothing if the name is taken
INSERT INTO device (name, host, port, host_key, login_user, login, state, profile, traits)
VALUES (%(name)s, %(host)s, %(port)s, %(host_key)s, %(user)s, %(login)s, %(state)s, %(profile)s, %(traits)s)
ON CONFLICT (name) DO NOTHING

-- lock_devices: nobody else adds one until the end of the transaction
LOCK TABLE device IN SHARE ROW EXCLUSIVE MODE

-- device_at: who listens at an address
SELECT name FROM device WHERE (host, port) = (%(host)s, %(port)s) AND name <> %(name)s ORDER BY name LIMIT 1

-- update_device: a new address, login or profile of a known device
UPDATE device SET host = %(host)s, port = %(port)s, host_key = %(host_key)s, login_user = %(user)s,
    login = %(login)s, state = %(state)s, profile = %(profile)s, traits = %(traits)s, problem = NULL,
    version = version + 1
WHERE name = %(name)s

-- get_device: one device without its login
SELECT name, host, port, host_key, login_user, state, problem, profile, traits, version, created_at
FROM device WHERE name = %(name)s

-- list_devices: devices by name, a page
SELECT name, host, port, host_key, login_user, state, problem, profile, traits, version, created_at
FROM device WHERE name > %(after)s ORDER BY name LIMIT %(limit)s

-- remove_device: forget a device that nothing is intended for
DELETE FROM device WHERE name = %(name)s AND NOT EXISTS (
    SELECT FROM kit.commit_claim WHERE resource = %(name)s)

-- connection_of: how to reach a device, its login encrypted
SELECT host, port, host_key, login_user, login, traits FROM device WHERE name = %(name)s

-- all_names: every device
SELECT name FROM device ORDER BY name

-- set_state: how a device is doing; nothing if that is known
UPDATE device SET state = %(state)s, problem = %(problem)s, version = version + 1
WHERE name = %(name)s AND (state, problem) IS DISTINCT FROM (%(state)s, %(problem)s)

-- set_reachable: whether a device answers; a quarantine is not touched
UPDATE device SET state = %(state)s, problem = %(problem)s, version = version + 1
WHERE name = %(name)s AND state IN ('managed', 'unreachable')
    AND (state, problem) IS DISTINCT FROM (%(state)s, %(problem)s)

-- set_traits: what was found out about a device's behaviour
UPDATE device SET traits = %(traits)s, version = version + 1 WHERE name = %(name)s

-- states_of: which of these devices exist, and how they are doing
SELECT name, state, problem FROM device WHERE name = ANY(%(names)s)

-- intend: the configuration that is in force from now on, once per change
INSERT INTO intended (element, revision, target, change_id)
SELECT %(element)s, coalesce(max(revision), 0) + 1, %(target)s, %(change_id)s
FROM intended WHERE element = %(element)s
ON CONFLICT (element, change_id) DO NOTHING

-- intended_of: the configuration in force of one element
SELECT revision, target, change_id, at FROM intended WHERE element = %(element)s
ORDER BY revision DESC LIMIT 1

-- active_alarms: alarms of one element that have not cleared
SELECT resource, alarm_type, severity, text, raised_at FROM alarm
WHERE element = %(element)s AND cleared_at IS NULL FOR UPDATE

-- raise_alarm: a new alarm, or a change of an active one; nothing if it is just so already
INSERT INTO alarm (element, resource, alarm_type, severity, text, raised_at)
VALUES (%(element)s, %(resource)s, %(alarm_type)s, %(severity)s, %(text)s, %(at)s)
ON CONFLICT (element, resource, alarm_type) WHERE cleared_at IS NULL
DO UPDATE SET severity = excluded.severity, text = excluded.text
WHERE (alarm.severity, alarm.text) IS DISTINCT FROM (excluded.severity, excluded.text)
RETURNING raised_at

-- clear_alarm: an active alarm ends
UPDATE alarm SET cleared_at = %(at)s
WHERE element = %(element)s AND resource = %(resource)s AND alarm_type = %(alarm_type)s AND cleared_at IS NULL
RETURNING raised_at, text

-- list_alarms: alarms, newest first, a page
SELECT id, element, resource, alarm_type, severity, text, raised_at, cleared_at FROM alarm
WHERE id < %(before)s AND (%(all)s OR cleared_at IS NULL) AND (%(element)s::text IS NULL OR element = %(element)s)
ORDER BY id DESC LIMIT %(limit)s

-- get_readiness: what was last told about an element
SELECT reachable, circuits FROM readiness WHERE element = %(element)s FOR UPDATE

-- forget_readiness: what was told no longer holds, so that the next reading is told whatever it says
DELETE FROM readiness WHERE element = ANY(%(elements)s)

-- put_readiness: what is told about an element now
INSERT INTO readiness (element, reachable, circuits, at)
VALUES (%(element)s, %(reachable)s, %(circuits)s, %(at)s)
ON CONFLICT (element) DO UPDATE SET reachable = excluded.reachable, circuits = excluded.circuits, at = excluded.at

-- get_marks: up to where an element's counters were turned into usage
SELECT link_id, boot_id, counted, at FROM usage_mark WHERE element = %(element)s FOR UPDATE

-- put_mark: a counter was turned into usage up to here
INSERT INTO usage_mark (element, link_id, boot_id, unit, counted, at)
VALUES (%(element)s, %(link_id)s, %(boot_id)s, %(unit)s, %(counted)s, %(at)s)
ON CONFLICT (element, link_id, boot_id) DO UPDATE SET counted = excluded.counted, at = excluded.at

-- list_marks: what every element has counted, a page
SELECT element, link_id, boot_id, unit, counted, at FROM usage_mark
WHERE (element, link_id, boot_id) > (%(element)s, %(link_id)s, %(boot_id)s)
ORDER BY element, link_id, boot_id LIMIT %(limit)s

-- put_performance: the newest sample of an element
INSERT INTO performance (element, at, values) VALUES (%(element)s, %(at)s, %(values)s)
ON CONFLICT (element) DO UPDATE SET at = excluded.at, values = excluded.values

-- get_performance: the newest sample of an element
SELECT at, values FROM performance WHERE element = %(element)s
