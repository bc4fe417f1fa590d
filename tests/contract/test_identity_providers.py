"""Identity providers as they are met: honest, slow, down, lying, and with keys that change."""

import asyncio
import base64
import ipaddress
import json
import math
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from router.base.clock import ManualClock
from router.domains.lookup import RecordType
from router.outbound import identity_providers, provider_http
from router.outbound.identity_providers import ExpiredIdentityTokenError, Providers, WrongTokenError
from router.outbound.provider_http import ProviderHttp, ProviderUnavailableError
from router.tenancy.destinations import Destinations
from tests.support.certificates import write_certificate
from tests.support.identity_provider import EC_KEY, ED_KEY, OTHER_RSA_KEY, RSA_KEY, IdentityProvider, public_jwk
from tests.support.memory_dns import MemoryLookup

pytestmark = pytest.mark.asyncio

HERE = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
WEAK_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it must be refused
CLOCK_START = int(ManualClock().now().timestamp())
GOOD: dict[str, Any] = {"sub": "repo:acme/shop", "aud": "https://previews", "exp": CLOCK_START + 600}
AUDIENCES = ["https://previews"]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider("idp.test") as one:
        yield one


@pytest_asyncio.fixture
async def providers(clock: ManualClock) -> AsyncIterator[Providers]:
    made = Providers(http(clock), clock)
    yield made
    await made.close()


def http(clock: ManualClock, **destinations: Any) -> ProviderHttp:
    lookup = MemoryLookup()
    lookup.put("idp.test", RecordType.A, "127.0.0.1")
    lookup.put("half.test", RecordType.A, "127.0.0.1", "10.0.0.1")
    return ProviderHttp(lookup, Destinations(**{"private": HERE, **destinations}), clock)


async def refused(providers: Providers, issuer: str, token: str) -> str:
    with pytest.raises(WrongTokenError) as caught:
        await providers.verify(issuer, token, AUDIENCES)
    return str(caught.value)


async def unavailable(providers: Providers, issuer: str, token: str) -> str:
    with pytest.raises(ProviderUnavailableError) as caught:
        await providers.verify(issuer, token, AUDIENCES)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (RSA_KEY, "RS256", "rsa"),
        (OTHER_RSA_KEY, "RS256", "any"),
        (OTHER_RSA_KEY, "PS256", "any"),
        (EC_KEY, "ES256", "ec"),
        (EC_KEY, "ES256", None),
        (ED_KEY, "EdDSA", "ed"),
    ],
)
async def test_what_is_signed_by_a_published_key_is_accepted(
    provider: IdentityProvider, providers: Providers, key: Any, algorithm: str, kid: str | None
) -> None:
    """RS256, PS256, ES256 and EdDSA, by the key of that name; without a name where one key alone fits."""
    provider.jwks += [public_jwk(OTHER_RSA_KEY, kid="any"), public_jwk(ED_KEY, kid="ed")]
    claims = await providers.verify(provider.issuer, provider.token(GOOD, key, algorithm, kid=kid), AUDIENCES)
    assert claims["sub"] == "repo:acme/shop"
    listed = provider.token({**GOOD, "aud": ["other", "https://previews"]}, key, algorithm, kid=kid)
    assert (await providers.verify(provider.issuer, listed, AUDIENCES))["aud"] == ["other", "https://previews"]


def by_hand(header: Mapping[str, Any], claims: Any, signature: bytes = b"") -> str:
    parts = [
        json.dumps(header).encode(),
        claims if isinstance(claims, bytes) else json.dumps(claims).encode(),
        signature,
    ]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def with_public_key_as_secret(issuer: str) -> str:
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = by_hand({"alg": "HS256", "kid": "rsa", "typ": "JWT"}, {"iss": issuer, **GOOD}).rpartition(".")[0]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(text.encode(), pem)
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


DEEP = b'{"iss": ' + b"[" * 3000 + b"]" * 3000 + b"}"


