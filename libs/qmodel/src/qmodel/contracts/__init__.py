"""What peers may see of each service: subjects and bodies. The owner changes them, additively only.

A `Request` goes down and is answered (NATS request and reply, idempotent by `request_id`); an `Event` goes
up (outbox, JetStream, inbox). One module per owner.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from qmodel.ids import Id


class Body(BaseModel):
    """A message body. Unknown members are ignored: a newer peer may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


R = TypeVar("R", bound=Body)


class Request(Body, Generic[R]):
    """A command or question to one service instance; its subject is `req.<service>.<instance>.<operation>`.

    The caller keeps `request_id` in its own row and sends the same one again after a lost answer; the
    callee does the work once per id.
    """

    service: ClassVar[str]
    operation: ClassVar[str]
    reply: ClassVar[type[Any]]

    request_id: Id


class Event(Body):
    """Something that happened; its subject is `evt.<service>.<instance>.<topic>`."""

    service: ClassVar[str]
    topic: ClassVar[str]

    @classmethod
    def cloudevents_type(cls) -> str:
        return f"bellweave.{cls.service}.{cls.topic}"


class Done(Body):
    """The answer of a command that has nothing to say."""


def subject_of(request: type[Request[Any]], instance: str) -> str:
    return f"req.{request.service}.{instance}.{request.operation}"


__all__ = ["Body", "Done", "Event", "Field", "Request", "subject_of"]
