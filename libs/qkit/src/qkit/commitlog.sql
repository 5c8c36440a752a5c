-- insert_change: store a planned change; nothing if it is there already
INSERT INTO kit.commit_change (change_id, level, epoch, parent, phase, confirm_timeout_s, deadline_s, refusal,
    refused_where, provision_epoch, voted, decided_at_s, members, body, settled)
VALUES (%(change_id)s, %(level)s, %(epoch)s, %(parent)s, %(phase)s, %(confirm_timeout_s)s, %(deadline_s)s,
    %(refusal)s, %(refused_where)s, %(provision_epoch)s, %(voted)s, %(decided_at_s)s, %(members)s, %(body)s, %(settled)s)
ON CONFLICT (change_id) DO NOTHING

-- claim: claim resources in sorted order; those that come back are ours now
INSERT INTO kit.commit_claim (resource, change_id)
SELECT resource, %(change_id)s FROM unnest(%(resources)s::text[]) AS resource ORDER BY resource
ON CONFLICT (resource) DO NOTHING

-- holders: which of the resources another change holds
SELECT resource, change_id FROM kit.commit_claim
WHERE resource = ANY(%(resources)s) AND change_id <> %(change_id)s ORDER BY resource

-- held: which of the resources this change holds
SELECT resource FROM kit.commit_claim
WHERE resource = ANY(%(resources)s) AND change_id = %(change_id)s

-- update_change: save a change, unless another process with a higher epoch has taken it over
UPDATE kit.commit_change
SET epoch = %(epoch)s, phase = %(phase)s, deadline_s = %(deadline_s)s, refusal = %(refusal)s,
    refused_where = %(refused_where)s, provision_epoch = %(provision_epoch)s, voted = %(voted)s,
    decided_at_s = %(decided_at_s)s,
    members = %(members)s, settled = %(settled)s,
    updated_at = clock_timestamp()
WHERE change_id = %(change_id)s AND epoch <= %(epoch)s
    AND NOT (phase IN ('confirming', 'committed') AND %(phase)s IN ('aborting', 'aborted'))

-- release: give back what an ended change held, except for members whose state is not known
DELETE FROM kit.commit_claim
WHERE change_id = %(change_id)s AND NOT EXISTS (
    SELECT FROM unnest(%(unknown)s::text[]) AS member
    WHERE resource = member OR starts_with(resource, member || '/') OR member = ANY(%(opaque)s))

-- load_change: one change
SELECT * FROM kit.commit_change WHERE change_id = %(change_id)s

-- unsettled: changes that have not ended, or have members of unknown state, oldest first
SELECT change_id FROM kit.commit_change WHERE NOT settled ORDER BY created_at LIMIT 1000
