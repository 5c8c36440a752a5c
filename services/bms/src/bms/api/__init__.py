"""The BMS's HTTP doors: bodies in, a use case or a read, documents and exports out."""

from bms.api.routes import Doors, router

__all__ = ["Doors", "router"]
