"""Where requests to identity providers go: by https with a vouched certificate, and never to an address that was not judged,
whatever a name server or a provider says."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.dns.lookup import DnsLookup
from router.domains.lookup import RecordType
from router.outbound.identity_providers import Providers
from router.outbound.provider_http import ProviderHttp, ProviderUnavailableError
from router.outbound.sign_in import Client, Identity, SignIn, new_proofs
from router.tenancy.destinations import Destinations
from tests.support.authority import Authority
from tests.support.identity_provider import IdentityProvider
from tests.support.login_provider import CLIENT_ID, CLIENT_SECRET, LoginProvider
from tests.support.nameserver import NameServer

pytestmark = pytest.mark.asyncio

NAME = "idp.example.com"
# Tests may dial loopback only. So this address of it stands for the Internet: it may be dialled, the rest of loopback not.
OUTSIDE = "127.0.0.2"
INSIDE = "127.0.0.1"
ALLOWED = (ipaddress.ip_network(OUTSIDE),)
CALLBACK = "https://login.miosa.test/callback"
INNER = ["127.0.0.1", "169.254.169.254", "10.0.0.7"]


class Rebinding(NameServer):
    """Says `first` of NAME to the first question for an address, and `then` from the second on."""

    def __init__(self, first: tuple[str, ...], then: tuple[str, ...]) -> None:
        super().__init__()
        self.put(NAME, RecordType.A, *first)
        self._then = then

    def answer(self, query: dns.message.Message, transport: str) -> dns.message.Message | None:
        said = super().answer(query, transport)
        if query.question[0].rdtype.name == "A":
            self.put(NAME, RecordType.A, *self._then)
        return said


@dataclass
class Trap:
    """A listener inside, which counts who comes."""

    visits: int = 0

    async def visited(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.close()


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[tuple[IdentityProvider, Trap]]:
    """A provider outside, known by its name, and a listener inside at the same port."""
    trap = Trap()
    async with AsyncExitStack() as stack:
        for _ in range(20):
            one = IdentityProvider(NAME)
            one.listen_at(OUTSIDE)
            await stack.enter_async_context(one)
            with suppress(OSError):  # inside somebody else may have that port
                await stack.enter_async_context(await asyncio.start_server(trap.visited, INSIDE, one.port))
                break
        else:
            raise AssertionError("no port that is free on both addresses")
        yield one, trap


@pytest.fixture
def provider(pair: tuple[IdentityProvider, Trap]) -> IdentityProvider:
    return pair[0]


@pytest.fixture
def trap(pair: tuple[IdentityProvider, Trap]) -> Trap:
    return pair[1]


def http_by(name_server: NameServer) -> tuple[ProviderHttp, DnsLookup]:
    clock = SystemClock()
    lookup = DnsLookup([name_server.server], clock)
    return ProviderHttp(lookup, Destinations(private=ALLOWED), clock), lookup


@pytest.mark.parametrize("inner", INNER)
async def test_an_address_that_changes_is_judged_again(provider: IdentityProvider, trap: Trap, inner: str) -> None:
    """A name that leads outside at first and inside from the next answer on: the first request goes to what was judged, and
    every other one nowhere."""
    async with Rebinding((OUTSIDE,), (inner,)) as name_server:
        http, lookup = http_by(name_server)
        try:
            assert (await http.get(f"{provider.issuer}/keys")).status == 200
            with pytest.raises(ProviderUnavailableError, match="public"):
                await http.get(f"{provider.issuer}/keys")
        finally:
            await lookup.close()
    assert [kind for _, kind, _ in name_server.queries].count("A") == 2  # once a request: what is judged is dialled
    assert (provider.asked, trap.visits) == (["/keys"], 0)


@pytest.mark.parametrize("inner", INNER)
async def test_a_name_that_changes_between_two_documents(provider: IdentityProvider, trap: Trap, inner: str) -> None:
    """The key set is not fetched from where the name leads after the discovery document."""
    async with Rebinding((OUTSIDE,), (inner,)) as name_server:
        http, lookup = http_by(name_server)
        providers = Providers(http, SystemClock())
        try:
            with pytest.raises(ProviderUnavailableError, match="public"):
                await providers.metadata(provider.issuer)
        finally:
            await providers.close()
            await lookup.close()
    assert (provider.asked, trap.visits) == (["/.well-known/openid-configuration"], 0)


@pytest.mark.parametrize("inner", INNER)
async def test_one_address_inside_spoils_the_name(provider: IdentityProvider, trap: Trap, inner: str) -> None:
    """None of its addresses is dialled."""
    async with Rebinding((OUTSIDE, inner), (OUTSIDE, inner)) as name_server:
        http, lookup = http_by(name_server)
        try:
            with pytest.raises(ProviderUnavailableError, match="public"):
                await http.get(f"{provider.issuer}/keys")
        finally:
            await lookup.close()
    assert (provider.asked, trap.visits) == ([], 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:127.0.0.1]", "2130706433"])
@pytest.mark.parametrize(
    "endpoint", ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"], ids=str
)
async def test_endpoints_inside_are_not_visited(host: str, endpoint: str) -> None:
    """A provider that names an address inside for one of its own: it can't be used, and the listener there hears nothing."""
    provider = LoginProvider(OUTSIDE)
    provider.userinfo = {"sub": "ada", "email": "ada@example.com", "email_verified": True}
    provider.claims = {}
    trap = Trap()
    async with NameServer() as name_server, provider, await asyncio.start_server(trap.visited, INSIDE) as inside:
        provider.more = {endpoint: f"http://{host}:{inside.sockets[0].getsockname()[1]}/x"}
        http, lookup = http_by(name_server)
        providers = Providers(http, SystemClock())
        client = Client(issuer=provider.issuer, client_id=CLIENT_ID, secret=CLIENT_SECRET, redirect_uri=CALLBACK)

        async def signed_in() -> Identity:
            sign_in, proofs = SignIn(http, providers), new_proofs()
            back = provider.code(await sign_in.begin(client, proofs))
            return await sign_in.finish(client, proofs, back["code"])

        try:
            if endpoint == "userinfo_endpoint":  # one may have none: then nothing more is known of who came
                assert (await signed_in()).email is None
            else:
                with pytest.raises(ProviderUnavailableError):
                    await signed_in()
        finally:
            await providers.close()
            await lookup.close()
    assert trap.visits == 0


