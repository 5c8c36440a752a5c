"""The SMS's doors: orders, services, links and what is told about them, over HTTP.

A tenant sees and changes its own; an operator sees everything and changes nothing here.
"""

from sms.api.routes import Doors, router

__all__ = ["Doors", "router"]
