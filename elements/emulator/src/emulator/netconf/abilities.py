"""What a server may be able to do, and what follows: datastores, capabilities, modules of the protocol."""

from __future__ import annotations

from enum import StrEnum

from emulator.datastore.store import CANDIDATE, RUNNING, STARTUP
from emulator.netconf.messages import BASE_1_0, BASE_1_1
from qmodel.yang import YangModule
from qyang.edit import BASE_NS

_YANG = "urn:ietf:params:xml:ns:yang:"
_CAPABILITY = "urn:ietf:params:netconf:capability:"


class Ability(StrEnum):
    """Parts of the protocol that a server may do without."""

    CANDIDATE = "candidate"
    """Without it running is written directly (:writable-running)."""
    CONFIRMED_COMMIT = "confirmed-commit"
    ROLLBACK_ON_ERROR = "rollback-on-error"
    VALIDATE = "validate"
    STARTUP = "startup"
    """With it running is lost at a restart, and begins with what startup holds."""
    XPATH = "xpath"
    WITH_DEFAULTS = "with-defaults"
    NMDA = "nmda"
    """get-data and edit-data (RFC 8526)."""
    NOTIFICATIONS = "notifications"
    MONITORING = "monitoring"
    """get-schema and netconf-state (RFC 6022)."""


Abilities = frozenset[Ability]

ALL: Abilities = frozenset(Ability)
QUANTUM_NODE: Abilities = ALL - {Ability.STARTUP, Ability.XPATH, Ability.WITH_DEFAULTS}


def without(*missing: Ability) -> Abilities:
    """All but these, and but what needs them."""
    left = ALL - set(missing)
    return left if Ability.CANDIDATE in left else left - {Ability.CONFIRMED_COMMIT}


def datastores_of(abilities: Abilities) -> tuple[str, ...]:
    """The conventional datastores that a server with these abilities has."""
    own = ((CANDIDATE, Ability.CANDIDATE), (STARTUP, Ability.STARTUP))
    return (RUNNING, *(name for name, ability in own if ability in abilities))


def capabilities_of(abilities: Abilities, content_id: str) -> list[str]:
    """The capabilities of a hello, but for those of modules."""
    named = {
        Ability.CANDIDATE: ("candidate:1.0",),
        Ability.CONFIRMED_COMMIT: ("confirmed-commit:1.1",),
        Ability.ROLLBACK_ON_ERROR: ("rollback-on-error:1.0",),
        Ability.VALIDATE: ("validate:1.1",),
        Ability.STARTUP: ("startup:1.0",),
        Ability.XPATH: ("xpath:1.0",),
        Ability.WITH_DEFAULTS: (
            "with-defaults:1.0?basic-mode=explicit&also-supported=report-all,report-all-tagged,trim",
        ),
        Ability.NOTIFICATIONS: ("notification:1.0", "interleave:1.0"),
    }
    names = [name for ability, own in named.items() if ability in abilities for name in own]
    if Ability.CANDIDATE not in abilities:
        names.insert(0, "writable-running:1.0")
    if Ability.NMDA in abilities:
        names.append(f"yang-library:1.1?revision=2019-01-04&content-id={content_id}")
    else:
        names.append(f"yang-library:1.0?revision=2019-01-04&module-set-id={content_id}")
    return [BASE_1_0, BASE_1_1, *(_CAPABILITY + name for name in names)]


def netconf_modules(abilities: Abilities) -> tuple[YangModule, ...]:
    """The modules of the protocol itself, to be added to those of the data."""
    has_defaults, has_nmda = Ability.WITH_DEFAULTS in abilities, Ability.NMDA in abilities
    features = [name.value for name in _NETCONF_FEATURES if name in abilities]
    if Ability.CANDIDATE not in abilities:
        features.insert(0, "writable-running")
    modules = [
        YangModule("ietf-netconf", "2011-06-01", BASE_NS, features=tuple(features)),
        _module("ietf-yang-library", "2019-01-04"),
        _module("ietf-datastores", "2018-02-14", implemented=has_nmda),
        _module("ietf-yang-types", "2013-07-15", implemented=False),
        _module("ietf-inet-types", "2013-07-15", implemented=False),
    ]
    if Ability.MONITORING in abilities:
        modules.append(_module("ietf-netconf-monitoring", "2010-10-04"))
    if Ability.NOTIFICATIONS in abilities:
        modules.append(_module("ietf-netconf-notifications", "2012-02-06"))
    if has_nmda:
        modules.append(
            _module("ietf-netconf-nmda", "2019-01-07", *(("with-defaults",) if has_defaults else ()))
        )
        modules.append(_module("ietf-origin", "2018-02-14", implemented=False))
        modules.append(_module("ietf-yang-metadata", "2016-08-05", implemented=False))
    if has_nmda or has_defaults:
        modules.append(_module("ietf-netconf-with-defaults", "2011-06-01", implemented=has_defaults))
    return tuple(modules)


def _module(name: str, revision: str, *features: str, implemented: bool = True) -> YangModule:
    return YangModule(name, revision, _YANG + name, features, implemented)


_NETCONF_FEATURES = (
    Ability.CANDIDATE,
    Ability.CONFIRMED_COMMIT,
    Ability.ROLLBACK_ON_ERROR,
    Ability.VALIDATE,
    Ability.STARTUP,
    Ability.XPATH,
)
