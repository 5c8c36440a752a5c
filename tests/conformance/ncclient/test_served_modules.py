"""`bellweave-element serve`: a NETCONF element for modules that nobody here wrote an element for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from lxml import etree
from ncclient import manager
from ncclient.operations import MissingCapabilityError, RPCError
from ncclient.xml_ import to_ele

MODULES = Path(__file__).parents[2] / "unit"
EX = "urn:example:engine"
BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DEFAULTS = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"
MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
NOTIFICATIONS = "urn:ietf:params:xml:ns:netconf:notification:1.0"
PAIRS = "<pair><a>1</a><b>p</b><mark>5</mark></pair><pair><a>2</a><b>q</b><mark>6</mark></pair>"
STOP_LIMIT_S = 30.0


@dataclass
class Server:
    """The process as a client's author starts it."""

    home: Path
    words: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    ports: list[int] = field(default_factory=list)

    def start(self) -> None:
        command = [sys.executable, "-m", "emulator", "serve", "--yang", str(MODULES), "--module",
                   "example-engine", "--module", "ietf-system", "--authorized-key",
                   str(self.home / "key.pub"), "--user", "tester", *self.words]  # fmt: skip
        with (self.home / "log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        self.ports = []
        for line in self.process.stdout:
            if line.startswith("ready"):
                return
            self.ports.append(int(line.split()[2]))
        raise AssertionError((self.home / "log").read_text())

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        os.kill(self.process.pid, number)
        code = self.process.wait(STOP_LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return code

    def connect(self, index: int = 0) -> Any:
        return manager.connect(
            host="127.0.0.1", port=self.ports[index], username="tester", hostkey_verify=False,
            key_filename=str(self.home / "key"), allow_agent=False, look_for_keys=False, timeout=20,
        )  # fmt: skip


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    made: list[Server] = []

    def run(*words: str) -> Server:
        home = tmp_path_factory.mktemp("served")
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(home / "key")
        key.write_public_key(home / "key.pub")
        made.append(Server(home, words))
        made[-1].start()
        return made[-1]

    yield run
    assert {server.stop() for server in made if server.process is not None} <= {0}


@pytest.fixture(scope="module")
def server(start: Start) -> Server:
    """With everything that it can do."""
    return start()


@pytest.fixture
def session(server: Server) -> Iterator[Any]:
    with server.connect() as opened:
        opened.edit_config(
            f'<config xmlns="{BASE}"><top xmlns="{EX}" xmlns:nc="{BASE}" nc:operation="remove"/></config>',
            target="candidate",
        )
        opened.commit()
        yield opened


def config(inside: str) -> str:
    return f'<config xmlns="{BASE}"><top xmlns="{EX}">{inside}</top></config>'


def put(session: Any, inside: str) -> None:
    session.edit_config(config(inside), target="candidate")
    session.commit()


def top(reply: Any) -> etree._Element:
    found = reply.data.find(f"{{{EX}}}top")
    return etree.Element("nothing") if found is None else found


def texts(reply: Any, name: str) -> list[str | None]:
    return [each.text for each in top(reply).iter(f"{{{EX}}}{name}")]


def test_it_gives_the_source_of_what_it_serves(session: Any) -> None:
    assert session.get_schema("example-engine").data == (MODULES / "example-engine.yang").read_text()
    assert "module ietf-system" in session.get_schema("ietf-system").data
    with pytest.raises(RPCError):
        session.get_schema("no-such-module")


def test_its_library_names_the_modules_with_all_their_features(session: Any) -> None:
    listed = session.get(
        ("subtree", '<modules-state xmlns="urn:ietf:params:xml:ns:yang:ietf-yang-library"/>')
    )
    found = etree.tostring(listed.data).decode()
    assert "example-engine" in found
    assert "radius" in found


def test_an_xpath_filter_selects_what_it_says(session: Any) -> None:
    put(session, PAIRS)
    chosen = session.get_config("running", filter=("xpath", ({"e": EX}, "/e:top/e:pair[e:mark=6]/e:b")))
    assert texts(chosen, "b") == ["q"]
    assert texts(chosen, "mark") == []


@pytest.mark.parametrize(
    ("mode", "shown"),
    [("explicit", ["off"]), ("trim", []), ("report-all", ["off"]), ("report-all-tagged", ["off"])],
)
def test_default_values_are_shown_as_asked_for(session: Any, mode: str, shown: list[str]) -> None:
    put(session, "<mode>off</mode><l1>x</l1>")
    assert texts(session.get_config("running", with_defaults=mode), "mode") == shown


def test_a_default_that_nobody_set_is_reported_only_on_demand(session: Any) -> None:
    put(session, "<l1>x</l1>")
    assert texts(session.get_config("running"), "mode") == []
    tagged = top(session.get_config("running", with_defaults="report-all-tagged")).find(f"{{{EX}}}mode")
    assert tagged is not None
    assert tagged.get("{urn:ietf:params:xml:ns:netconf:default:1.0}default") == "true"


def test_edit_data_and_get_data_work_on_datastores_of_nmda(session: Any) -> None:
    datastore = '<datastore xmlns:ds="urn:ietf:params:xml:ns:yang:ietf-datastores">ds:{}</datastore>'
    edit = f'<edit-data xmlns="{NMDA}">{datastore.format("candidate")}<config><top xmlns="{EX}"><l1>nmda</l1>'
    session.dispatch(to_ele(f"{edit}</top></config></edit-data>"))
    session.commit()
    reply = session.dispatch(to_ele(f'<get-data xmlns="{NMDA}">{datastore.format("running")}</get-data>'))
    assert "<l1>nmda</l1>" in reply.xml


def test_what_the_modules_forbid_is_refused_and_changes_nothing(session: Any) -> None:
    put(session, PAIRS)
    for inside in ("<ratio>11</ratio>", "<no-such/>", "<only-when-on>x</only-when-on>"):
        with pytest.raises(RPCError):
            put(session, inside)
        session.discard_changes()
    assert texts(session.get_config("running"), "mark") == ["5", "6"]


def test_running_dies_with_the_process_and_startup_does_not(start: Start, tmp_path: Path) -> None:
    server = start("--state", str(tmp_path / "state"))
    with server.connect() as session:
        put(session, "<l1>kept</l1>")
        session.copy_config(source="running", target="startup")
        put(session, "<l1>lost</l1>")
    server.stop(signal.SIGKILL)
    server.start()
    with server.connect() as session:
        assert texts(session.get_config("running"), "l1") == ["kept"]
        session.delete_config("startup")
    server.stop()
    server.start()
    with server.connect() as session:
        assert texts(session.get_config("running"), "l1") == []


def test_without_a_candidate_running_is_written_directly(start: Start) -> None:
    server = start("--without", "candidate", "--without", "startup")
    with server.connect() as session:
        assert ":candidate" not in session.server_capabilities
        session.edit_config(config(PAIRS), target="running")
        assert texts(session.get_config("running"), "mark") == ["5", "6"]
        with pytest.raises(RPCError):
            session.edit_config(config("<ratio>11</ratio>"), target="running")
        with pytest.raises(MissingCapabilityError):
            session.commit()


@pytest.mark.parametrize(
    ("missing", "offer", "asked"),
    [
        ("confirmed-commit", ":confirmed-commit:", "<commit {}><confirmed/></commit>"),
        ("validate", ":validate:", "<validate {}><source><candidate/></source></validate>"),
        ("xpath", ":xpath:", '<get {}><filter type="xpath" select="/*"/></get>'),
        ("with-defaults", ":with-defaults:",
         f'<get {{}}><with-defaults xmlns="{DEFAULTS}">trim</with-defaults></get>'),
        ("startup", ":startup:", "<get-config {}><source><startup/></source></get-config>"),
        ("nmda", ":yang-library:1.1", f'<get-data xmlns="{NMDA}"><datastore>running</datastore></get-data>'),
        ("monitoring", "ietf-netconf-monitoring",
         f'<get-schema xmlns="{MONITORING}"><identifier>ietf-system</identifier></get-schema>'),
        ("notifications", ":notification:", f'<create-subscription xmlns="{NOTIFICATIONS}"/>'),
    ],
)  # fmt: skip
def test_what_it_is_told_to_lack_it_neither_offers_nor_does(
    server: Server, start: Start, missing: str, offer: str, asked: str
) -> None:
    with server.connect() as able, start("--without", missing).connect() as session:
        assert any(offer in str(each) for each in able.server_capabilities)
        assert not any(offer in str(each) for each in session.server_capabilities)
        with pytest.raises(RPCError):
            session.dispatch(to_ele(asked.format(f'xmlns="{BASE}"')))


def test_several_elements_listen_each_at_a_port_and_share_nothing(start: Start) -> None:
    server = start("--count", "3")
    assert len(set(server.ports)) == 3
    with server.connect(0) as one, server.connect(2) as other:
        put(one, "<l1>mine</l1>")
        assert texts(other.get_config("running"), "l1") == []


def test_modules_that_are_not_there_or_do_not_compile_are_said_at_once(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_public_key(tmp_path / "key.pub")
    (tmp_path / "bad.yang").write_text('module bad { namespace "urn:b"; prefix b; leaf x { type no-such; } }')
    for name, said in (("no-such", "no YANG module"), ("bad", "")):
        done = subprocess.run(
            [sys.executable, "-m", "emulator", "serve", "--yang", str(tmp_path), "--module", name,
             "--authorized-key", str(tmp_path / "key.pub")],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (1, True, False)
