"""The CloudEvents 1.0 envelope (JSON) of an event, with the `sequence` and `traceparent` extensions.

`incarnation` is our extension: it changes when a publisher's database is made anew, so that sequences that
start again are not taken for duplicates. Built by the relay, parsed by consumers. No I/O.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from qkit.wire import parse_body
from qmodel.contracts import Body
from qmodel.errors import Invalid

_SCHEME = "bellweave://"


@dataclass(frozen=True)
class EventMeta:
    """What a handler may know about an event besides its body. `time` is real time, when it was emitted."""

    source: str
    incarnation: str
    sequence: int
    type: str
    time: datetime


class Envelope(BaseModel):
    """A parsed CloudEvent. Unknown attributes are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"]
    id: str
    source: str = Field(pattern=r"^bellweave://[a-z0-9-]+\.[a-z0-9-]+$")
    type: str
    time: datetime
    sequence: str = Field(pattern=r"^\d{1,20}$", description="zero-padded, sorts as text")
    incarnation: str = Field(pattern=r"^[0-9a-f]{1,32}$")
    traceparent: str | None = None
    data: dict[str, Any]

    @property
    def meta(self) -> EventMeta:
        source = self.source.removeprefix(_SCHEME)
        return EventMeta(source, self.incarnation, int(self.sequence), self.type, self.time)


def message_id(source: str, incarnation: str, sequence: int) -> str:
    """`Nats-Msg-Id`, by which JetStream drops what it has seen within its window."""
    return f"{source}:{incarnation}:{sequence}"


def build(source: str, incarnation: str, row: dict[str, Any]) -> bytes:
    """The envelope of an outbox row (topic, type, data as JSON text, traceparent, emitted_at, sequence)."""
    head = {
        "specversion": "1.0",
        "id": f"{incarnation}:{row['sequence']}",
        "source": _SCHEME + source,
        "type": row["type"],
        "time": row["emitted_at"].isoformat(),
        "datacontenttype": "application/json",
        "subject": row["topic"],
        "sequence": f"{row['sequence']:020d}",
        "incarnation": incarnation,
    }
    if row["traceparent"]:
        head["traceparent"] = row["traceparent"]
    return f'{json.dumps(head)[:-1]},"data":{row["data"]}}}'.encode()


def parse(payload: bytes, expected_source: str) -> Envelope:
    """The envelope in `payload`. Raises Invalid when it is malformed or another source speaks in it."""
    envelope = parse_body(Envelope, payload)
    if envelope.source != _SCHEME + expected_source:
        raise Invalid("the event does not come from its subject's source", where="/source")
    return envelope


class AskReplay(Body):
    """Consumer to publisher: what came after `after`? `incarnation` is the one that the consumer knows."""

    incarnation: str = ""
    after: int = Field(ge=0)
    limit: int = Field(default=100, ge=1, le=500)


class Replayed(Body):
    """`envelopes` in order. Sequences below `kept_from` are gone for ever. For an unknown incarnation the
    answer is about the present one, from its beginning. `more`: there is more after the last one."""

    incarnation: str
    kept_from: int
    envelopes: tuple[str, ...]
    more: bool = False
