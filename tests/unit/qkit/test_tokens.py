"""Which tokens a service takes: only the issuer's own, for it, in time, with roles."""

from __future__ import annotations

import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from qkit.auth import Verifier
from qmodel.errors import Unauthenticated, Unavailable

ISSUER = "https://issuer.test"


class Issuer:
    """Publishes one key; `down` makes it unreachable, `asked` counts how often keys were fetched."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.down = False
        self.asked = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
        self.asked += 1
        key = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return httpx.Response(200, json={"keys": [{**key, "kid": "k1", "alg": "ES256"}]})

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
    return jwt.encode(said, None, algorithm="none", headers={"kid": "k1"})


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def verifier(issuer: Issuer) -> Verifier:
    return Verifier(ISSUER, "bellweave", httpx.AsyncClient(transport=httpx.MockTransport(issuer.answer)))


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
    await verifier.verify(issuer.token())
    issuer.down = True
    await verifier.verify(issuer.token())
