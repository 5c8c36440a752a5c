"""Creates JetStream's streams and durable consumers, once, as administrator of the bus.

Called by the local runner after nats-server is up, by an operator's job in a cluster, and by test fixtures.
Services cannot do it: the right to create a stream or consumer is the right to copy any subject anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import nats
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BadRequestError, NotFoundError

from qkit.wiring import Wiring, consumers_of, durable_of, instances_of, stream_of
from qmodel.errors import Unavailable

ACK_WAIT_S = 30.0
MAX_ACK_PENDING = 2000


@dataclass(frozen=True)
class StreamLimits:
    """Bounds of each stream. What a stream drops is still in its publisher's outbox and can be replayed."""

    max_bytes: int = 256 * 1024 * 1024
    max_age_s: float = 7 * 86400.0
    duplicate_window_s: float = 300.0
    replicas: int = 1


async def ensure_streams(
    url: str, user: str, password: str, wiring: Wiring, limits: StreamLimits | None = None
) -> None:
    """Create or update the stream of every publishing service and the durable of every (consumer, source).

    Idempotent. Raises Unavailable when the bus or JetStream does not answer.
    """
    try:
        client = await nats.connect(
            url,
            user=user,
            password=password,
            connect_timeout=5,
            allow_reconnect=False,
            max_reconnect_attempts=0,
        )
    except (OSError, nats.errors.Error, TimeoutError) as error:
        raise Unavailable("the bus cannot be reached", retry_after_s=1.0) from error
    try:
        jetstream = client.jetstream(timeout=10)
        for service in sorted({stream_of(name) for name in instances_of(wiring)}):
            await _ensure_stream(jetstream, service, limits or StreamLimits())
        for consumer, source in consumers_of(wiring):
            await _ensure_consumer(jetstream, consumer, source)
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable("JetStream refused or did not answer", reason=str(error)) from error
    finally:
        await client.close()


async def _ensure_stream(jetstream: JetStreamContext, name: str, limits: StreamLimits) -> None:
    service = name.removeprefix("EVT_").lower()
    config = StreamConfig(
        name=name,
        subjects=[f"evt.{service}.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=limits.max_bytes,
        max_age=limits.max_age_s,
        duplicate_window=limits.duplicate_window_s,
        num_replicas=limits.replicas,
        allow_direct=False,
        deny_delete=True,
    )
    try:
        await jetstream.add_stream(config)
    except BadRequestError:
        await jetstream.update_stream(config)  # it exists with other limits


async def _ensure_consumer(jetstream: JetStreamContext, consumer: str, source: str) -> None:
    stream, durable = stream_of(source), durable_of(consumer, source)
    try:
        await jetstream.consumer_info(stream, durable)
    except NotFoundError:
        await jetstream.add_consumer(
            stream,
            ConsumerConfig(
                name=durable,
                durable_name=durable,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_S,
                max_deliver=-1,  # giving up is the consumer's decision: a dead letter with the reason
                max_ack_pending=MAX_ACK_PENDING,
                filter_subject=f"evt.{source}.>",
            ),
        )
