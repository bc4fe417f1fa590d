"""JSON Web Tokens: which are accepted, and every way in which one is not."""

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from router.access.token_verifier import LEEWAY, TokenVerifier
from router.access.tokens import Claims, EarlyTokenError, ExpiredTokenError, InvalidTokenError, VerifiedTokens
from router.base.clock import ManualClock
from router.settings import Jwt, SettingsError

SECRET = "a secret of more than thirty-two bytes"
NOW = int(ManualClock().now().timestamp())
CLAIMS: dict[str, Any] = {
    "iss": "https://id.example",
    "aud": "miosa",
    "exp": NOW + 600,
    "tenant": "acme",
    "sub": "ada",
    "scope": "tenant",
}

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256 = ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, **more: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **more}  # type: ignore[arg-type]


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    file = tmp_path / "jwks.json"
    keys = [public_jwk(RSA, kid="rsa-1"), public_jwk(OTHER_RSA, kid="rsa-2"), public_jwk(P256, kid="ec-1")]
    file.write_text(json.dumps({"keys": [*keys, {"kty": "oct", "k": "c2VjcmV0", "use": "enc"}]}))
    return file


def settings(**values: Any) -> Jwt:
    return Jwt.model_validate({"secret": SECRET, "issuer": "https://id.example", "audience": "miosa", **values})


def encode(claims: Mapping[str, Any], key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    return jwt.encode(dict(claims), key, algorithm, headers=header)


def by_hand(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(SECRET, "HS256", None), (RSA, "RS256", "rsa-1"), (OTHER_RSA, "RS256", "rsa-2"), (P256, "ES256", None)],
)
def test_accepted(jwks: Path, key: Any, algorithm: str, kid: str | None) -> None:
    """HS256 with the secret, RS256 and ES256 with a key of the file; `kid` where more than one fits."""
    token = encode(CLAIMS, key, algorithm, **({"kid": kid} if kid else {}))
    claims = TokenVerifier(settings(jwks_file=jwks), ManualClock()).verify(token)
    assert (claims.subject, claims.tenant, claims.scope) == ("ada", "acme", "tenant")


def test_scope_defaults_to_the_tenant() -> None:
    """Without `scope` a token reaches its tenant; without `sub` it has no subject."""
    claims = TokenVerifier(settings(), ManualClock()).verify(
        encode({k: CLAIMS[k] for k in ("iss", "aud", "exp", "tenant")})
    )
    assert (claims.subject, claims.scope) == ("", "tenant")


def without(claim: str) -> dict[str, Any]:
    return {name: value for name, value in CLAIMS.items() if name != claim}


@pytest.mark.parametrize(
    "claims",
    [
        without("exp"),
        without("tenant"),
        without("iss"),
        without("aud"),
        {**CLAIMS, "tenant": ""},
        {**CLAIMS, "tenant": 7},
        {**CLAIMS, "iss": "https://other.example"},
        {**CLAIMS, "aud": "other"},
        {**CLAIMS, "aud": ["other", "another"]},
        {**CLAIMS, "exp": NOW - 30},
        {**CLAIMS, "exp": "later"},
        {**CLAIMS, "exp": True},
        {**CLAIMS, "nbf": NOW + 31},
        {**CLAIMS, "iat": NOW + 31},
        {**CLAIMS, "scope": ["tenant"]},
        {**CLAIMS, "sub": 7},
        *(
            {**CLAIMS, claim: value}
            for claim in ("exp", "nbf", "iat")
            for value in (
                math.nan,
                math.inf,
                -math.inf,
                1e300,
                10**400,
                -1,
                str(NOW + 600),
                "NaN",
                True,
                False,
                None,
                [NOW + 600],
                {"a": NOW + 600},
            )
        ),
        *({**CLAIMS, claim: text} for claim in ("tenant", "sub", "scope") for text in ("\ud800", "a\udfffb", "a\x00b")),
    ],
    ids=repr,
)
def test_claims_that_are_refused(claims: dict[str, Any]) -> None:
    """Each claim is required and compared as documented."""
    token = by_hand({"alg": "HS256", "typ": "JWT"}, claims)
    key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = key.sign(token.rpartition(".")[0].encode(), SECRET.encode())
    token = by_hand({"alg": "HS256", "typ": "JWT"}, claims, signature)
    with pytest.raises(InvalidTokenError):
        TokenVerifier(settings(), ManualClock()).verify(token)


