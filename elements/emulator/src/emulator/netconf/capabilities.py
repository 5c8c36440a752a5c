"""What a server says about itself: capabilities, the YANG library (RFC 8525), and netconf-state (RFC 6022).

The static part is made once per module set and shared by all elements of a process.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from emulator.datastore.store import Datastores
from emulator.netconf.messages import BASE_1_0, BASE_1_1
from qmodel.yang import YangModule
from qyang.schema import Schema
from qyang.tree import Record, Rows

_YANG = "urn:ietf:params:xml:ns:yang:"
_CAPABILITY = "urn:ietf:params:netconf:capability:"
YANG_LIBRARY = "ietf-yang-library:yang-library"
MODULES_STATE = "ietf-yang-library:modules-state"
NETCONF_STATE = "ietf-netconf-monitoring:netconf-state"

NETCONF_MODULES: tuple[YangModule, ...] = (
    YangModule(
        "ietf-netconf",
        "2011-06-01",
        "urn:ietf:params:xml:ns:netconf:base:1.0",
        features=("candidate", "confirmed-commit", "rollback-on-error", "validate"),
    ),
    YangModule("ietf-netconf-monitoring", "2010-10-04", _YANG + "ietf-netconf-monitoring"),
    YangModule("ietf-netconf-notifications", "2012-02-06", _YANG + "ietf-netconf-notifications"),
    YangModule("ietf-netconf-nmda", "2019-01-07", _YANG + "ietf-netconf-nmda"),
    YangModule("ietf-datastores", "2018-02-14", _YANG + "ietf-datastores"),
    YangModule("ietf-yang-library", "2019-01-04", _YANG + "ietf-yang-library"),
    YangModule("ietf-origin", "2018-02-14", _YANG + "ietf-origin", implemented=False),
    YangModule(
        "ietf-netconf-with-defaults", "2011-06-01", _YANG + "ietf-netconf-with-defaults", implemented=False
    ),
    YangModule("ietf-yang-metadata", "2016-08-05", _YANG + "ietf-yang-metadata", implemented=False),
)
"""The modules of the protocol itself, to be added to those of the data."""


@dataclass
class Statistics:
    """Counters of RFC 6022 for one element since its start."""

    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    in_bad_hellos: int = 0
    in_sessions: int = 0
    dropped_sessions: int = 0
    in_rpcs: int = 0
    in_bad_rpcs: int = 0
    out_rpc_errors: int = 0
    out_notifications: int = 0

    def record(self) -> Record:
        return Record(
            {
                "netconf-start-time": date_and_time(self.started_at),
                "in-bad-hellos": self.in_bad_hellos,
                "in-sessions": self.in_sessions,
                "dropped-sessions": self.dropped_sessions,
                "in-rpcs": self.in_rpcs,
                "in-bad-rpcs": self.in_bad_rpcs,
                "out-rpc-errors": self.out_rpc_errors,
                "out-notifications": self.out_notifications,
            }
        )


class SelfDescription:
    """The static part: capabilities, YANG library and schema list of a module set."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        listed = "".join(sorted(f"{m.name}@{m.revision}{m.features}" for m in schema.modules))
        self.content_id = hashlib.sha256(listed.encode()).hexdigest()[:16]
        self.capabilities = [
            BASE_1_0,
            BASE_1_1,
            *(
                _CAPABILITY + name
                for name in (
                    "candidate:1.0",
                    "confirmed-commit:1.1",
                    "rollback-on-error:1.0",
                    "validate:1.1",
                    "notification:1.0",
                    "interleave:1.0",
                    f"yang-library:1.1?revision=2019-01-04&content-id={self.content_id}",
                )
            ),
            *(_module_capability(module) for module in schema.modules if self._in_hello(module)),
        ]
        self.yang_library = self._yang_library()
        self.modules_state = self._modules_state()
        self.schemas = self._schemas()

    def _in_hello(self, module: YangModule) -> bool:
        """RFC 7950, 5.6.4: only modules of YANG version 1 are in the hello; the others are in the library.

        ietf-netconf-nmda is told as well, as other servers do: clients look there for get-data."""
        if module.name == "ietf-netconf-nmda":
            return True
        statement: Any = self.schema.model.schema_data.modules[module.name, module.revision].statement
        version = statement.find1("yang-version")
        return module.implemented and (version is None or version.argument == "1")

    def _yang_library(self) -> Record:
        implemented, imported = Rows(), Rows()
        for module in self.schema.modules:
            entry = Record(name=module.name, revision=module.revision, namespace=module.namespace)
            if module.features:
                entry["feature"] = Rows(module.features)
            (implemented if module.implemented else imported).append(entry)
        names = ("running", "candidate", "intended", "operational")
        stores = [Record(name=(name, "ietf-datastores"), schema="all") for name in names]
        module_set = Record({"name": "all", "module": implemented, "import-only-module": imported})
        return Record(
            {
                "module-set": Rows([module_set]),
                "schema": Rows([Record({"name": "all", "module-set": Rows(["all"])})]),
                "datastore": Rows(stores),
                "content-id": self.content_id,
            }
        )

    def _modules_state(self) -> Record:
        rows = Rows()
        for module in self.schema.modules:
            conformance = "implement" if module.implemented else "import"
            entry = Record(name=module.name, revision=module.revision, namespace=module.namespace)
            if module.features:
                entry["feature"] = Rows(module.features)
            entry["conformance-type"] = conformance
            rows.append(entry)
        return Record({"module-set-id": self.content_id, "module": rows})

    def _schemas(self) -> Record:
        rows = [
            Record(
                identifier=module.name,
                version=module.revision,
                format=("yang", "ietf-netconf-monitoring"),
                namespace=module.namespace,
                location=Rows(["NETCONF"]),
            )
            for module in self.schema.modules
        ]
        return Record(schema=Rows(rows))


def netconf_state(
    about: SelfDescription, stores: Datastores, sessions: Rows, statistics: Statistics
) -> Record:
    """RFC 6022's view of one element now."""
    datastores = Rows()
    for name in ("running", "candidate"):
        entry = Record(name=name)
        lock = stores.locks.get(name)
        if lock is not None:
            held = Record({"locked-by-session": lock.session_id, "locked-time": date_and_time(lock.since)})
            entry["locks"] = Record({"global-lock": held})
        datastores.append(entry)
    return Record(
        capabilities=Record(capability=Rows(about.capabilities)),
        datastores=Record(datastore=datastores),
        schemas=about.schemas,
        sessions=Record(session=sessions),
        statistics=statistics.record(),
    )


def date_and_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _module_capability(module: YangModule) -> str:
    features = f"&features={','.join(module.features)}" if module.features else ""
    return f"{module.namespace}?module={module.name}&revision={module.revision}{features}"
