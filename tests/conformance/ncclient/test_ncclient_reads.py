"""ncclient greets an emulated element and reads: hello, get, get-config, get-data, get-schema."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import paramiko  # type: ignore[import-untyped]
import pytest
from lxml import etree
from ncclient.operations import RPCError
from ncclient.transport.errors import AuthenticationError, TransportError
from ncclient.xml_ import to_ele

from qmodel.yang import module_file

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
QN = "urn:bellweave:yang:bellweave-quantum-node"
NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DS = "urn:ietf:params:xml:ns:yang:ietf-datastores"
LIBRARY = "urn:ietf:params:xml:ns:yang:ietf-yang-library"
IF = "urn:ietf:params:xml:ns:yang:ietf-interfaces"
HW = "urn:ietf:params:xml:ns:yang:ietf-hardware"
CIRCUIT = (
    "<circuit><link-id>{}</link-id><role>swap</role><a-port>q1</a-port><b-port>q2</b-port>"
    "<bsm>b1</bsm><pair-rate-hz>10</pair-rate-hz></circuit>"
)


def _data(reply: Any) -> Any:
    return etree.fromstring(reply.xml.encode())


@pytest.mark.parametrize(
    "capability",
    [":base:1.0", ":base:1.1", ":candidate", ":confirmed-commit:1.1", ":validate:1.1", ":rollback-on-error",
     ":notification", ":interleave", ":yang-library:1.1"],
)  # fmt: skip
def test_the_hello_offers(reader: Any, capability: str) -> None:
    assert capability in reader.server_capabilities
    assert ":writable-running" not in reader.server_capabilities
    assert int(reader.session_id) > 0


def test_configuration_and_state_are_read(reader: Any) -> None:
    config = _data(reader.get_config("running"))
    names = {name.text for name in config.iter(f"{{{IF}}}name")}
    assert names == {"q1", "q2", "t1", "t2"}
    assert config.find(f".//{{{IF}}}oper-status") is None
    state = _data(reader.get(filter=("subtree", f'<interfaces xmlns="{IF}"/>')))
    assert {status.text for status in state.iter(f"{{{IF}}}oper-status")} == {"up"}
    assert state.find(f".//{{{HW}}}hardware") is None


def test_a_subtree_filter_selects(reader: Any) -> None:
    wanted = f'<hardware xmlns="{HW}"><component><name>s1</name><class/></component></hardware>'
    found = _data(reader.get_config("running", filter=("subtree", wanted)))
    assert [name.text for name in found.iter(f"{{{HW}}}name")] == ["s1"]


def test_an_xpath_filter_is_refused(reader: Any) -> None:
    with pytest.raises(RPCError, match="only subtree filters"):
        reader.get_config("running", filter=("xpath", "/hardware"))


@pytest.mark.parametrize("store", ["running", "candidate", "intended", "operational"])
def test_get_data_reads_every_datastore(reader: Any, store: str) -> None:
    request = (
        f'<get-data xmlns="{NMDA}" xmlns:ds="{DS}"><datastore>ds:{store}</datastore>'
        f'<subtree-filter><interfaces xmlns="{IF}"/></subtree-filter></get-data>'
    )
    found = _data(reader.dispatch(to_ele(request)))
    assert len(list(found.iter(f"{{{IF}}}interface"))) == 4
    assert (found.find(f".//{{{IF}}}oper-status") is not None) is (store == "operational")


def test_get_data_leaves_out_what_was_not_asked_for(reader: Any) -> None:
    request = f'<get-data xmlns="{NMDA}" xmlns:ds="{DS}"><datastore>ds:operational</datastore>{{}}</get-data>'
    config = _data(reader.dispatch(to_ele(request.format("<config-filter>true</config-filter>"))))
    assert config.find(f".//{{{IF}}}oper-status") is None
    shallow = _data(reader.dispatch(to_ele(request.format("<max-depth>1</max-depth>"))))
    assert shallow.find(f".//{{{IF}}}interfaces") is not None
    assert shallow.find(f".//{{{IF}}}name") is None


def test_the_modules_are_told_and_their_sources_given(reader: Any) -> None:
    library = _data(reader.get(filter=("subtree", f'<yang-library xmlns="{LIBRARY}"/>')))
    modules = {name.text for name in library.iter(f"{{{LIBRARY}}}name")}
    assert {"bellweave-quantum-node", "ietf-hardware", "ietf-netconf-nmda"} <= modules
    text = reader.get_schema("bellweave-quantum-node").data
    assert text.strip() == module_file("bellweave-quantum-node").read_text().strip()
    with pytest.raises(RPCError) as refused:
        reader.get_schema("bellweave-nothing")
    assert refused.value.tag == "invalid-value"


def test_old_framing_is_spoken_with_an_old_client(lab: Any, element: str) -> None:
    """Raw paramiko, since ncclient always offers base:1.1."""
    entry = lab.listed[element]
    with socket.create_connection((entry["host"], entry["port"]), timeout=10) as plain:
        transport = paramiko.Transport(plain)
        try:
            transport.start_client(timeout=10)
            key = paramiko.Ed25519Key.from_private_key_file(str(lab.home / "key"))
            transport.auth_publickey(entry["user"], key)
            channel = transport.open_session(timeout=10)
            channel.settimeout(10)
            channel.invoke_subsystem("netconf")
            assert b"<session-id>" in _read_to_marker(channel)
            hello = f'<hello xmlns="{BASE}"><capabilities><capability>urn:ietf:params:netconf:base:1.0'
            channel.sendall(f"{hello}</capability></capabilities></hello>]]>]]>".encode())
            channel.sendall(f'<rpc xmlns="{BASE}" message-id="1"><close-session/></rpc>]]>]]>'.encode())
            assert _read_to_marker(channel) == (
                f'<rpc-reply xmlns="{BASE}" message-id="1"><ok/></rpc-reply>]]>]]>'.encode()
            )
        finally:
            transport.close()


def _read_to_marker(channel: Any) -> bytes:
    received = b""
    while not received.endswith(b"]]>]]>"):
        piece = channel.recv(65536)
        assert piece, received
        received += piece
    return received


def test_only_the_key_opens_the_door(lab: Any, element: str) -> None:
    with pytest.raises(AuthenticationError):
        lab.connect(element, key_filename=None, password="guess")
    with pytest.raises(AuthenticationError):
        lab.connect(element, username="somebody")


def test_the_host_key_is_the_one_listed(lab: Any, element: str) -> None:
    entry = lab.listed[element]
    with socket.create_connection((entry["host"], entry["port"]), timeout=10) as plain:
        transport = paramiko.Transport(plain)
        try:
            transport.start_client(timeout=10)
            shown = transport.get_remote_server_key()
            assert f"{shown.get_name()} {shown.get_base64()}" == entry["host_key"]
        finally:
            transport.close()


@pytest.mark.parametrize(
    ("request_xml", "tag"),
    [
        (f'<make-coffee xmlns="{QN}"/>', "operation-not-supported"),
        (f'<get-config xmlns="{BASE}"/>', "missing-element"),
        (f'<get-config xmlns="{BASE}"><source><startup/></source></get-config>', "operation-not-supported"),
        (f'<get-config xmlns="{BASE}"><source><running/></source><extra/></get-config>', "unknown-element"),
        (f'<kill-session xmlns="{BASE}"><session-id>999999</session-id></kill-session>', "invalid-value"),
        (f'<delete-config xmlns="{BASE}"><target><running/></target></delete-config>',
         "operation-not-supported"),
        (f'<get-data xmlns="{NMDA}"><datastore>nowhere</datastore></get-data>', "invalid-value"),
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_refused(reader: Any, request_xml: str, tag: str) -> None:
    with pytest.raises(RPCError) as refused:
        reader.dispatch(to_ele(request_xml))
    assert refused.value.tag == tag


def test_a_closed_session_is_closed(lab: Any, element: str) -> None:
    session = lab.connect(element)
    assert session.close_session().ok
    assert not session.connected
    with pytest.raises(TransportError):
        session.get_config("running")


def test_two_hundred_elements_fit_in_one_process_under_a_gibibyte(large_lab: Any) -> None:
    names = list(large_lab.listed)
    assert len(names) == 200
    for name in (names[0], names[99], names[199]):
        with large_lab.connect(name) as session:
            assert session.get_config("running").data is not None
    assert large_lab.process is not None
    status = Path(f"/proc/{large_lab.process.pid}/status").read_text()
    resident_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident_kib < 1024 * 1024
