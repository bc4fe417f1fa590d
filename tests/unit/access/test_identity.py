"""What a program is told of its visitor, and who can say so."""

from typing import Any

import jwt
import pytest

from router.access.entry import Entry, Way
from router.access.identity import LIFE, claims_of
from router.access.identity_signer import IdentitySigner
from router.access.rules import AccessRules
from router.base.es256 import PrivateKey, new_private_number
from router.routes.chain import Decision, Level
from router.routes.records import SigningKey, SigningKeysRecord
from router.routes.route import Route
from tests.support.access import identity_keys, policies
from tests.support.records import resource

NOW = 1_000_000.75
ISSUER = "https://edge.example"


def rules(host: str = "shop.miosa.app", port: int = 3000) -> AccessRules:
    shop = resource(policies=policies(identity=True))
    route = Route(
        host, Decision(Level.PLATFORM, "served", None, shop, port, "miosa.app"), keys=(), source="", expires=1
    )
    assert route.policy is not None
    return AccessRules(route, route.policy, shop, ())


@pytest.mark.parametrize("how", Way)
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {}),
        ({"subject": "7"}, {"sub": "7"}),
        ({"subject": "a:b", "email": "ada@acme.example"}, {"sub": "a:b", "email": "ada@acme.example"}),
        ({"email": "ada@acme.example"}, {"email": "ada@acme.example"}),
    ],
)
def test_the_claims(how: Way, said: dict[str, str], expected: dict[str, str]) -> None:
    """Every one of them, by each way in: what is not known is not there, and no way's subject can be another's."""
    claims = claims_of(ISSUER, rules("3001-shop.sandbox.miosa.app", 3001), Entry(how=how, **said), NOW)
    if "sub" in expected:
        expected = expected | {"sub": f"{how}:{expected['sub']}"}
    assert claims == expected | {
        "iss": "https://edge.example/tenants/acme",
        "aud": "3001-shop.sandbox.miosa.app",
        "how": how.value,
        "tenant": "acme",
        "resource": "id-of-shop",
        "port": 3001,
        "iat": 1_000_000,
        "nbf": 1_000_000,
        "exp": 1_000_300,
    }


def decoded(token: bytes, key: SigningKey) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        token,
        jwt.PyJWK(PrivateKey(key.secret).public_jwk(key.id)).key,
        ["ES256"],
        options={"verify_exp": False, "verify_aud": False},
    )
    return claims


def test_anybody_can_verify_it() -> None:
    """With the public key of its `kid`, and with no other."""
    keys = identity_keys("second", "first")
    claims = {"sub": "jwt:Ada \u00fc \ud800", "exp": NOW + LIFE}
    token = IdentitySigner(keys, ISSUER).sign(claims, NOW)
    assert token is not None
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "second", "typ": "JWT"}
    assert decoded(token, keys.keys[0]) == claims | {"sub": "jwt:Ada \u00fc ?"}, "a header has no lone surrogates"
    with pytest.raises(jwt.InvalidSignatureError):
        decoded(token, keys.keys[1])


def test_nothing_private_is_published() -> None:
    """A key of the set has its public numbers alone."""
    key = SigningKey("k", new_private_number(), 0, 1)
    assert PrivateKey(key.secret).public_jwk("k").keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}
    assert len(bytes.fromhex(key.secret)) == 32
    assert key.secret != new_private_number()


@pytest.mark.parametrize(
    ("now", "signs"),
    [(0.0, "old"), (999.0, "old"), (1000.0, "new"), (1999.0, "new"), (2000.0, "new"), (3000.0, None)],
)
def test_which_key_signs(now: float, signs: str | None) -> None:
    """The newest that has come into its time; none that is too old, and then nothing does."""
    keys = SigningKeysRecord(
        "identity",
        (SigningKey("new", "01" * 32, 1000.0, 3000.0), SigningKey("old", "02" * 32, 0.0, 2000.0)),
        1,
    )
    token = IdentitySigner(keys, ISSUER).sign({}, now)
    assert (None if token is None else jwt.get_unverified_header(token)["kid"]) == signs