@pytest.mark.parametrize(("certified", "reached"), [(NAME, True), ("other.example.com", False)])
async def test_https_with_a_certificate_that_is_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certified: str, reached: bool
) -> None:
    """One for the provider's name by a CA that this machine trusts: its keys verify tokens. For another name: it can't be used."""
    authority = Authority()
    # The machine's list of CAs is read when aiohttp is imported; this one has the tests' CA alone.
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cadata=authority.pem))
    provider = IdentityProvider(NAME, tls=authority.server(tmp_path, certified))
    provider.listen_at(OUTSIDE)
    claims: dict[str, Any] = {"sub": "ada", "aud": "previews", "exp": int(SystemClock().now().timestamp()) + 600}
    async with NameServer() as name_server, provider:
        name_server.put(NAME, RecordType.A, OUTSIDE)
        http, lookup = http_by(name_server)
        providers = Providers(http, SystemClock())
        token = provider.token(claims)
        try:
            assert provider.issuer.startswith("https://")
            if reached:
                assert (await providers.verify(provider.issuer, token, ["previews"]))["sub"] == "ada"
            else:
                with pytest.raises(ProviderUnavailableError, match="certificate"):
                    await providers.verify(provider.issuer, token, ["previews"])
        finally:
            await providers.close()
            await lookup.close()
    assert bool(provider.asked) is reached
