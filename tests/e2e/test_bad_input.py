"""What cannot be is refused at the real doors: a problem document says what and where; nothing changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.e2e import account
from tests.e2e.devices import Devices
from tests.e2e.ground import Ground

from bellweave_local.issuer.app import claims, sign
from bellweave_local.issuer.store import LOCAL_ACCOUNTS, SigningKey

GOOD: dict[str, Any] = {
    "kind": "full_mesh_vpn",
    "sites": ["Alice", "Bob"],
    "security_level": "top_secret",
    "max_latency_s": 1.0,
    "rate_bytes_per_s": 1000,
}
MANY = [f"Site{number}" for number in range(200)]
NAN, TOO_MUCH = "NaN", "1e999"


@pytest.fixture(autouse=True, scope="module")
def undisturbed(stack: Ground, devices: Devices) -> Iterator[None]:
    """All of it together leaves no trace."""
    before = account.take(stack, devices)
    yield
    assert account.take(stack, devices) == before


@pytest.fixture
def nothing_ordered(ground: Ground) -> Iterator[None]:
    before = _orders(ground)
    yield
    assert _orders(ground) == before


@pytest.fixture
def nothing_changed(ground: Ground, devices: Devices) -> Iterator[None]:
    before = account.take(ground, devices)
    yield
    assert account.take(ground, devices) == before


@pytest.mark.usefixtures("nothing_ordered")
@pytest.mark.parametrize(
    ("wrong", "where", "says"),
    [
        ({"sites": ["Alice", "Atlantis"]}, "/sites/1", "Atlantis"),
        ({"sites": ["Alice"]}, "/sites", "two sites"),
        ({"sites": []}, "/sites", "two sites"),
        ({"sites": ["Alice", "alice"]}, "/sites/1", "twice"),
        ({"sites": MANY}, "/sites", "200 sites"),
        ({"rate_bytes_per_s": -1}, "/rate_bytes_per_s", "greater than or equal to 0"),
        ({"rate_bytes_per_s": 0}, "/rate_bytes_per_s", "more than 0"),
        ({"rate_bytes_per_s": 1e30}, "/rate_bytes_per_s", "at most"),
        ({"rate_bytes_per_s": "plenty"}, "/rate_bytes_per_s", "number"),
        ({"key_rate_bps": 100}, "/key_rate_bps", "rate_bytes_per_s"),
        ({"max_latency_s": 0}, "/max_latency_s", "more than 0"),
        ({"min_fidelity": 1.5}, "/min_fidelity", "between 0.5 and 1"),
        ({"security_level": "cosmic"}, "/security_level", "cosmic"),
        ({"kind": "teleport"}, "/kind", "full_mesh_vpn"),
        ({"kind": "point_to_point_vpn", "sites": ["Alice", "Bob", "Dave"]}, "/sites", "two sites, not 3"),
        ({"colour": "blue"}, "/colour", "xtra"),
    ],
    ids=str,
)
def test_an_order_that_cannot_be_is_refused_where_it_is_wrong(
    ground: Ground, wrong: dict[str, Any], where: str, says: str
) -> None:
    answer = ground.send("POST", "sms.main", "/orders", "acme-admin", json={**GOOD, **wrong})
    problem = _problem(answer, 422, "invalid")
    assert problem["where"] == where
    assert says in problem["detail"]
    assert problem["instance"] == answer.headers["x-request-id"]


@pytest.mark.usefixtures("nothing_ordered")
@pytest.mark.parametrize("number", [NAN, TOO_MUCH])
@pytest.mark.parametrize("field", ["rate_bytes_per_s", "max_latency_s", "min_fidelity"])
def test_a_number_that_is_none_is_refused(ground: Ground, field: str, number: str) -> None:
    text = json.dumps({**GOOD, field: "here"}).replace('"here"', number)
    problem = _problem(_post(ground, text), 422, "invalid")
    assert problem["where"] == f"/{field}"


@pytest.mark.usefixtures("nothing_ordered")
@pytest.mark.parametrize("text", ["{", '{"kind": }', "", "\x00", "[1, 2"])
def test_what_is_no_json_is_a_bad_request(ground: Ground, text: str) -> None:
    answer = _post(ground, text)
    if text:
        assert "JSON" in _problem(answer, 400, "invalid")["detail"]
    else:
        _problem(answer, 422, "invalid")


@pytest.mark.usefixtures("nothing_ordered")
def test_a_body_beyond_the_limit_is_too_large(ground: Ground) -> None:
    text = json.dumps({**GOOD, "name": "x" * 1_100_000})
    problem = _problem(_post(ground, text), 413, "too-large")
    assert problem["limit_bytes"] < len(text)


@pytest.mark.usefixtures("nothing_ordered")
def test_a_body_beyond_the_limit_is_too_large_though_it_does_not_say_so(ground: Ground) -> None:
    pieces = (b"x" * 100_000 for _ in range(12))
    headers = {"Content-Type": "application/json"}
    answer = ground.send("POST", "sms.main", "/orders", "acme-admin", content=pieces, headers=headers)
    _problem(answer, 413, "too-large")


@pytest.mark.usefixtures("nothing_ordered")
@pytest.mark.parametrize("instance", ["sms.main", "bms.main", "nms.north", "ems.south"])
def test_no_token_opens_no_door(ground: Ground, instance: str) -> None:
    paths = {"sms": "/orders", "bms": "/invoices", "nms": "/topology", "ems": "/devices"}
    answer = ground.send("GET", instance, paths[instance[:3]], None)
    _problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.usefixtures("nothing_ordered")
def test_an_expired_token_opens_no_door(ground: Ground) -> None:
    key, said = _issuer(ground)
    fresh, stale = sign(key, said), sign(key, {**said, "exp": int(time.time()) - 60})
    assert ground.send("GET", "sms.main", "/orders", None, token=fresh).is_success
    problem = _problem(ground.send("GET", "sms.main", "/orders", None, token=stale), 401, "unauthenticated")
    assert "expired" in problem["detail"]


@pytest.mark.usefixtures("nothing_ordered")
@pytest.mark.parametrize("foreign", ["key", "issuer", "audience", "unsigned"])
def test_a_foreign_token_opens_no_door(ground: Ground, foreign: str) -> None:
    key, said = _issuer(ground)
    if foreign == "key":
        stranger = ec.generate_private_key(ec.SECP256R1())
        token = jwt.encode(said, stranger, algorithm="ES256", headers={"kid": key.key_id})
    elif foreign == "unsigned":
        token = jwt.encode(said, "", algorithm="none", headers={"kid": key.key_id})
    else:
        token = sign(
            key, {**said, {"issuer": "iss", "audience": "aud"}[foreign]: "https://elsewhere.example"}
        )
    _problem(ground.send("GET", "sms.main", "/orders", None, token=token), 401, "unauthenticated")


@pytest.mark.usefixtures("nothing_ordered")
@pytest.mark.parametrize(
    ("method", "instance", "path", "user"),
    [
        ("POST", "sms.main", "/orders", "billing"),
        ("POST", "sms.main", "/orders", "operator"),
        ("POST", "bms.main", "/invoices", "acme-admin"),
        ("PUT", "nms.north", "/topology", "acme-admin"),
        ("GET", "nms.south", "/links", "auditor"),
        ("POST", "ems.north", "/devices", "billing"),
    ],
)
def test_the_wrong_role_is_forbidden(
    ground: Ground, method: str, instance: str, path: str, user: str
) -> None:
    problem = _problem(ground.send(method, instance, path, user, json={}), 403, "forbidden")
    assert "role" in problem["detail"]


@pytest.mark.usefixtures("nothing_changed")
def test_an_order_beyond_the_quota_is_refused_by_what_is_left(ground: Ground) -> None:
    limit_bps = ground.get("bms.main", "/quota/acme", "billing")["key_rate_limit_bps"]
    problem = _refused(ground, {"kind": "key", "rate_bytes_per_s": 0, "key_rate_bps": 2 * limit_bps})
    assert problem["type"] == "urn:bellweave:problem:quota-exceeded"
    assert problem["where"] == "/key_rate_bps"
    assert str(limit_bps) in problem["detail"]
    assert problem["key_rate_limit_bps"] == limit_bps


@pytest.mark.usefixtures("nothing_changed")
@pytest.mark.parametrize(
    ("wanted", "constraint", "fits"),
    [
        ({"kind": "key", "rate_bytes_per_s": 0, "key_rate_bps": 900_000}, "key-rate", "key_rate_bps"),
        ({"min_fidelity": 0.9999}, "fidelity", "min_fidelity"),
        ({"max_latency_s": 1e-6}, "latency", "max_latency_s"),
    ],
    ids=["key-rate", "fidelity", "latency"],
)
def test_what_no_path_gives_is_refused_by_what_binds_and_what_would_fit(
    ground: Ground, wanted: dict[str, Any], constraint: str, fits: str
) -> None:
    problem = _refused(ground, wanted)
    assert problem["type"] == "urn:bellweave:problem:infeasible"
    assert constraint in problem["detail"]
    (refusal,) = problem["refusals"]
    assert (refusal["a"], refusal["b"], refusal["constraint"]) == ("Alice", "Bob", constraint)
    assert refusal["where"]
    assert refusal["reason"]
    asked = {**GOOD, **wanted}[fits]
    fitting = refusal["would_fit"][fits]
    assert fitting > asked if fits == "max_latency_s" else 0 < fitting < asked


def test_what_would_fit_fits(ground: Ground) -> None:
    wanted = {"kind": "key", "rate_bytes_per_s": 0, "key_rate_bps": 900_000}
    (refusal,) = _refused(ground, wanted)["refusals"]
    less = {**wanted, "key_rate_bps": 0.99 * refusal["would_fit"]["key_rate_bps"]}
    order = ground.order({**GOOD, **less})
    assert order["state"] == "completed", order["problem"]
    ground.end(order["service_id"])


def test_another_tenants_service_is_not_there(ground: Ground) -> None:
    order = ground.order(GOOD)
    assert order["state"] == "completed", order["problem"]
    service, link = f"/services/{order['service_id']}", f"/services/{order['service_id']}/links"
    for method, path in (
        ("GET", service),
        ("GET", link),
        ("DELETE", service),
        ("GET", f"/orders/{order['id']}"),
        ("DELETE", f"/orders/{order['id']}"),
        ("GET", f"{service}/usage"),
        ("GET", f"{service}/history"),
    ):
        problem = _problem(ground.send(method, "sms.main", path, "globex-admin"), 404, "not-found")
        assert order["service_id"] not in problem["detail"]
    assert order["service_id"] not in {s["id"] for s in ground.items("sms.main", "/services", "globex-admin")}
    assert ground.get("sms.main", service, "acme-admin")["state"] in ("active", "degraded")
    ground.end(order["service_id"])


def _post(ground: Ground, text: str) -> Any:
    headers = {"Content-Type": "application/json"}
    return ground.send("POST", "sms.main", "/orders", "acme-admin", content=text.encode(), headers=headers)


def _problem(answer: Any, status: int, kind: str) -> dict[str, Any]:
    """The problem document of an answer that must be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = dict(answer.json())
    assert (problem["status"], problem["type"]) == (status, f"urn:bellweave:problem:{kind}")
    assert problem["title"]
    assert problem["detail"]
    return problem


def _refused(ground: Ground, wanted: dict[str, Any]) -> dict[str, Any]:
    """The problem of an order that is taken in and then refused."""
    order = ground.order({**GOOD, **wanted})
    assert order["state"] == "refused"
    assert order["service_id"] is None
    return dict(order["problem"])


def _orders(ground: Ground) -> list[tuple[str, str]]:
    return [(order["id"], order["state"]) for order in ground.items("sms.main", "/orders", "operator")]


def _issuer(ground: Ground) -> tuple[SigningKey, dict[str, Any]]:
    """The local issuer's key, and what it says about Acme's user."""
    issuer = ground.status.issuer
    assert issuer is not None
    acme = next(one for one in LOCAL_ACCOUNTS if one.name == "acme-admin")
    return SigningKey(ground.state.root / "issuer"), claims(issuer.url, acme, int(time.time()))
