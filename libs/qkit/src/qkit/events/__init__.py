"""Events between services: written with the state, published in order, handled once.

`emit` puts an event into the caller's transaction; the `Relay` of that database numbers and publishes it;
the peer's `Consumer` runs its handler in one transaction with the inbox. Event handlers are for bookkeeping
and for waking loops: they do no network I/O.
"""

from qkit.events.consumer import Consumer, Handlers
from qkit.events.envelope import EventMeta
from qkit.events.outbox import emit
from qkit.events.relay import Relay

__all__ = ["Consumer", "EventMeta", "Handlers", "Relay", "emit"]
