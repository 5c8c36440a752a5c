"""The sending side's table: `emit` inside the caller's transaction, replay and pruning for the relay.

A row carries no sequence when it is written: a sequence drawn then would become visible out of order and a
reader would skip transactions still in flight. The relay numbers rows once they are committed. Publishing is
not done here.
"""

from __future__ import annotations

from qkit.database import Connection
from qkit.events.envelope import AskReplay, Replayed, build
from qkit.telemetry import current_traceparent
from qkit.wakeups import OUTBOX_CHANNEL
from qmodel.contracts import Event
from qmodel.errors import TooLarge

_INSERT = f"""
WITH added AS (
    INSERT INTO kit.outbox (topic, type, data, traceparent)
    SELECT topic, type, data::json, %(traceparent)s
    FROM unnest(%(topics)s::text[], %(types)s::text[], %(data)s::text[]) WITH ORDINALITY
        AS e (topic, type, data, place)
    ORDER BY place
)
SELECT pg_notify('{OUTBOX_CHANNEL}', '')
"""  # noqa: S608 - a constant of ours

# Settled: an event younger than this may still be on its way through the stream.
_SETTLED_S = 2.0

MAX_EVENT_BYTES = 256 * 1024
_REPLY_BYTES = 512 * 1024  # nats-server's default limit is 1 MiB


async def emit(conn: Connection, *events: Event) -> None:
    """Send `events`, in this order, if and when the transaction of `conn` commits.

    Raises TooLarge for an event of more than 256 KiB: the bus would refuse it, and it would hold up the rest.
    """
    if not events:
        return
    data = [event.model_dump_json() for event in events]
    if max(len(text.encode()) for text in data) > MAX_EVENT_BYTES:
        raise TooLarge(f"an event has at most {MAX_EVENT_BYTES} bytes", limit_bytes=MAX_EVENT_BYTES)
    await conn.execute(
        _INSERT,
        {
            "topics": [event.topic for event in events],
            "types": [event.cloudevents_type() for event in events],
            "data": data,
            "traceparent": current_traceparent(),
        },
    )


async def replay(conn: Connection, source: str, asked: AskReplay) -> Replayed:
    """What `source` published after a sequence, from the outbox."""
    row = await (await conn.execute("SELECT incarnation, pruned_to FROM kit.outbox_source")).fetchone()
    assert row is not None
    incarnation: str = row["incarnation"]
    cursor = await conn.execute(
        "SELECT topic, type, data::text AS data, traceparent, emitted_at, sequence FROM kit.outbox"
        " WHERE sequence > %s AND published_at < clock_timestamp() - make_interval(secs => %s)"
        " ORDER BY sequence LIMIT %s",
        (asked.after if asked.incarnation in ("", incarnation) else 0, _SETTLED_S, asked.limit),
    )
    rows = await cursor.fetchall()
    envelopes: list[str] = []
    room = _REPLY_BYTES
    for found in rows:
        envelope = build(source, incarnation, found)
        room -= len(envelope)
        if room < 0 and envelopes:
            break
        envelopes.append(envelope.decode())
    more = len(envelopes) < len(rows) or len(rows) == asked.limit
    kept_from = row["pruned_to"] + 1
    return Replayed(incarnation=incarnation, kept_from=kept_from, envelopes=tuple(envelopes), more=more)


async def prune(conn: Connection, keep_days: float) -> int:
    """Delete what was published more than `keep_days` days ago; returns how many rows went."""
    cursor = await conn.execute(
        """
        WITH old AS (
            SELECT coalesce(
                (SELECT min(sequence) - 1 FROM kit.outbox WHERE sequence IS NOT NULL
                    AND (published_at IS NULL OR published_at >= now() - make_interval(secs => %(keep_s)s))),
                (SELECT last_sequence FROM kit.outbox_source)) AS last
        ), gone AS (
            DELETE FROM kit.outbox WHERE sequence <= (SELECT last FROM old) RETURNING sequence
        )
        UPDATE kit.outbox_source
        SET pruned_to = greatest(pruned_to, (SELECT coalesce(max(sequence), 0) FROM gone))
        RETURNING (SELECT count(*) FROM gone) AS gone
        """,
        {"keep_s": keep_days * 86400.0},
    )
    row = await cursor.fetchone()
    return int(row["gone"]) if row else 0
