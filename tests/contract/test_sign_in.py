"""Signing in at a provider, over real HTTP: what it is asked, whom it says has come, and every way in which it may lie."""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from router.base.clock import SystemClock
from router.outbound import provider_http
from router.outbound.identity_providers import Providers
from router.outbound.provider_http import ProviderHttp, ProviderUnavailableError
from router.outbound.sign_in import Client, Identity, SignIn, SignInFailedError, new_proofs
from router.tenancy.destinations import Destinations
from tests.support.identity_provider import EC_KEY, ED_KEY, OTHER_RSA_KEY, RSA_KEY, public_jwk
from tests.support.login_provider import CLIENT_ID, CLIENT_SECRET, LoginProvider
from tests.support.memory_dns import MemoryLookup

pytestmark = pytest.mark.asyncio

HERE = (ipaddress.ip_network("127.0.0.0/8"),)
CALLBACK = "https://login.miosa.test/callback"
Change = Callable[[LoginProvider], object]


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[LoginProvider]:
    async with LoginProvider() as provider:
        yield provider


@pytest_asyncio.fixture
async def sign_in() -> AsyncIterator[SignIn]:
    clock = SystemClock()
    http = ProviderHttp(MemoryLookup(), Destinations(private=HERE), clock)
    providers = Providers(http, clock)
    yield SignIn(http, providers)
    await providers.close()


def client_of(provider: LoginProvider, **changes: Any) -> Client:
    client = Client(issuer=provider.issuer, client_id=CLIENT_ID, secret=CLIENT_SECRET, redirect_uri=CALLBACK)
    return replace(client, **changes)


async def go(sign_in: SignIn, provider: LoginProvider, **changes: Any) -> Identity:
    """There and back."""
    client, proofs = client_of(provider, **changes), new_proofs()
    back = provider.code(await sign_in.begin(client, proofs))
    assert back["state"] == proofs.state
    return await sign_in.finish(client, proofs, back["code"])


async def test_what_a_provider_is_asked(sign_in: SignIn, provider: LoginProvider) -> None:
    """A code with PKCE, state and nonce; then tokens for it, with the client's name and secret, each encoded as RFC 6749 §2.3.1
    has it. The verifier is not in what the browser carries."""
    client, proofs = client_of(provider), new_proofs()
    url = await sign_in.begin(client, proofs)
    query = parse_qs(urlsplit(url).query)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(proofs.verifier.encode()).digest()).rstrip(b"=").decode()
    assert query == {
        "response_type": ["code"],
        "client_id": [CLIENT_ID],
        "redirect_uri": [CALLBACK],
        "scope": ["openid email profile"],
        "state": [proofs.state],
        "nonce": [proofs.nonce],
        "code_challenge": [challenge],
        "code_challenge_method": ["S256"],
    }
    assert proofs.verifier not in url
    code = provider.code(url)["code"]
    assert await sign_in.finish(client, proofs, code) == Identity(subject="ada", email="ada@example.com")
    form, authorization = provider.requests[0]
    assert form == {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": proofs.verifier,
    }
    pair = b"miosa+previews:s%E2%82%ACcret%3A+of+%2Bthe+client%25"
    assert authorization == b"Basic " + base64.b64encode(pair)
    for shown in (repr(client), repr(proofs)):
        assert CLIENT_SECRET not in shown
        assert proofs.verifier not in shown
        assert proofs.state not in shown


