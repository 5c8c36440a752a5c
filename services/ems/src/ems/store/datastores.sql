-- hold_device: nothing about this device's configuration is decided by anybody else until the end
SELECT drift_policy FROM device WHERE name = %(element)s FOR UPDATE

-- policy_of: what is done about drift of one device
SELECT drift_policy FROM device WHERE name = %(element)s

-- set_policy: what is done about drift from now on
UPDATE device SET drift_policy = %(policy)s, version = version + 1 WHERE name = %(element)s

-- node_intended: the node configuration that the NMS wants of one device now
SELECT target FROM intended WHERE element = %(element)s ORDER BY revision DESC LIMIT 1

-- put_content: a configuration, once
INSERT INTO content (digest, base, node, unknown, leaves)
VALUES (%(digest)s, %(base)s, %(node)s, %(unknown)s, %(leaves)s) ON CONFLICT (digest) DO NOTHING

-- put_revision: the newest revision of a datastore; nothing if a change has made it already
INSERT INTO revision (element, datastore, revision, digest, cause, who, change_id)
SELECT %(element)s, %(datastore)s, coalesce(max(revision), 0) + 1, %(digest)s, %(cause)s, %(who)s, %(change_id)s
FROM revision WHERE element = %(element)s AND datastore = %(datastore)s
ON CONFLICT DO NOTHING
RETURNING revision

-- newest: the newest revision of a datastore
SELECT revision, digest, cause, who, change_id, at, base, node, unknown, leaves
FROM revision JOIN content USING (digest)
WHERE element = %(element)s AND datastore = %(datastore)s ORDER BY revision DESC LIMIT 1

-- one_revision: any revision of a datastore
SELECT revision, digest, cause, who, change_id, at, base, node, unknown, leaves
FROM revision JOIN content USING (digest)
WHERE element = %(element)s AND datastore = %(datastore)s AND revision = %(revision)s

-- list_revisions: revisions of a datastore, newest first, a page
SELECT revision, digest, cause, who, change_id, at FROM revision
WHERE element = %(element)s AND datastore = %(datastore)s AND revision < %(before)s
ORDER BY revision DESC LIMIT %(limit)s

-- open_drift: drift is found, or another one than the last time
INSERT INTO drift (element, found_at, difference, state) VALUES (%(element)s, %(at)s, %(difference)s, 'open')
ON CONFLICT (element) WHERE state = 'open' DO UPDATE SET difference = excluded.difference
WHERE drift.difference <> excluded.difference
RETURNING id, found_at

-- end_drift: what runs is what is intended again
UPDATE drift SET state = %(state)s, ended_at = %(at)s, ended_by = %(who)s
WHERE element = %(element)s AND state = 'open' RETURNING id, found_at

-- list_drifts: drift, newest first, a page
SELECT id, element, found_at, difference, state, ended_at, ended_by FROM drift
WHERE id < %(before)s AND (%(all)s OR state = 'open') AND (%(element)s::text IS NULL OR element = %(element)s)
ORDER BY id DESC LIMIT %(limit)s
