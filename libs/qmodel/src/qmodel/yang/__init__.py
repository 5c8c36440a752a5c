"""The YANG modules of a quantum node, and where the standard modules around them lie.

Called by the emulated elements, which serve them, and by the EMS, which speaks them. It knows files and
names only: compiling a module is the work of whoever has a YANG compiler.

The modules of the IETF and IANA are those that `pyang` installs beside the interpreter; they are not copied.
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

QUANTUM_NODE_NS = "urn:bellweave:yang:bellweave-quantum-node"
QUANTUM_TYPES_NS = "urn:bellweave:yang:bellweave-qn-types"
HARDWARE_NS = "urn:ietf:params:xml:ns:yang:ietf-hardware"
IANA_HARDWARE_NS = "urn:ietf:params:xml:ns:yang:iana-hardware"
INTERFACES_NS = "urn:ietf:params:xml:ns:yang:ietf-interfaces"

_IETF = "urn:ietf:params:xml:ns:yang:"


@dataclass(frozen=True)
class YangModule:
    """One module of a server: `implemented`, or only imported for its types. `submodules` are names and
    revisions of all that it includes."""

    name: str
    revision: str
    namespace: str
    features: tuple[str, ...] = ()
    implemented: bool = True
    submodules: tuple[tuple[str, str], ...] = ()


QUANTUM_NODE_MODULES: tuple[YangModule, ...] = (
    YangModule("bellweave-quantum-node", "2026-01-15", QUANTUM_NODE_NS),
    YangModule("bellweave-qn-types", "2026-01-15", QUANTUM_TYPES_NS),
    YangModule("ietf-hardware", "2018-03-13", HARDWARE_NS, features=("hardware-state",)),
    YangModule("iana-hardware", "2018-03-13", IANA_HARDWARE_NS),
    YangModule("ietf-interfaces", "2018-02-20", INTERFACES_NS),
    YangModule("ietf-yang-types", "2013-07-15", _IETF + "ietf-yang-types", implemented=False),
    YangModule("ietf-inet-types", "2013-07-15", _IETF + "ietf-inet-types", implemented=False),
)
"""What makes a quantum node, without the modules of the management protocol."""


def module_dirs() -> tuple[Path, ...]:
    """Folders to look for modules in: ours, then the IETF's and IANA's as installed by pyang."""
    installed = Path(sysconfig.get_path("data")) / "share" / "yang" / "modules"
    return Path(__file__).parent, installed / "ietf", installed / "iana"


def module_file(name: str) -> Path:
    """The source of module `name`. Raises FileNotFoundError if no folder has it."""
    for folder in module_dirs():
        path = folder / f"{name}.yang"
        if path.is_file():
            return path
    raise FileNotFoundError(f"no YANG module {name!r} in {', '.join(map(str, module_dirs()))}")


def yang_library(modules: Iterable[YangModule], module_set_id: str = "bellweave") -> str:
    """YANG library data (RFC 7895, JSON) of a server with these modules, as yangson reads it."""
    listed = []
    for module in modules:
        entry: dict[str, object] = {
            "name": module.name,
            "revision": module.revision,
            "namespace": module.namespace,
            "conformance-type": "implement" if module.implemented else "import",
        }
        if module.features:
            entry["feature"] = list(module.features)
        if module.submodules:
            entry["submodule"] = [{"name": name, "revision": each} for name, each in module.submodules]
        listed.append(entry)
    return json.dumps({"ietf-yang-library:modules-state": {"module-set-id": module_set_id, "module": listed}})


def decimal_text(value: float, fraction_digits: int = 6) -> str:
    """`value` as canonical decimal64 (RFC 7950, 9.3.2), rounded: 1.0, 0.25, 8160.000001.

    Rates of this model have six fraction digits, so `float(decimal_text(rate))` is what a device gives back.
    """
    rounded = Decimal(repr(value)).quantize(Decimal(1).scaleb(-fraction_digits))
    text = f"{rounded:f}".rstrip("0")
    text = text + "0" if text.endswith(".") else text
    return "0.0" if text == "-0.0" else text
