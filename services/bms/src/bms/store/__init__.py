"""The BMS's rows on PostgreSQL: `unit` for changing them, `reads` for showing them.

Implements `ports`; nothing outside knows a table. Statements are in `queries.sql`.
"""

from bms.store.reads import SqlReads
from bms.store.unit import SqlUnit, Store

__all__ = ["SqlReads", "SqlUnit", "Store"]
