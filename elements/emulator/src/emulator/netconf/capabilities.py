"""What a server says about itself: capabilities, the YANG library (RFC 8525), and netconf-state (RFC 6022).

The static part is made once per module set and shared by all elements of a process.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from emulator.datastore.store import Datastores
from emulator.netconf.abilities import Abilities, Ability, capabilities_of, datastores_of
from qmodel.yang import YangModule
from qyang.schema import Schema
from qyang.tree import Record, Rows

YANG_LIBRARY = "ietf-yang-library:yang-library"
MODULES_STATE = "ietf-yang-library:modules-state"
NETCONF_STATE = "ietf-netconf-monitoring:netconf-state"


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

    def __init__(self, schema: Schema, abilities: Abilities) -> None:
        self.schema = schema
        self.abilities = abilities
        self.datastores = datastores_of(abilities)
        listed = "".join(sorted(f"{m.name}@{m.revision}{m.features}" for m in schema.modules))
        self.content_id = hashlib.sha256(listed.encode()).hexdigest()[:16]
        self.capabilities = [
            *capabilities_of(abilities, self.content_id),
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
            entry = _library_entry(module)
            if module.implemented:
                implemented.append(entry)
            else:
                imported.append(Record({**entry, "revision": module.revision}))
        names = [*self.datastores, *(("intended", "operational") if Ability.NMDA in self.abilities else ())]
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
            entry = _library_entry(module)
            entry["revision"] = module.revision
            if module.submodules:
                parts = [Record(name=name, revision=revision) for name, revision in module.submodules]
                entry["submodule"] = Rows(parts)
            entry["conformance-type"] = conformance
            rows.append(entry)
        return Record({"module-set-id": self.content_id, "module": rows})

    def _schemas(self) -> Record:
        rows = [
            Record(
                identifier=name,
                version=revision,
                format=("yang", "ietf-netconf-monitoring"),
                namespace=module.namespace,
                location=Rows(["NETCONF"]),
            )
            for module in self.schema.modules
            for name, revision in ((module.name, module.revision), *module.submodules)
        ]
        return Record(schema=Rows(rows))


def netconf_state(
    about: SelfDescription, stores: Datastores, sessions: Rows, statistics: Statistics
) -> Record:
    """RFC 6022's view of one element now."""
    datastores = Rows()
    for name in about.datastores:
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


def _library_entry(module: YangModule) -> Record:
    """What the YANG library says of a module."""
    entry = Record(name=module.name, namespace=module.namespace)
    if module.revision:
        entry["revision"] = module.revision
    if module.features:
        entry["feature"] = Rows(module.features)
    if module.submodules:
        parts = [Record(name=name, revision=revision) if revision else Record(name=name)
                 for name, revision in module.submodules]  # fmt: skip
        entry["submodule"] = Rows(parts)
    return entry


def _module_capability(module: YangModule) -> str:
    revision = f"&revision={module.revision}" if module.revision else ""
    features = f"&features={','.join(module.features)}" if module.features else ""
    return f"{module.namespace}?module={module.name}{revision}{features}"