@pytest.mark.parametrize(
    ("name", "claims", "header"),
    [
        ("another audience", {"aud": "https://other"}, {}),
        ("no audience", {"aud": None}, {}),
        ("an empty list of audiences", {"aud": []}, {}),
        ("an audience that is no text", {"aud": [["https://previews"]]}, {}),
        ("another issuer", {"iss": "https://evil.example"}, {}),
        ("its issuer with a slash", {"iss": "slash"}, {}),
        ("no end", {"exp": None}, {}),
        ("NaN for an end", {"exp": math.nan}, {}),
        ("no end ever", {"exp": math.inf}, {}),
        ("a text for an end", {"exp": "tomorrow"}, {}),
        ("true for an end", {"exp": True}, {}),
        ("a beginning that lies ahead", {"nbf": CLOCK_START + 600}, {}),
        ("made in the future", {"iat": CLOCK_START + 600}, {}),
        ("a beginning that is no time", {"nbf": "now"}, {}),
        ("a key that was not published", {}, {"key": OTHER_RSA_KEY}),
        ("the name of another key", {}, {"kid": "ec"}),
        ("an unknown key", {}, {"kid": "../../dev/null"}),
        ("a key's name in another case", {}, {"kid": "RSA"}),
        ("an algorithm that the key is not for", {}, {"algorithm": "PS256"}),
        ("an algorithm that is not accepted", {}, {"algorithm": "RS512"}),
        ("a key of its own in the header", {}, {"key": OTHER_RSA_KEY, "jwk": public_jwk(OTHER_RSA_KEY)}),
        ("a place for its keys", {}, {"key": OTHER_RSA_KEY, "jku": "https://evil.example/keys"}),
        ("a place for its certificate", {}, {"key": OTHER_RSA_KEY, "x5u": "https://evil.example/cert"}),
        ("something that must be understood", {}, {"crit": ["exp"]}),
    ],
)
async def test_a_token_with_one_thing_wrong(
    provider: IdentityProvider, providers: Providers, name: str, claims: Mapping[str, Any], header: Mapping[str, Any]
) -> None:
    """Whatever one thing is wrong: the token is refused, and nothing is asked but the provider's own two documents."""
    all_claims = {key: value for key, value in {**GOOD, **claims}.items() if value is not None}
    if all_claims.get("iss") == "slash":
        all_claims["iss"] = f"{provider.issuer}/"
    token = provider.token(all_claims, **header)
    assert await refused(providers, provider.issuer, token), name
    assert set(provider.asked) <= {"/.well-known/openid-configuration", "/keys"}


@pytest.mark.parametrize(
    "token",
    [
        by_hand({"alg": "none"}, GOOD),
        by_hand({"alg": "None", "kid": "rsa"}, GOOD, b"x"),
        by_hand({"alg": ["RS256"], "kid": "rsa"}, GOOD, b"x"),
        by_hand({"alg": "RS256", "kid": 1}, GOOD, b"x"),
        by_hand({"alg": "RS256", "kid": "rsa"}, GOOD, b"x" * 256),
        by_hand({"alg": "RS256", "kid": "rsa"}, b"[1]", b"x"),
        by_hand({"alg": "RS256", "kid": "rsa"}, DEEP, b"x"),
        by_hand({"alg": "RS256", "kid": "rsa", "deep": json.loads("[" * 400 + "]" * 400)}, GOOD, b"x"),
        "a.b.c",
        "..",
        "",
        "x" * 20_000,
    ],
    ids=range(12),
)
async def test_what_is_no_token(provider: IdentityProvider, providers: Providers, token: str) -> None:
    """It is refused as a wrong one, and raises nothing else."""
    await refused(providers, provider.issuer, token)


async def test_a_public_key_is_no_shared_secret(provider: IdentityProvider, providers: Providers) -> None:
    """HS256 over the published key is refused: anybody can make it."""
    await refused(providers, provider.issuer, with_public_key_as_secret(provider.issuer))


@pytest.mark.parametrize(
    "published",
    [
        public_jwk(WEAK_KEY, kid="rsa"),
        public_jwk(RSA_KEY, kid="rsa", use="enc"),
        public_jwk(RSA_KEY, kid="rsa", alg="RSA-OAEP"),
        public_jwk(RSA_KEY, kid="rsa", key_ops=["encrypt"]),
        public_jwk(RSA_KEY, kid="rsa", d="AQAB"),
        public_jwk(RSA_KEY, kid="rsa", n=7),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"},
        {"kty": ["RSA"], "kid": "rsa"},
        {"kid": "rsa"},
        "rsa",
        None,
    ],
    ids=range(11),
)
@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits")
async def test_keys_that_verify_nothing(provider: IdentityProvider, providers: Providers, published: Any) -> None:
    """Weak keys, those for something else, private ones and nonsense are passed over; the keys beside them still count."""
    provider.jwks = [published, public_jwk(EC_KEY, kid="ec")]
    key = WEAK_KEY if isinstance(published, dict) and published.get("n") == public_jwk(WEAK_KEY)["n"] else RSA_KEY
    await refused(
        providers, provider.issuer, jwt.encode({"iss": provider.issuer, **GOOD}, key, "RS256", {"kid": "rsa"})
    )
    assert await providers.verify(provider.issuer, provider.token(GOOD, EC_KEY, "ES256", kid="ec"), AUDIENCES)


