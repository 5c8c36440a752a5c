"""The EMS's rows in PostgreSQL: implements the store protocols of `ems.ports`; the only room with SQL.

`EmsStore` has devices, what was seen of them and the rows of changes, `DatastoreStore` the revisions of
configurations and drift. One method is one transaction.
"""

from ems.store.datastores import DatastoreStore
from ems.store.devices import EmsStore

__all__ = ["DatastoreStore", "EmsStore"]