@pytest.mark.parametrize(
    "claims",
    [
        {**CLAIMS, "exp": NOW - 29},
        {**CLAIMS, "nbf": NOW + 30},
        {**CLAIMS, "iat": NOW - 9},
        {**CLAIMS, "aud": ["x", "miosa"]},
    ],
    ids=str,
)
def test_claims_that_are_accepted(claims: dict[str, Any]) -> None:
    """Clocks may differ by 30 seconds; one of several audiences is enough."""
    assert TokenVerifier(settings(), ManualClock()).verify(encode(claims)).tenant == "acme"


def test_expiry_is_by_our_clock() -> None:
    """A token stops being accepted when its time has come."""
    clock = ManualClock()
    tokens, token = TokenVerifier(settings(), clock), encode(CLAIMS)
    clock.advance(629)
    assert tokens.verify(token).tenant == "acme"
    clock.advance(1)
    with pytest.raises(InvalidTokenError, match="expired"):
        tokens.verify(token)


PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


# Heads that are read before any signature: too deep, too long a number, half a character, not UTF-8.
HEADS = (b"[" * 8000, b'{"alg": %s}' % (b"1" * 5000), b'{"alg": "HS256", "kid": "\\ud800"}', b'{"alg": "\xff"}')


def confused() -> str:
    """Signed by HMAC with the public key's text as the secret: what a verifier that trusts `alg` accepts."""
    key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    header = {"alg": "HS256", "kid": "rsa-1"}
    unsigned = by_hand(header, CLAIMS).rpartition(".")[0]
    return by_hand(header, CLAIMS, key.sign(unsigned.encode(), PEM))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "..",
        "a.b.c",
        by_hand({"alg": "none"}, CLAIMS),
        by_hand({"alg": "None"}, CLAIMS),
        by_hand({"alg": "HS256"}, CLAIMS),
        by_hand({}, CLAIMS, b"x" * 32),
        by_hand({"alg": ["HS256"]}, CLAIMS, b"x" * 32),
        confused(),
        encode(CLAIMS, "another secret of more than thirty-two bytes"),
        encode(CLAIMS, SECRET * 2, "HS512"),
        encode(CLAIMS, RSA, "RS512", kid="rsa-1"),
        encode(CLAIMS, RSA, "PS256", kid="rsa-1"),
        encode(CLAIMS, RSA, "RS256", kid="rsa-2"),
        encode(CLAIMS, RSA, "RS256", kid="unknown"),
        encode(CLAIMS, RSA, "RS256"),
        encode(CLAIMS, RSA, "RS256", kid="ec-1"),
        encode({**CLAIMS, "pad": "x" * 20_000}),
        encode(CLAIMS) + "x",
        encode(CLAIMS).replace(".", "", 1),
        *(f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.e30.x" for header in HEADS),
    ],
    ids=range(24),
)
def test_tokens_that_are_refused(jwks: Path, token: str) -> None:
    """No other algorithm, key or shape is accepted, whatever the header says."""
    with pytest.raises(InvalidTokenError):
        TokenVerifier(settings(jwks_file=jwks), ManualClock()).verify(token)


def test_nothing_is_accepted_unless_configured(jwks: Path) -> None:
    """Without a secret HS256 is refused, without a file the others; without both everything is."""
    no_secret, no_file = Jwt(jwks_file=jwks), Jwt(secret=SECRET)
    with pytest.raises(InvalidTokenError):
        TokenVerifier(no_secret, ManualClock()).verify(encode(CLAIMS))
    for setting in (no_file, Jwt()):
        with pytest.raises(InvalidTokenError):
            TokenVerifier(setting, ManualClock()).verify(encode(CLAIMS, RSA, "RS256", kid="rsa-1"))