async def test_an_expired_token_says_what_it_was(
    provider: IdentityProvider, providers: Providers, clock: ManualClock
) -> None:
    """Until its end and the leeway it is good; then it is an expired one, not a wrong one."""
    token = provider.token(GOOD)
    clock.advance(600 + identity_providers.LEEWAY - 1)
    assert await providers.verify(provider.issuer, token, AUDIENCES)
    clock.advance(1)
    with pytest.raises(ExpiredIdentityTokenError) as caught:
        await providers.verify(provider.issuer, token, AUDIENCES)
    assert caught.value.claims["sub"] == "repo:acme/shop"


async def test_a_crowd_asks_a_provider_once(provider: IdentityProvider, providers: Providers) -> None:
    """Who needs what is being fetched waits for it; afterwards it is remembered."""
    token = provider.token(GOOD)
    await asyncio.gather(*(providers.verify(provider.issuer, token, AUDIENCES) for _ in range(20)))
    await providers.verify(provider.issuer, token, AUDIENCES)
    assert sorted(provider.asked) == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("said", "lasts"),
    [(b"", 300), (b"max-age=1", 300), (b"public, max-age=900", 900), (b"max-age=999999999", 3600), (b"no-store", 300)],
)
async def test_how_long_keys_are_used(
    provider: IdentityProvider, providers: Providers, clock: ManualClock, said: bytes, lasts: int
) -> None:
    """As long as the provider says, but five minutes at least and an hour at most."""
    provider.cache_control = said
    token = provider.token({**GOOD, "exp": CLOCK_START + 9000})
    await providers.verify(provider.issuer, token, AUDIENCES)
    clock.advance(lasts - 1)
    await providers.verify(provider.issuer, token, AUDIENCES)
    assert len(provider.asked) == 2
    clock.advance(1)
    await providers.verify(provider.issuer, token, AUDIENCES)
    assert len(provider.asked) == 4


async def test_a_new_key_is_found_once_a_minute(
    provider: IdentityProvider, providers: Providers, clock: ManualClock
) -> None:
    """A token by a key that we don't know has the keys fetched again; made-up names do so once a minute."""
    await providers.verify(provider.issuer, provider.token(GOOD), AUDIENCES)
    provider.jwks = [public_jwk(OTHER_RSA_KEY, kid="new")]
    new = provider.token(GOOD, OTHER_RSA_KEY, kid="new")
    await refused(providers, provider.issuer, new)
    assert len(provider.asked) == 2
    clock.advance(60)
    for number in range(5):
        await refused(providers, provider.issuer, provider.token(GOOD, kid=f"made-up-{number}"))
    assert len(provider.asked) == 4
    assert await providers.verify(provider.issuer, new, AUDIENCES)
    await refused(providers, provider.issuer, provider.token(GOOD))  # the old key is published no more


async def test_a_provider_that_is_down(provider: IdentityProvider, providers: Providers, clock: ManualClock) -> None:
    """What nobody can verify is not known to be wrong. A failure is remembered for some seconds; with keys from before it is
    verified for an hour longer, and then no more."""
    token = provider.token({**GOOD, "exp": CLOCK_START + 90_000})
    provider.status = b"503 Service Unavailable"
    assert "503" in await unavailable(providers, provider.issuer, token)
    await unavailable(providers, provider.issuer, token)
    assert len(provider.asked) == 1
    provider.status = b"200 OK"
    clock.advance(identity_providers.RETRY_AFTER)
    assert await providers.verify(provider.issuer, token, AUDIENCES)
    provider.status = b"503 Service Unavailable"
    clock.advance(300 + 3599)
    assert await providers.verify(provider.issuer, token, AUDIENCES)
    await unavailable(providers, provider.issuer, provider.token(GOOD, kid="new"))  # it may be one of the provider's
    clock.advance(1)
    await unavailable(providers, provider.issuer, token)


