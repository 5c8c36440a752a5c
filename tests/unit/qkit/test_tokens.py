"""Which tokens a service takes: only the issuer's own, for it, in time, with roles."""

from __future__ import annotations

import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from qkit.auth import Verifier
from qmodel.errors import Invalid, Unauthenticated, Unavailable

ISSUER = "https://issuer.test"


class Issuer:
    """Publishes one key; `down` makes it unreachable, `asked` counts how often keys were fetched."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.kid = "k1"
        self.calls_itself = ISSUER
        self.down = False
        self.asked = 0
        self.time_s = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"issuer": self.calls_itself, "jwks_uri": f"{ISSUER}/keys"})
        self.asked += 1
        key = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return httpx.Response(200, json={"keys": [{**key, "kid": self.kid, "alg": "ES256"}]})

    def token(self, key: Any = None, kid: str = "k1", alg: str = "ES256", **claims: Any) -> str:
        said = {
            "iss": ISSUER,
            "aud": "bellweave",
            "sub": "somebody",
            "tenant": "acme",
            "roles": ["tenant"],
            "exp": time.time() + 60,
        } | claims
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, key or self.key, algorithm=alg, headers={"kid": kid})


def unsigned() -> str:
    """A token that claims everything and proves nothing."""
    said = {"iss": ISSUER, "aud": "bellweave", "sub": "x", "roles": ["operator"], "exp": time.time() + 60}
    return jwt.encode(said, "", algorithm="none", headers={"kid": "k1"})


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def verifier(issuer: Issuer) -> Verifier:
    http = httpx.AsyncClient(transport=httpx.MockTransport(issuer.answer))
    return Verifier(ISSUER, "bellweave", http, lambda: issuer.time_s)


async def test_a_good_token_names_its_caller(issuer: Issuer, verifier: Verifier) -> None:
    principal = await verifier.verify(issuer.token(roles=["tenant", "emperor"]))
    assert (principal.subject, principal.tenant, principal.roles) == (
        "somebody",
        "acme",
        frozenset({"tenant"}),
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": time.time() - 60},
        {"exp": None},
        {"iss": "https://elsewhere.test"},
        {"aud": "somebody-else"},
        {"sub": None},
        {"roles": None},
        {"roles": "tenant"},
        {"tenant": ""},
    ],
    ids=["expired", "endless", "foreign", "for others", "nobody", "no roles", "roles no list", "no tenant"],
)
async def test_a_token_with_wrong_claims_is_refused(
    issuer: Issuer, verifier: Verifier, claims: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(**claims))


async def test_a_token_of_another_key_is_refused(issuer: Issuer, verifier: Verifier) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(stranger))
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(stranger, kid="k2"))


@pytest.mark.parametrize("alg", ["none", "HS256"])
async def test_a_token_that_is_not_signed_by_a_private_key_is_refused(
    issuer: Issuer, verifier: Verifier, alg: str
) -> None:
    token = issuer.token("x" * 64, alg=alg) if alg == "HS256" else unsigned()
    with pytest.raises(Unauthenticated, match="algorithm"):
        await verifier.verify(token)


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "x" * 10_000])
async def test_what_is_no_token_is_refused(verifier: Verifier, token: str) -> None:
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_unknown_keys_do_not_make_us_ask_the_issuer_without_end(
    issuer: Issuer, verifier: Verifier
) -> None:
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await verifier.verify(issuer.token(kid=f"unknown-{number}"))
    assert issuer.asked == 1


async def test_without_the_issuer_nobody_gets_in_until_its_keys_are_known(
    issuer: Issuer, verifier: Verifier
) -> None:
    issuer.down = True
    with pytest.raises(Unavailable):
        await verifier.verify(issuer.token())
    issuer.down = False
    with pytest.raises(Unavailable):  # it is not asked for every token
        await verifier.verify(issuer.token())
    issuer.time_s += 2
    await verifier.verify(issuer.token())
    issuer.down = True
    issuer.time_s += 7200  # keys that are old are better than none
    await verifier.verify(issuer.token())


async def test_a_new_key_is_found_and_asked_for_at_a_limited_rate(issuer: Issuer, verifier: Verifier) -> None:
    await verifier.verify(issuer.token())
    issuer.key = ec.generate_private_key(ec.SECP256R1())
    issuer.kid = "k2"
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(kid="k2"))
    issuer.time_s += 11
    await verifier.verify(issuer.token(kid="k2"))
    assert issuer.asked == 2


async def test_a_document_of_another_issuer_or_without_end_is_not_believed(
    issuer: Issuer, verifier: Verifier
) -> None:
    issuer.calls_itself = "https://elsewhere.test"
    with pytest.raises(Unavailable):
        await verifier.verify(issuer.token())
    issuer.calls_itself = "x" * 1_000_000
    issuer.time_s += 2
    with pytest.raises(Unavailable):
        await verifier.verify(issuer.token())


async def test_a_key_of_another_kind_than_the_algorithm_is_refused(
    issuer: Issuer, verifier: Verifier
) -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(rsa_key, alg="RS256"))
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(ed25519.Ed25519PrivateKey.generate(), alg="EdDSA"))


async def test_a_token_that_is_not_valid_yet_is_refused(issuer: Issuer, verifier: Verifier) -> None:
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(nbf=time.time() + 60))


def test_an_issuer_in_the_clear_is_only_believed_on_this_machine() -> None:
    Verifier("http://127.0.0.1:8080", "bellweave")
    with pytest.raises(Invalid):
        Verifier("http://issuer.test", "bellweave")