async def test_how_a_client_says_who_it_is(sign_in: SignIn, provider: LoginProvider) -> None:
    """In the form where the provider takes it only there; and without a secret by its name alone."""
    provider.more = {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]}
    await go(sign_in, provider)
    form, authorization = provider.requests.pop()
    assert (form["client_id"], form["client_secret"], authorization) == (CLIENT_ID, CLIENT_SECRET, b"")
    await go(sign_in, provider, secret="")
    form, authorization = provider.requests.pop()
    assert (form["client_id"], "client_secret" in form, authorization) == (CLIENT_ID, False, b"")


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA_KEY, "RS256", "rsa"), (RSA_KEY, "PS256", "any"), (EC_KEY, "ES256", "ec"), (ED_KEY, "EdDSA", "ed")],
)
async def test_the_algorithms_that_count(
    sign_in: SignIn, provider: LoginProvider, key: Any, algorithm: str, kid: str
) -> None:
    """Those with a public key."""
    provider.jwks += [public_jwk(ED_KEY, kid="ed"), public_jwk(RSA_KEY, kid="any")]
    provider.key, provider.algorithm, provider.kid = key, algorithm, kid
    half = (hashlib.sha512 if algorithm == "EdDSA" else hashlib.sha256)(b"access").digest()
    at_hash = base64.urlsafe_b64encode(half[: len(half) // 2]).rstrip(b"=").decode()
    provider.claims["at_hash"] = at_hash
    assert (await go(sign_in, provider)).subject == "ada"


CLAIMS = [
    # claims beside the usual ones                                  e-mail             groups
    ({}, None, ()),
    ({"email": "ada@example.com"}, None, ()),
    ({"email": "ada@example.com", "email_verified": False}, None, ()),
    ({"email": "ada@example.com", "email_verified": "false"}, None, ()),
    ({"email": "ada@example.com", "email_verified": 1}, None, ()),
    ({"email": "ada@example.com", "email_verified": "true"}, "ada@example.com", ()),
    ({"email": "ada", "email_verified": True}, None, ()),
    ({"email": "@example.com", "email_verified": True}, None, ()),
    ({"email": "ada@", "email_verified": True}, None, ()),
    ({"email": "ada@example.com\n", "email_verified": True}, None, ()),
    ({"email": ["ada@example.com"], "email_verified": True}, None, ()),
    ({"email": f"{'a' * 320}@example.com", "email_verified": True}, None, ()),
    ({"groups": "devs"}, None, ("devs",)),
    ({"groups": ["devs", "ops", "devs", 3, None, "", "x" * 256]}, None, ("devs", "ops")),
    ({"groups": {"devs": True}}, None, ()),
    ({"groups": [f"g{number}" for number in range(1_000)]}, None, tuple(f"g{number}" for number in range(200))),
]


@pytest.mark.parametrize(("claims", "email", "groups"), CLAIMS)
async def test_who_has_come(
    sign_in: SignIn, provider: LoginProvider, claims: dict[str, Any], email: str | None, groups: tuple[str, ...]
) -> None:
    """An address counts only with `email_verified`; what can't be used is passed over."""
    provider.claims = claims
    assert await go(sign_in, provider) == Identity(subject="ada", email=email, groups=groups)


async def test_what_the_id_token_lacks_is_asked_for(sign_in: SignIn, provider: LoginProvider) -> None:
    """At the userinfo endpoint; an unverified address in the token is not verified by another one there."""
    provider.claims = {"email": "ceo@example.com", "email_verified": False}
    provider.userinfo = {"sub": "ada", "email": "ada@example.org", "email_verified": True, "team": ["devs"]}
    found = await go(sign_in, provider, groups_claim="team")
    assert found == Identity(subject="ada", email="ada@example.org", groups=("devs",))


async def test_whose_response_it_is(sign_in: SignIn, provider: LoginProvider) -> None:
    """A provider that says who it is in each response (RFC 9207) has to, and one that names another is not believed."""
    for states, issuer, believed in (
        (False, None, True),
        (False, provider.issuer, True),
        (True, provider.issuer, True),
        (True, None, False),
        (True, "https://evil.test", False),
        (False, "https://evil.test", False),
        (False, "", False),
    ):
        provider.more = {"authorization_response_iss_parameter_supported": states}
        clock = SystemClock()
        http = ProviderHttp(MemoryLookup(), Destinations(private=HERE), clock)
        providers = Providers(http, clock)  # what a provider says about itself is remembered
        client, proofs, fresh = client_of(provider), new_proofs(), SignIn(http, providers)
        code = provider.code(await fresh.begin(client, proofs))["code"]
        try:
            if believed:
                assert (await fresh.finish(client, proofs, code, issuer=issuer)).subject == "ada"
            else:
                with pytest.raises(SignInFailedError, match="not the provider's"):
                    await fresh.finish(client, proofs, code, issuer=issuer)
        finally:
            await providers.close()


async def test_clocks_that_lie_apart(sign_in: SignIn, provider: LoginProvider) -> None:
    """Some seconds are nothing; ten minutes are said to be what is wrong."""
    now = int(time.time())
    provider.claims |= {"iat": now + 20, "exp": now + 320}
    await go(sign_in, provider)
    for apart in (600, -600):
        provider.claims |= {"iat": now + apart, "exp": now + apart + 300}
        with pytest.raises(SignInFailedError, match=r"iat lies ahead|expired"):
            await go(sign_in, provider)


def _token(**claims: Any) -> Change:
    return lambda provider: provider.claims.update(claims)


def _signed(**how: Any) -> Change:
    return lambda provider: provider.__dict__.update(how)


def _forged(header: dict[str, Any], signature: bytes = b"") -> Change:
    """A token that no key has signed."""

    def change(provider: LoginProvider) -> None:
        parts = [header, {"iss": provider.issuer, "aud": CLIENT_ID, "sub": "ada", "iat": 0, "exp": 4e9}]
        coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
        provider.id_token = b".".join([*coded, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()

    return change


def _by_public_key(provider: LoginProvider) -> None:
    """HS256 with the public key for the secret."""
    public = jwt.algorithms.RSAAlgorithm.from_jwk(public_jwk(RSA_KEY))
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[union-attr]
    head, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (
            {"alg": "HS256", "kid": "rsa"},
            {"iss": provider.issuer, "aud": CLIENT_ID, "sub": "ada", "exp": 4e9},
        )
    )
    mac = hmac.digest(secret, head + b"." + payload, "sha256")
    provider.id_token = b".".join((head, payload, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()


LIES: list[tuple[str, Change]] = [
    ("another issuer in the token", _token(iss="https://evil.test")),
    ("another audience", _token(aud="another client")),
    ("no audience", _token(aud=None)),
    ("several audiences, and no azp", _token(aud=[CLIENT_ID, "another client"])),
    ("another client's azp", _token(azp="another client")),
    ("expired", _token(exp=1)),
    ("no exp", _token(exp=None)),
    ("exp is no time", _token(exp="soon")),
    ("exp is not a number", _token(exp=float("nan"))),
    ("of the future", _token(iat=4e9, exp=5e9)),
    ("no iat", _token(iat=None)),
    ("no nonce", _token(nonce=None)),
    ("another nonce", _token(nonce="x" * 43)),
    ("a nonce that is no text", _token(nonce=["x"])),
    ("a nonce beyond ASCII", _token(nonce="nönce")),
    ("no subject", _token(sub=None)),
    ("a long subject", _token(sub="x" * 256)),
    ("an empty subject", _token(sub="")),
    ("at_hash of another token", _token(at_hash="x")),
    ("signed by another key", _signed(key=OTHER_RSA_KEY)),
    ("signed by a key of no name that it has", _signed(kid="unknown")),
    ("another algorithm than the key's", _signed(algorithm="PS256")),
    ("alg none", _forged({"alg": "none"})),
    ("alg None", _forged({"alg": "None", "kid": "rsa"})),
    ("no alg", _forged({"kid": "rsa"})),
    ("alg is a list", _forged({"alg": ["RS256"], "kid": "rsa"})),
    ("no signature", _forged({"alg": "RS256", "kid": "rsa"})),
    ("HS256 by the public key", _by_public_key),
    ("its own key in the header", _forged({"alg": "RS256", "jwk": public_jwk(OTHER_RSA_KEY)}, b"x")),
    ("an extension that must be known", _forged({"alg": "RS256", "kid": "rsa", "crit": ["exp"], "exp": 1}, b"x")),
    ("no token but text", _signed(id_token="x")),
    ("a token of dots", _signed(id_token="..")),
    ("a token of 64 KiB", _signed(id_token=f"{'x' * 65536}.x.x")),
    ("the code of somebody else", lambda provider: provider._codes.clear()),
]


@pytest.mark.parametrize("change", [change for _, change in LIES], ids=[name for name, _ in LIES])
async def test_what_is_no_proof(sign_in: SignIn, provider: LoginProvider, change: Change) -> None:
    """Each lets nobody in, and repeats nothing of what was a secret."""
    client, proofs = client_of(provider), new_proofs()
    code = provider.code(await sign_in.begin(client, proofs))["code"]
    change(provider)
    with pytest.raises(SignInFailedError) as failed:
        await sign_in.finish(client, proofs, code)
    for secret in (code, proofs.nonce, proofs.verifier, CLIENT_SECRET, "access"):
        assert secret not in str(failed.value).replace("the access token", "").replace("another access", "")


async def test_a_code_works_once_and_for_whom_it_was_made(sign_in: SignIn, provider: LoginProvider) -> None:
    """Used twice, with another browser's proofs, or with another sign-in's nonce, where the provider does not look."""
    client, proofs = client_of(provider), new_proofs()
    code = provider.code(await sign_in.begin(client, proofs))["code"]
    await sign_in.finish(client, proofs, code)
    with pytest.raises(SignInFailedError, match="takes no such code"):
        await sign_in.finish(client, proofs, code)
    code = provider.code(await sign_in.begin(client, proofs))["code"]
    with pytest.raises(SignInFailedError, match="takes no such code"):
        await sign_in.finish(client, new_proofs(), code)


ANSWERS: list[tuple[str, str, bytes, bytes]] = [
    (f"{name} of {path}", path, status, body)
    for path in ("/.well-known/openid-configuration", "/keys", "/token", "/userinfo")
    for name, status, body in (
        ("500", b"500 Internal Server Error", b"{}"),
        ("404", b"404 Not Found", b"{}"),
        ("HTML", b"200 OK", b"<html>Welcome</html>"),
        ("a list", b"200 OK", b"[]"),
        ("nested lists", b"200 OK", b"[" * 100_000),
        ("nothing", b"200 OK", b""),
        ("more than 256 KiB", b"200 OK", b'{"a":"' + b"x" * 300_000 + b'"}'),
        ("a redirect", b"302 Found", b""),
    )
]


@pytest.mark.parametrize(("path", "status", "body"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
async def test_a_provider_that_answers_badly(
    sign_in: SignIn, provider: LoginProvider, path: str, status: bytes, body: bytes
) -> None:
    """It is not available; nobody is let in, and no redirect is followed."""
    provider.userinfo = {"sub": "ada"}
    provider.answers[path] = status, body
    with pytest.raises(ProviderUnavailableError):
        await go(sign_in, provider)


@pytest.mark.parametrize(
    "said",
    [
        {"issuer": "https://another.test"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "http://192.168.1.1/keys"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://user:password@127.0.0.1/"},
        {"token_endpoint": None},
        {"token_endpoint": "http://169.254.169.254/latest/meta-data"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": 7},
    ],
    ids=str,
)
async def test_a_provider_that_lies_about_itself(
    sign_in: SignIn, provider: LoginProvider, said: dict[str, Any]
) -> None:
    """About its name, or where it may be asked."""
    provider.more = said
    with pytest.raises(ProviderUnavailableError):
        await go(sign_in, provider)


async def test_a_refused_client_is_the_providers_fault(sign_in: SignIn, provider: LoginProvider) -> None:
    """A secret that is wrong is no failure of who signs in; the log says which word the provider used."""
    provider.answers["/token"] = b"401 Unauthorized", b'{"error": "invalid_client", "error_description": "code=secret"}'
    with pytest.raises(ProviderUnavailableError, match=r"answered 401 invalid_client$"):
        await go(sign_in, provider)


async def test_userinfo_of_somebody_else(sign_in: SignIn, provider: LoginProvider) -> None:
    """Its subject has to be the ID token's."""
    provider.claims = {}
    provider.userinfo = {"sub": "eve", "email": "ada@example.com", "email_verified": True}
    with pytest.raises(SignInFailedError, match="somebody else"):
        await go(sign_in, provider)


async def test_a_provider_that_is_slow(
    sign_in: SignIn, provider: LoginProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline of a request ends it."""
    monkeypatch.setattr(provider_http, "REQUEST_TIMEOUT", 0.2)
    provider.delay = 30.0
    async with asyncio.timeout(5):
        with pytest.raises(ProviderUnavailableError):
            await go(sign_in, provider)