PRIVATE = jwt.algorithms.RSAAlgorithm.to_jwk(RSA, as_dict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a JWKS"),
        ("[]", "is not a JWKS"),
        ('{"keys": 1}', "is not a JWKS"),
        ('{"keys": [1]}', "is not a JWKS"),
        ('{"keys": [{}]}', "is not a JWKS"),
        ('{"keys": []}', "has no key"),
        (json.dumps({"keys": [public_jwk(RSA, use="enc")]}), "has no key"),
        (json.dumps({"keys": [PRIVATE]}), "private key"),
        (None, "cannot be read"),
    ],
)
def test_key_files_that_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    """A file that cannot be used stops the start, naming the setting."""
    file = tmp_path / "jwks.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        TokenVerifier(Jwt(jwks_file=file), ManualClock())
    assert caught.value.problems[0][0] == "jwt.jwks_file"


class Counting(TokenVerifier):
    """A verifier that counts how often a signature was verified."""

    verified = 0

    def verify(self, token: str) -> Claims:
        self.verified += 1
        return super().verify(token)


def test_a_visitors_token_is_verified_once_and_until_it_expires() -> None:
    """The second time it is known; when it has expired it is refused, known or not."""
    clock = ManualClock()
    tokens = Counting(settings(), clock)
    visitors, token = VerifiedTokens(tokens.verify, clock), encode(CLAIMS)
    assert visitors.verify(token) is visitors.verify(token)
    assert tokens.verified == 1
    clock.advance(600 + LEEWAY)
    for _ in range(2):
        with pytest.raises(ExpiredTokenError):
            visitors.verify(token)
    assert len(visitors) == 0


@pytest.mark.parametrize(
    "token", [encode(CLAIMS, "another secret of more than thirty-two bytes"), "a.b.c", "x" * 4097, "\udcff.b.c"]
)
def test_what_is_no_valid_token_of_ours_is_not_remembered(token: str) -> None:
    """Made-up tokens push no real one out."""
    visitors = VerifiedTokens(TokenVerifier(settings(), clock := ManualClock()).verify, clock)
    with pytest.raises(InvalidTokenError) as refused:
        visitors.verify(token)
    assert not isinstance(refused.value, ExpiredTokenError)
    assert len(visitors) == 0


def test_a_programs_own_token_is_looked_at_once() -> None:
    """It comes with every request of its pages, and is none of ours each time. Of those no more are remembered than of ours."""
    tokens = Counting(settings(), clock := ManualClock())
    visitors = VerifiedTokens(tokens.verify, clock, most=2)
    own = [encode({**CLAIMS, "sub": name}, "another secret of more than thirty-two bytes") for name in "abc"]
    for token, verified in ((own[0], 1), (own[0], 1), (own[1], 2), (own[0], 2), (own[2], 3), (own[2], 3)):
        with pytest.raises(InvalidTokenError):
            visitors.verify(token)
        assert tokens.verified == verified
    assert len(visitors._refused) <= 2


def test_a_token_that_is_not_valid_yet_will_be() -> None:
    """It is ours, and told apart from what is not: it is never refused by what was remembered of it."""
    clock = ManualClock()
    visitors = VerifiedTokens(TokenVerifier(settings(), clock).verify, clock)
    token = encode({**CLAIMS, "nbf": int(clock.now().timestamp()) + 300})
    with pytest.raises(EarlyTokenError):
        visitors.verify(token)
    clock.advance(300)
    assert visitors.verify(token).subject == CLAIMS["sub"]


def test_what_was_used_last_is_remembered() -> None:
    """Of more tokens than are remembered, the one that was not used for longest is forgotten."""
    clock = ManualClock()
    tokens = Counting(settings(), clock)
    visitors = VerifiedTokens(tokens.verify, clock, most=2)
    first, second, third = (encode({**CLAIMS, "sub": name}) for name in ("ada", "bob", "cy"))
    for token in (first, second, first, third, first):
        visitors.verify(token)
    assert tokens.verified == 3
    assert len(visitors) == 2