async def test_a_provider_that_lies_is_believed_no_more(
    provider: IdentityProvider, providers: Providers, clock: ManualClock
) -> None:
    """One that was honest and speaks for another issuer now loses its old keys too."""
    token = provider.token(GOOD)
    assert await providers.verify(provider.issuer, token, AUDIENCES)
    provider.document = {"issuer": "https://token.actions.githubusercontent.com"}
    clock.advance(300)
    assert "another issuer" in await unavailable(providers, provider.issuer, token)


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"issuer": ["x"]},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://169.254.169.254/latest"},
        {"jwks_uri": "http://half.test/keys"},
        {"jwks_uri": "http://nowhere.test/keys"},
        {"jwks_uri": "https://user:pw@idp.test/keys"},
    ],
    ids=str,
)
async def test_discovery_documents_that_are_not_believed(
    provider: IdentityProvider, providers: Providers, document: Mapping[str, Any]
) -> None:
    """One of another issuer, and one that leads where we must not go."""
    provider.document = dict(document)
    await unavailable(providers, provider.issuer, provider.token(GOOD))


async def test_answers_that_are_too_large(provider: IdentityProvider, providers: Providers) -> None:
    """Of more than 256 KiB nothing is used."""
    provider.padding = 256 * 1024
    assert "256 KiB" in await unavailable(providers, provider.issuer, provider.token(GOOD))


async def test_too_many_keys(provider: IdentityProvider, providers: Providers) -> None:
    """A key set of more than fifty is not used at all."""
    provider.jwks = [public_jwk(EC_KEY, kid=f"{number}") for number in range(51)]
    await unavailable(providers, provider.issuer, provider.token(GOOD, EC_KEY, "ES256", kid="1"))


async def test_a_slow_provider(
    provider: IdentityProvider, providers: Providers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up at the deadline, and does not keep another one waiting."""
    monkeypatch.setattr(provider_http, "REQUEST_TIMEOUT", 0.2)
    provider.delay = 30.0
    async with IdentityProvider("idp.test") as other:
        slow = asyncio.ensure_future(unavailable(providers, provider.issuer, provider.token(GOOD)))
        assert await providers.verify(other.issuer, other.token(GOOD), AUDIENCES)
        assert "no answer" in await slow


async def test_redirects_are_not_followed(provider: IdentityProvider, providers: Providers) -> None:
    """A provider that sends us elsewhere is one that has no discovery document."""
    provider.status = b"302 Found\r\nLocation: http://idp.test/elsewhere"
    assert "302" in await unavailable(providers, provider.issuer, provider.token(GOOD))
    assert provider.asked == ["/.well-known/openid-configuration"]


async def test_only_https_and_public_addresses_without_private_networks(clock: ManualClock) -> None:
    """In production a provider is at a public address, by https."""
    strict = Providers(http(clock, private=()), clock)
    try:
        for issuer in ("http://idp.test:80", "https://127.0.0.1:443", "https://idp.test:443", "https://[::1]:443"):
            await unavailable(strict, issuer, by_hand({"alg": "RS256", "kid": "rsa"}, {"iss": issuer, **GOOD}, b"x"))
    finally:
        await strict.close()


async def test_a_certificate_that_nobody_vouches_for(providers: Providers, tmp_path: Path) -> None:
    """A provider by https has to have a valid certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*write_certificate(tmp_path, "idp.test"))
    async with IdentityProvider("idp.test", tls=tls) as provider:
        assert "certificate" in await unavailable(providers, provider.issuer, provider.token(GOOD))


async def test_what_a_provider_says_of_itself(provider: IdentityProvider, providers: Providers) -> None:
    """Its endpoints, without those that must not be visited."""
    provider.document = {
        "authorization_endpoint": f"{provider.issuer}/authorize",
        "token_endpoint": "javascript:alert(1)",
        "userinfo_endpoint": 7,
        "token_endpoint_auth_methods_supported": ["client_secret_post", 7],
    }
    metadata = await providers.metadata(provider.issuer)
    assert metadata.endpoints == {"authorization_endpoint": f"{provider.issuer}/authorize"}
    assert metadata.token_auth_methods == ("client_secret_post",)
