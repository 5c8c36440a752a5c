"""Who talks to whom on the bus: the instances' neighbours, and from them every name and every permission.

The local runner (or an operator's job) writes nats-server's users with `nats_permissions` and creates streams
and consumers with `qkit.streams`; services hold no right to shape the bus. It opens no connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qmodel.errors import Invalid

Wiring = Mapping[str, Sequence[str]]
"""Instance name (`nms.north`) to the instances it works with. An edge may be stated at either end."""

REPLAY = "replay-events"
OUTCOME = "commit-outcome"

_MAY_ASK: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("sms", "bms"): ("*",),
    ("sms", "nms"): ("*",),
    ("nms", "ems"): ("*",),
    ("nms", "sms"): (OUTCOME,),
    ("ems", "nms"): (OUTCOME,),
    ("bms", "sms"): (REPLAY,),
}
"""(caller, callee) to the operations that the caller may request."""

_LISTENS_TO: Mapping[str, str] = {"nms": "ems", "sms": "nms", "bms": "sms"}
"""Consumer to the service whose events it takes: events go up."""


def peers_of(wiring: Wiring, name: str) -> list[str]:
    """The neighbours of instance `name`, sorted."""
    named = {peer for peer in wiring.get(name, ())}
    naming = {other for other, peers in wiring.items() if name in peers}
    return sorted(named | naming)


def instances_of(wiring: Wiring) -> list[str]:
    return sorted(set(wiring) | {peer for peers in wiring.values() for peer in peers})


def stream_of(source: str) -> str:
    """The stream that holds the events of instance `source`; one per service, such as `EVT_NMS`."""
    return f"EVT_{_split(source)[0].upper()}"


def durable_of(consumer: str, source: str) -> str:
    """The consumer's durable for one source: `nms-north_ems-space`. One source each, so that permissions can
    name it and a jump of the sequence always is a gap."""
    return f"{consumer.replace('.', '-')}_{source.replace('.', '-')}"


def inbox_of(name: str) -> str:
    """Prefix of the subjects on which `name` takes replies."""
    return f"_INBOX.{name.replace('.', '-')}"


def consumers_of(wiring: Wiring) -> list[tuple[str, str]]:
    """(consumer, source) of every event subscription that follows from `wiring`."""
    return [
        (name, peer)
        for name in instances_of(wiring)
        for peer in peers_of(wiring, name)
        if _LISTENS_TO.get(_split(name)[0]) == _split(peer)[0]
    ]


@dataclass(frozen=True)
class NatsPermissions:
    """The only subjects (with wildcards) of one NATS user. `allow_responses`: it may answer, once and within
    two minutes (nats-server's default), on the reply subject of a request that reached it."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    allow_responses: bool = True


def nats_permissions(wiring: Wiring, name: str) -> NatsPermissions:
    """What the NATS user of instance `name` may do; all else is refused.

    It may send the requests of its service to its neighbours, publish its own events, answer what it was
    asked, take replies on its own inbox, and pull from and acknowledge its own durables.
    """
    service, instance = _split(name)
    publish = [f"evt.{service}.{instance}.*"]
    for peer in peers_of(wiring, name):
        publish += [f"req.{peer}.{operation}" for operation in _MAY_ASK.get((service, _split(peer)[0]), ())]
    for consumer, source in consumers_of(wiring):
        if consumer == name:
            stream, durable = stream_of(source), durable_of(consumer, source)
            publish.append(f"$JS.API.CONSUMER.INFO.{stream}.{durable}")
            publish.append(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}")
            publish.append(f"$JS.ACK.{stream}.{durable}.>")
    return NatsPermissions(
        publish=tuple(sorted(publish)),
        subscribe=(f"{inbox_of(name)}.>", f"req.{service}.{instance}.*"),
    )


def _split(name: str) -> tuple[str, str]:
    service, dot, instance = name.partition(".")
    if not (service and dot and instance) or set(name) & set("*> ") or "." in instance:
        raise Invalid("an instance is named service.instance", where=name)
    return service, instance
