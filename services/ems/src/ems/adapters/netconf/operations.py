"""The operations that we send, as the octets inside `<rpc>`: few enough to be written by hand, and fast so.

`device` and `learning` put them into flights. Text that comes from elsewhere is escaped here.
"""

from __future__ import annotations

from typing import Final

from ems.adapters.netconf.xml import escape

_NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
_DATASTORES = "urn:ietf:params:xml:ns:yang:ietf-datastores"
_MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
_NOTIFICATIONS = "urn:ietf:params:xml:ns:netconf:notification:1.0"

LOCK: Final = b"<lock><target><candidate/></target></lock>"
UNLOCK: Final = b"<unlock><target><candidate/></target></unlock>"
DISCARD: Final = b"<discard-changes/>"
VALIDATE: Final = b"<validate><source><candidate/></source></validate>"
COMMIT: Final = b"<commit/>"
SAVE: Final = b"<copy-config><target><startup/></target><source><running/></source></copy-config>"
NOTHING: Final = b'<get-config><source><running/></source><filter type="subtree"/></get-config>'
"""A read of nothing (RFC 6241 section 6.4.2): harmless, whatever state the device is in."""
SUBSCRIBE: Final = f'<create-subscription xmlns="{_NOTIFICATIONS}"/>'.encode()


def get_config(datastore: str, subtree: bytes) -> bytes:
    return b'<get-config><source><%b/></source><filter type="subtree">%b</filter></get-config>' % (
        datastore.encode(),
        subtree,
    )


def get_whole(datastore: str) -> bytes:
    """get-config of everything that the login may read."""
    return b"<get-config><source><%b/></source></get-config>" % datastore.encode()


def get_schema(name: str, revision: str) -> bytes:
    """The text of a module (RFC 6022)."""
    version = f"<version>{escape(revision)}</version>" if revision else ""
    return (
        f'<get-schema xmlns="{_MONITORING}"><identifier>{escape(name)}</identifier>{version}'
        f"<format>yang</format></get-schema>"
    ).encode()


def get(subtree: bytes) -> bytes:
    return b'<get><filter type="subtree">%b</filter></get>' % subtree


def get_operational(subtree: bytes) -> bytes:
    """get-data of the operational datastore (RFC 8526)."""
    return (
        f'<get-data xmlns="{_NMDA}" xmlns:ds="{_DATASTORES}"><datastore>ds:operational</datastore>'
        f"<subtree-filter>{subtree.decode()}</subtree-filter></get-data>"
    ).encode()


def edit_candidate(config: bytes) -> bytes:
    """Entries carry their own operations; the containers around them are merged."""
    return b"<edit-config><target><candidate/></target><config>%b</config></edit-config>" % config


def commit_confirmed(persist_id: str, confirm_timeout_s: int) -> bytes:
    return (
        f"<commit><confirmed/><confirm-timeout>{confirm_timeout_s}</confirm-timeout>"
        f"<persist>{escape(persist_id)}</persist></commit>"
    ).encode()


def commit_confirming(persist_id: str) -> bytes:
    return f"<commit><persist-id>{escape(persist_id)}</persist-id></commit>".encode()


def cancel_commit(persist_id: str) -> bytes:
    return f"<cancel-commit><persist-id>{escape(persist_id)}</persist-id></cancel-commit>".encode()


def kill_session(session_id: int) -> bytes:
    return b"<kill-session><session-id>%d</session-id></kill-session>" % session_id
