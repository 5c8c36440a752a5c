"""Messages in and out: hostile XML is refused, replies repeat what they must, errors say all."""

from __future__ import annotations

import pytest
from lxml import etree

from emulator.netconf.messages import (
    MalformedMessage,
    client_capabilities,
    error_body,
    parse,
    read_rpc,
    reply,
)
from qyang.errors import DataPath, RpcError

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"


@pytest.mark.parametrize(
    "message",
    [
        b"<rpc>",
        b"",
        b'<!DOCTYPE rpc [<!ENTITY a "x">]><rpc>&a;</rpc>',
        b"<!DOCTYPE rpc><rpc/>",
        b"<rpc>&undefined;</rpc>",
        b"<a>" * 300 + b"</a>" * 300,
        b"\xff\xfe",
    ],
)
def test_hostile_or_broken_xml_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse(message)


def test_a_hello_with_a_session_id_is_no_clients_hello() -> None:
    with pytest.raises(MalformedMessage):
        client_capabilities(f'<hello xmlns="{BASE}"><session-id>4</session-id></hello>'.encode())


def test_the_reply_repeats_the_attributes_of_the_request() -> None:
    rpc = read_rpc(parse(
        f'<nc:rpc xmlns:nc="{BASE}" xmlns:ex="urn:x" message-id="1&lt;2" ex:user="me"><nc:get/></nc:rpc>'
        .encode()
    ))  # fmt: skip
    answer = etree.fromstring(reply(rpc.attributes, "<ok/>"))
    assert answer.get("message-id") == "1<2"
    assert answer.get("{urn:x}user") == "me"


@pytest.mark.parametrize(
    ("message", "tag"),
    [
        (f'<rpc xmlns="{BASE}"><get/></rpc>', "missing-attribute"),
        (f'<rpc xmlns="{BASE}" message-id="1"/>', "missing-element"),
        (f'<rpc xmlns="{BASE}" message-id="1"><get/><get/></rpc>', "bad-element"),
        ('<rpc message-id="1"><get/></rpc>', "malformed-message"),
    ],
)
def test_a_request_that_is_none_is_refused(message: str, tag: str) -> None:
    with pytest.raises(RpcError) as refused:
        read_rpc(parse(message.encode()))
    assert refused.value.tag == tag


def test_an_error_carries_path_prefixes_and_information() -> None:
    error = RpcError(
        "data-missing",
        "no <such> thing\x00",
        path=DataPath("/m:a[m:k='1']", {"m": "urn:m"}),
        app_tag="instance-required",
        info=(("bad-element", "x"),),
    )
    element = etree.fromstring(reply(' message-id="1"', error_body(error)))[0]
    path = element.find(f"{{{BASE}}}error-path")
    assert path is not None
    assert (path.text, path.nsmap["m"]) == ("/m:a[m:k='1']", "urn:m")
    assert element.findtext(f"{{{BASE}}}error-message") == "no <such> thing"
    assert element.findtext(f"{{{BASE}}}error-info/{{{BASE}}}bad-element") == "x"
