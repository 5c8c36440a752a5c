"""The SMS's rows on PostgreSQL: `unit` for changing them, `reads` for showing them, `sites` as a cache.

Implements `ports`; nothing outside knows a table. Statements are in `queries.sql`.
"""

from sms.store.reads import SqlReads
from sms.store.sites import SiteTable
from sms.store.unit import SqlUnit, Store

__all__ = ["SiteTable", "SqlReads", "SqlUnit", "Store"]
