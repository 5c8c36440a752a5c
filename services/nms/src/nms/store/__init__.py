"""The NMS's rows in PostgreSQL: implements `nms.ports`. SQL stands in `queries.sql`, by name and purpose.

`app` makes one `PgStore` per database role. It decides nothing; the constraints of the schema have the last
word on capacity.
"""

from nms.store.reads import Reads
from nms.store.unit import PgStore, PgUnit

__all__ = ["PgStore", "PgUnit", "Reads"]
