"""Signing in by a tenant's login: a whole node in this process, a provider of our own that can lie, and visitors."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import pytest_asyncio

from router.base.ids import new_id
from router.node.services import open_services
from router.settings import Settings
from router.tenancy.logins import NewLogin
from tests.support.api import Answered
from tests.support.backends import Backend, Visit
from tests.support.login_provider import CLIENT_ID, CLIENT_SECRET, LoginProvider
from tests.support.node import Node, node_settings, running
from tests.support.visitor import Visitor

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

LOGIN = "https://login.miosa.app"
PATH = "/.well-known/miosa"


class Program(Backend):
    address = "127.0.0.2"  # backends may listen there, and providers may not


@dataclass
class World:
    """A node, and the provider of tenant `acme`."""

    node: Node
    provider: LoginProvider
    settings: Settings
    program: Program
    tenants: dict[str, str] = field(default_factory=dict)
    seen: list[Visit] = field(default_factory=list)
    resources: dict[str, str] = field(default_factory=dict)

    async def tenant(self, name: str, issuer: str, **fields: Any) -> str:
        """A new tenant with a login."""
        new = {"email_domains": ("example.com",), **fields}
        async with open_services(self.settings, secrets=True) as services:
            tenant = await services.tenants.create(name)
            login = NewLogin(issuer=issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, **new)
            await services.logins.put(tenant.id, login)
        self.tenants[name] = tenant.id
        return tenant.id

    async def change(self, tenant: str, **fields: Any) -> None:
        new = {"issuer": self.provider.issuer, "email_domains": ("example.com",), **fields}
        async with open_services(self.settings, secrets=True) as services:
            await services.logins.put(
                self.tenants[tenant], NewLogin(client_id=CLIENT_ID, client_secret=CLIENT_SECRET, **new)
            )

    async def preview(self, tenant: str, **fields: Any) -> str:
        """The URL of a new preview of a tenant."""
        resource, slug = new_id(), f"shop{len(self.seen)}{new_id()[:8]}"
        body = {"kind": "sandbox", "slug": slug, "tenant_id": self.tenants[tenant], "default_port": 3000}
        await self.node.platform("PUT", f"/resources/{resource}", body)
        listening = {
            "address": "127.0.0.2",
            "generation": "1",
            "ports": {"3000": self.program.port},
            "state": "running",
        }
        await self.node.platform("PUT", f"/endpoints/{resource}", listening)
        async with open_services(self.settings) as services:
            await services.previews.put(resource, 3000, **{"visibility": "private", **fields})
        self.resources[resource] = f"https://{slug}.sandbox.miosa.app"
        return self.resources[resource]


@asynccontextmanager
async def world_in(folder: Path, **settings: object) -> AsyncIterator[World]:
    seen: list[Visit] = []

    async def hello(visit: Visit) -> None:
        seen.append(visit)
        await visit.answer(b"program")

    given = node_settings(
        folder,
        backend_networks=["127.0.0.2/32"],
        webhooks={"private_networks": ["127.0.0.1/32"]},
        secrets_key="5c" * 31 + "a1",
        **settings,
    )
    async with AsyncExitStack() as stack:
        program = await stack.enter_async_context(Program(hello))
        provider = await stack.enter_async_context(LoginProvider())
        node = await stack.enter_async_context(running(given))
        world = World(node, provider, given, program, seen=seen)
        await world.tenant("acme", provider.issuer)
        yield world


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_in(tmp_path) as world:
        yield world


@pytest_asyncio.fixture
async def visitor(world: World) -> AsyncIterator[Visitor]:
    async with Visitor(world.node.url("proxy")) as visitor:
        yield visitor


def code_of(answered: Answered) -> str | None:
    return answered.headers.get("X-Miosa-Error")


async def test_from_a_preview_to_the_provider_and_back(world: World, visitor: Visitor) -> None:
    """Each hop, what it sets, and that the program hears nothing of it."""
    url = await world.preview("acme")
    first = await visitor.ask(f"{url}/a/b?c=d")
    assert (first.status, code_of(first)) == (401, "token_missing")
    opened = await visitor.go(f"{url}{PATH}/login?next=%2Fa%2Fb%3Fc%3Dd")
    assert opened.body == b"program"
    hops = [re.sub(r"\?.*", "", hop) for hop in visitor.hops[1:]]
    assert hops == [
        f"{url}{PATH}/login",
        f"{LOGIN}/start",
        f"{world.provider.issuer}/authorize",
        f"{LOGIN}/callback/{world.tenants['acme']}",
        f"{url}{PATH}/arrive",
        f"{url}/a/b",
    ]
    assert visitor.hops[-1] == f"{url}/a/b?c=d"
    assert world.seen[-1].header(b"cookie") is None
    host, login = (visitor.jar[urlsplit(one).netloc] for one in (url, LOGIN))
    assert set(host) == {"__Host-miosa-login", "__Host-miosa-preview"}
    assert set(login) == {f"__Host-miosa-session-{world.tenants['acme']}"}


async def test_one_session_opens_all_previews_of_its_tenant(world: World, visitor: Visitor) -> None:
    """The second preview needs no visit to the provider; what is for programs only needs something else."""
    first, second = await world.preview("acme"), await world.preview("acme", visibility="tenant")
    assert (await visitor.go(f"{first}{PATH}/login")).body == b"program"
    assert (await visitor.go(f"{second}{PATH}/login?next=/x")).body == b"program"
    assert world.provider.sign_ins == 1
    programs = await world.preview("acme", visibility="key")
    for path in ("login", "arrive?code=x", "logout"):
        refused = await visitor.ask(f"{programs}{PATH}/{path}")
        assert (refused.status, code_of(refused)) == (401, "token_missing")


async def test_a_session_of_one_tenant_opens_nothing_of_another(world: World, visitor: Visitor) -> None:
    """Both have the same client at the same provider: each of them is signed in at by itself."""
    await world.tenant("other", world.provider.issuer, email_domains=("example.org",))
    ours, theirs = await world.preview("acme"), await world.preview("other")
    assert (await visitor.go(f"{ours}{PATH}/login")).body == b"program"
    refused = await visitor.go(f"{theirs}{PATH}/login")
    assert (refused.status, code_of(refused)) == (403, "login_not_allowed")
    host, other = urlsplit(ours).netloc, urlsplit(theirs).netloc
    visitor.jar[other] = dict(visitor.jar[host])  # the cookie of the one at the other
    assert code_of(await visitor.ask(f"{theirs}/")) == "token_wrong"
    login = visitor.jar["login.miosa.app"]
    login[f"__Host-miosa-session-{world.tenants['other']}"] = login[f"__Host-miosa-session-{world.tenants['acme']}"]
    refused = await visitor.go(f"{theirs}{PATH}/login")
    assert (refused.status, code_of(refused)) == (403, "login_not_allowed")


async def test_a_code_of_another_provider_is_sent_to_nobody(world: World, visitor: Visitor) -> None:
    """Mix-up: the provider of one tenant sends a visitor on to another tenant's, so that they come back with that one's code and
    the state of their own sign-in. It must not learn the code, with which a sign-in of its own would be the visitor's. Of the
    two redirect URIs the honest provider knows its client's only."""
    async with LoginProvider() as evil, Visitor(world.node.url("proxy")) as attacker:
        await world.tenant("evil", evil.issuer)
        ours, theirs = await world.preview("acme"), await world.preview("evil")
        attackers, _ = await begun(world, attacker, ours)
        left = await visitor.ask(f"{theirs}{PATH}/login")
        started = await visitor.ask(left.headers["Location"])
        asked = {name: values[0] for name, values in parse_qs(urlsplit(attackers).query).items()}
        own = {name: values[0] for name, values in parse_qs(urlsplit(started.headers["Location"]).query).items()}
        back = world.provider.code(f"{world.provider.issuer}/authorize?{urlencode({**asked, 'state': own['state']})}")
        refused = await visitor.ask(f"{asked['redirect_uri']}?{urlencode(back)}")
        assert (refused.status, code_of(refused)) == (403, "login_failed")
        assert not evil.requests
        assert own["redirect_uri"] != asked["redirect_uri"]


async def begun(world: World, visitor: Visitor, url: str, path: str = "") -> tuple[str, dict[str, str]]:
    """As far as the provider: where it is asked, and what it sends back."""
    left = await visitor.ask(f"{url}{PATH}/login{path}")
    started = await visitor.ask(left.headers["Location"])
    assert started.status == 303, started.body
    return started.headers["Location"], world.provider.code(started.headers["Location"])


def callback(world: World, query: dict[str, str]) -> str:
    return f"{LOGIN}/callback/{world.tenants['acme']}?{urlencode(query)}"


async def test_several_tabs_sign_in_at_the_same_time(world: World, visitor: Visitor) -> None:
    """Each comes back to what it was opened for, in any order."""
    url = await world.preview("acme")
    tabs = [await begun(world, visitor, url, f"?next=/tab{number}") for number in range(3)]
    for number, (_, back) in reversed(list(enumerate(tabs))):
        opened = await visitor.go(callback(world, back))
        assert (opened.body, visitor.hops[-1]) == (b"program", f"{url}/tab{number}")


async def test_as_many_sign_ins_as_a_request_has_room_for(world: World, visitor: Visitor) -> None:
    """The oldest of a browser's are forgotten, and the newest works."""
    url = await world.preview("acme")
    for number in range(9):
        _, back = await begun(world, visitor, url, f"?next=/{'x' * 1500}{number}")
    flows = [name for name in visitor.jar["login.miosa.app"] if "flow" in name]
    assert len(flows) == 4
    assert (await visitor.go(callback(world, back))).body == b"program"


async def test_what_comes_back_wrong(world: World, visitor: Visitor) -> None:
    """A table of callbacks that are no proof: each is `login_failed`, starts no session, and uses up nothing of a right one."""
    url = await world.preview("acme")
    _, right = await begun(world, visitor, url)
    async with Visitor(world.node.url("proxy")) as other:
        _, others = await begun(world, other, url)
        table = {
            "nothing": {},
            "no state": {"code": right["code"]},
            "no such state": {**right, "state": "x" * 43},
            "several states": {**others, "state": f"{right['state']} {others['state']}"},
            "a state beyond ASCII": {**right, "state": "nö"},
            "another browser's": others,
            "another's code by one's own state": {"code": others["code"], "state": "y"},
        }
        for name, query in table.items():
            refused = await visitor.ask(callback(world, query))
            assert (refused.status, code_of(refused)) == (403, "login_failed"), name
            refused = await other.ask(callback(world, right))
            assert (refused.status, code_of(refused)) == (403, "login_failed"), name
        for name, query in {
            "code twice": f"?code=a&code=b&state={right['state']}",
            "state twice": f"?code=a&state=x&state={right['state']}",
            "not UTF-8": "?code=%ff",
            "a hundred parameters": "?" + "&".join(f"p{number}=1" for number in range(100)),
            "8 KiB": f"?code={'x' * 8000}&state=y",
        }.items():
            refused = await visitor.ask(f"{callback(world, {})}{query[1:]}")
            assert (refused.status, code_of(refused)) == (403, "login_failed"), name
        for size in (9_000, 30_000):
            assert (await visitor.ask(f"{callback(world, {})}code={'x' * size}")).status in (414, 431)
        assert (await visitor.ask(f"{callback(world, {})}code={'x' * 65_536}")).status in (414, 431)
        assert f"__Host-miosa-session-{world.tenants['acme']}" not in visitor.jar["login.miosa.app"]
        assert (await visitor.go(callback(world, right))).body == b"program"
        replayed = await visitor.ask(callback(world, right))
        assert (replayed.status, code_of(replayed)) == (403, "login_failed")


async def test_a_callback_works_once_although_the_browser_kept_its_cookie(world: World, visitor: Visitor) -> None:
    """And although the provider takes its code twice."""
    world.provider.once = False
    url = await world.preview("acme")
    _, back = await begun(world, visitor, url)
    kept = dict(visitor.jar["login.miosa.app"])
    assert (await visitor.ask(callback(world, back))).status == 303
    visitor.jar["login.miosa.app"] = kept
    replayed = await visitor.ask(callback(world, back))
    assert (replayed.status, code_of(replayed)) == (403, "login_failed")


@pytest.mark.parametrize("word", ["access_denied", "server_error", "<script>alert(1)</script>"])
async def test_the_provider_says_no(world: World, visitor: Visitor, word: str) -> None:
    """Whatever its word: nothing of it is repeated."""
    world.provider.refusal = {"error": word, "error_description": "<b>secret</b>"}
    refused = await visitor.go(f"{await world.preview('acme')}{PATH}/login")
    assert (refused.status, code_of(refused)) == (403, "login_failed")
    assert b"<b>" not in refused.body
    assert b"alert" not in refused.body


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("another domain", {"email": "ada@example.org", "email_verified": True}, {}),
    ("a subdomain", {"email": "ada@sub.example.com", "email_verified": True}, {}),
    ("a domain that ends so", {"email": "ada@notexample.com", "email_verified": True}, {}),
    ("two at signs", {"email": "ada@example.com@evil.test", "email_verified": True}, {}),
    ("not verified", {"email": "ada@example.com", "email_verified": False}, {}),
    ("nothing said of it", {"email": "ada@example.com", "email_verified": None}, {}),
    ("no address", {"email": None, "email_verified": True}, {}),
    ("no group", {}, {"groups": ("devs",)}),
    ("another group", {"groups": ["ops"]}, {"groups": ("devs",)}),
    ("the group, and another domain", {"groups": ["devs"], "email": "a@x.test"}, {"groups": ("devs",)}),
]


@pytest.mark.parametrize(("claims", "login"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_who_is_not_let_in(world: World, visitor: Visitor, claims: dict[str, Any], login: dict[str, Any]) -> None:
    """They are told so, start no session, and are asked who they are when they try again: there may be another account."""
    if login:
        await world.change("acme", **login)
    world.provider.claims |= claims
    url = await world.preview("acme")
    refused = await visitor.go(f"{url}{PATH}/login")
    assert (refused.status, code_of(refused)) == (403, "login_not_allowed")
    assert not any("session" in name for name in visitor.jar["login.miosa.app"])
    asked, _ = await begun(world, visitor, url)
    assert parse_qs(urlsplit(asked).query)["prompt"] == ["login"]


async def test_what_came_of_them_is_counted(world: World, visitor: Visitor) -> None:
    """Each who comes back from the provider, by what came of it."""
    url = await world.preview("acme")
    await visitor.go(f"{url}{PATH}/login")
    await visitor.ask(callback(world, {"state": "x"}))
    visitor.jar.clear()
    world.provider.claims["email_verified"] = False
    await visitor.go(f"{url}{PATH}/login")
    visitor.jar.clear()
    world.provider.answers["/token"] = b"500 Internal Server Error", b""
    await visitor.go(f"{url}{PATH}/login")
    said = (await world.node.get("admin", "/metrics")).body.decode()
    for result in ("ok", "failed", "not_allowed", "unavailable"):
        assert f'miosa_router_logins_total{{result="{result}"}} 1' in said


async def test_addresses_in_any_case(world: World, visitor: Visitor) -> None:
    """Domains have none."""
    world.provider.claims["email"] = "Ada@EXAMPLE.com"
    assert (await visitor.go(f"{await world.preview('acme')}{PATH}/login")).body == b"program"


def answering(path: str, status: bytes, body: bytes) -> Callable[[LoginProvider], object]:
    return lambda provider: provider.answers.update({path: (status, body)})


@pytest.mark.parametrize(
    "change",
    [
        answering("/.well-known/openid-configuration", b"500 Internal Server Error", b""),
        answering("/.well-known/openid-configuration", b"200 OK", b"<html>"),
        answering("/keys", b"302 Found", b""),
        answering("/token", b"200 OK", b'{"id_token": 7}'),
        answering("/token", b"401 Unauthorized", b'{"error": "invalid_client"}'),
        lambda provider: provider.more.update({"issuer": "https://evil.test"}),
        lambda provider: provider.more.update({"authorization_endpoint": "http://169.254.169.254/latest"}),
        lambda provider: provider.more.update({"token_endpoint": "http://169.254.169.254/latest"}),
        lambda provider: provider.more.update({"jwks_uri": "http://169.254.169.254/latest"}),
    ],
)
async def test_a_provider_that_can_not_be_used(
    world: World, visitor: Visitor, change: Callable[[LoginProvider], object]
) -> None:
    """Nobody comes in, and that is nobody's fault who wants to."""
    change(world.provider)
    refused = await visitor.go(f"{await world.preview('acme')}{PATH}/login")
    assert (refused.status, code_of(refused)) == (503, "identity_provider_unavailable")
    assert refused.headers["Retry-After"]


async def test_a_provider_that_is_slow(world: World, visitor: Visitor) -> None:
    """Nobody waits longer than ten seconds for one, at the start and at the end."""
    url = await world.preview("acme")
    _, back = await begun(world, visitor, url)
    await world.tenant("other", f"{world.provider.issuer}/")  # of which nothing is known yet
    other = await world.preview("other")
    world.provider.delay = 60.0
    async with asyncio.timeout(10):
        answers = await asyncio.gather(visitor.go(f"{other}{PATH}/login"), visitor.ask(callback(world, back)))
    for answered in answers:
        assert (answered.status, code_of(answered)) == (503, "identity_provider_unavailable")


async def test_a_tenants_slow_provider_keeps_nobody_else_waiting(world: World, visitor: Visitor) -> None:
    """Of one tenant only so many wait for its provider at a time, from however many addresses; others' people sign in meanwhile."""
    async with LoginProvider() as slow, AsyncExitStack() as stack:
        await world.tenant("slow", slow.issuer)
        theirs, ours = await world.preview("slow"), await world.preview("acme")
        back = []
        for number in range(40):
            one = await stack.enter_async_context(Visitor(world.node.url("proxy")))
            left = await one.ask(f"{theirs}{PATH}/login")
            asked = (await one.ask(left.headers["Location"], X_Forwarded_For=f"198.51.100.{number}")).headers[
                "Location"
            ]
            back.append((one, f"{LOGIN}/callback/{world.tenants['slow']}?{urlencode(slow.code(asked))}", number))
        slow.delay = 60.0
        waiting = [
            asyncio.ensure_future(one.ask(url, X_Forwarded_For=f"198.51.100.{number}")) for one, url, number in back
        ]
        try:
            async with asyncio.timeout(5):
                while slow.asked.count("/token") < 16:
                    await asyncio.sleep(0.02)
            assert (await visitor.go(f"{ours}{PATH}/login")).body == b"program"
            assert sum(not one.done() for one in waiting) == 16
        finally:
            codes = [code_of(refused) for refused in await asyncio.gather(*waiting)]
            assert sorted(set(codes)) == ["identity_provider_unavailable", "overloaded"]
            assert codes.count("overloaded") == 24


async def test_what_does_not_begin_a_sign_in(world: World, visitor: Visitor) -> None:
    """Hosts that are none of a login's: each gets the same answer, so that nobody learns which of them exist."""
    public = await world.preview("acme", visibility="public")
    hidden = await world.preview("acme", hide=True)
    binding = "0" * 64
    for host in (
        "",
        "evil.test",
        "login.miosa.app",
        "nobody.sandbox.miosa.app",
        "a b",
        "xn--nö.test",
        urlsplit(public).netloc,
        urlsplit(hidden).netloc,
        f"{urlsplit(public).netloc}/x",
        f"evil.test@{urlsplit(public).netloc}",
    ):
        refused = await visitor.ask(f"{LOGIN}/start?host={quote(host)}&next=/&binding={binding}")
        assert (refused.status, code_of(refused)) == (403, "login_failed"), host
    url = await world.preview("acme")
    host = urlsplit(url).netloc
    for query in ("", "&binding=x", f"&binding={binding}&binding={binding}", f"&host=evil.test&binding={binding}"):
        refused = await visitor.ask(f"{LOGIN}/start?host={host}{query}")
        assert (refused.status, code_of(refused)) == (403, "login_failed"), query
    assert (await visitor.ask(f"{public}{PATH}/login")).body == b"program"
    assert code_of(await visitor.ask(f"{hidden}{PATH}/login")) == "host_not_found"
    assert code_of(await visitor.ask(f"{hidden}{PATH}/arrive?code=x")) == "host_not_found"
    assert code_of(await visitor.ask(f"{hidden}{PATH}/logout")) == "host_not_found"


async def test_who_was_on_their_way_when_it_was_hidden(world: World, visitor: Visitor) -> None:
    """A good code opens what is hidden since; no other does, and nobody sets out any more."""
    url = await world.preview("acme")
    _, back = await begun(world, visitor, url)
    arrive = (await visitor.ask(callback(world, back))).headers["Location"]
    async with open_services(world.settings) as services:
        (resource,) = (one for one, address in world.resources.items() if address == url)
        await services.previews.put(resource, 3000, hide=True)
    async with asyncio.timeout(10), Visitor(world.node.url("proxy")) as stranger:
        while code_of(await stranger.ask(f"{url}/")) != "host_not_found":
            await asyncio.sleep(0.05)
        assert code_of(await stranger.ask(f"{url}{PATH}/login")) == "host_not_found"
        assert code_of(await stranger.ask(f"{url}{PATH}/arrive?code=x")) == "host_not_found"
    assert code_of(await visitor.ask(f"{url}{PATH}/arrive?code=x")) == "host_not_found"
    assert (await visitor.go(arrive)).body == b"program"
    page = await visitor.ask(f"{url}{PATH}/logout")
    assert (page.status, b"Log out" in page.body) == (200, True)


@pytest.mark.parametrize(
    "path",
    [
        "//evil.test",
        "/\\evil.test",
        "https://evil.test/",
        "/%2f%2fevil.test",
        "/%5cevil.test",
        "/\tevil",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:%20a=b",
        "/" + "x" * 3000,
        "",
    ],
)
async def test_it_ends_at_the_preview_whatever_next_says(world: World, visitor: Visitor, path: str) -> None:
    """Said at the preview, at the login host, and where it comes back: to the preview's first page."""
    url = await world.preview("acme")
    opened = await visitor.go(f"{url}{PATH}/login?next={quote(path, safe='')}")
    assert (opened.body, visitor.hops[-1]) == (b"program", f"{url}/")
    left = await visitor.ask(f"{url}{PATH}/login")
    started = await visitor.ask(f"{left.headers['Location'].replace('next=%2F&', '')}&next={quote(path, safe='')}")
    arrive = started.headers["Location"]
    assert arrive.startswith(f"{url}{PATH}/arrive?")
    assert (await visitor.ask(f"{arrive.partition('&next=')[0]}&next={quote(path, safe='')}")).headers[
        "Location"
    ] == f"{url}/"


async def test_a_hand_over_is_for_one_host_and_one_browser_once(world: World, visitor: Visitor) -> None:
    """A code that somebody has is worth nothing elsewhere."""
    url, second = await world.preview("acme"), await world.preview("acme")

    async def code() -> str:
        left = await visitor.ask(f"{url}{PATH}/login")
        back = await visitor.ask(left.headers["Location"])
        if "/authorize" in back.headers["Location"]:
            back = await visitor.ask(callback(world, world.provider.code(back.headers["Location"])))
        return parse_qs(urlsplit(back.headers["Location"]).query)["code"][0]

    async def refused(arrive: str, who: Visitor) -> None:
        answered = await who.ask(arrive)
        assert (answered.status, code_of(answered)) == (403, "login_failed"), arrive

    await visitor.ask(f"{second}{PATH}/login")
    await refused(f"{second}{PATH}/arrive?code={await code()}", visitor)
    async with Visitor(world.node.url("proxy")) as other:
        await other.ask(f"{url}{PATH}/login")
        made = await code()
        await refused(f"{url}{PATH}/arrive?code={made}", other)
        await refused(f"{url}{PATH}/arrive?code={made}", visitor)  # used up by who had it
    async with Visitor(world.node.url("proxy")) as without_cookie:
        await refused(f"{url}{PATH}/arrive?code={await code()}", without_cookie)
    made = await code()
    await refused(f"{url}{PATH}/arrive?code={made}&code={made}", visitor)
    await refused(f"{url}{PATH}/arrive?code=", visitor)
    await refused(f"{url}{PATH}/arrive?code={'x' * 4000}", visitor)
    assert (await visitor.ask(f"{url}{PATH}/arrive?code={made}&next=/x")).headers["Location"] == f"{url}/x"
    await refused(f"{url}{PATH}/arrive?code={made}&next=/x", visitor)


async def test_scripts_are_not_sent_to_sign_in(world: World, visitor: Visitor) -> None:
    """They hear that something is missing, and a preflight hears nothing."""
    url = await world.preview("acme")
    for headers in (
        {"Accept": "application/json", "Sec_Fetch_Mode": "cors"},
        {"Accept": "text/event-stream", "Sec_Fetch_Mode": "cors"},
        {"Accept": "*/*", "Connection": "Upgrade", "Upgrade": "websocket", "Sec_Fetch_Mode": "websocket"},
    ):
        for path in ("/", f"{PATH}/login", f"{PATH}/arrive?code=x"):
            answered = await visitor.ask(f"{url}{path}", navigates=False, **headers)
            assert (answered.status, code_of(answered)) == (401, "token_missing"), (headers, path)
            if headers["Accept"] == "application/json":
                assert answered.json["error"]["login_url"] == f"{PATH}/login"
    preflight = {"Origin": "https://a.test", "Access_Control_Request_Method": "GET"}
    assert (await visitor.ask(f"{url}{PATH}/login", "OPTIONS", navigates=False, **preflight)).status == 204
    assert code_of(await visitor.ask(f"{url}{PATH}/login", "POST")) == "method_not_allowed"


async def test_logging_out_ends_it_everywhere(world: World, visitor: Visitor) -> None:
    """At one preview it ends at the other too, and the provider is asked again."""
    first, second = await world.preview("acme"), await world.preview("acme")
    for url in (first, second):
        assert (await visitor.go(f"{url}{PATH}/login")).body == b"program"
    page = await visitor.ask(f"{first}{PATH}/logout")
    assert (page.status, b"Log out" in page.body) == (200, True)
    assert (await visitor.ask(f"{first}/")).body == b"program"
    cross = await visitor.ask(f"{first}{PATH}/logout", "POST", Origin="https://evil.test", Sec_Fetch_Site="cross-site")
    assert (cross.status, code_of(cross)) == (403, "origin_not_allowed")
    assert (await visitor.ask(f"{second}/")).body == b"program"
    ended = await visitor.ask(f"{first}{PATH}/logout", "POST", Origin=first, Sec_Fetch_Site="same-origin")
    assert ended.status == 200
    assert "__Host-miosa-preview" not in visitor.jar[urlsplit(first).netloc]
    assert code_of(await visitor.ask(f"{first}/")) == "token_missing"
    assert code_of(await visitor.ask(f"{second}/")) == "token_revoked"
    assert (await visitor.go(f"{second}{PATH}/login")).body == b"program"
    assert world.provider.sign_ins == 2


async def test_logging_out_at_the_login_host(world: World, visitor: Visitor) -> None:
    """Every tenant's session of the browser ends; another site's page can't do it."""
    url = await world.preview("acme")
    assert (await visitor.go(f"{url}{PATH}/login")).body == b"program"
    page = await visitor.ask(f"{LOGIN}/logout")
    assert b"<form" in page.body
    cross = await visitor.ask(f"{LOGIN}/logout", "POST", Origin=url, Sec_Fetch_Site="same-site")
    assert code_of(cross) == "origin_not_allowed"
    assert code_of(await visitor.ask(f"{LOGIN}/logout", "POST", Origin=url)) == "origin_not_allowed"
    assert code_of(await visitor.ask(f"{LOGIN}/logout", "POST")) == "origin_not_allowed"
    assert (await visitor.ask(f"{url}/")).body == b"program"
    assert (await visitor.ask(f"{LOGIN}/logout", "POST", Origin=LOGIN)).status == 200
    assert not any("session" in name for name in visitor.jar["login.miosa.app"])
    assert code_of(await visitor.ask(f"{url}/")) == "token_revoked"


async def test_what_the_login_host_is(world: World, visitor: Visitor) -> None:
    """It says so, gets a certificate, is nobody's to register, and has no program."""
    assert await world.node.ask("login.miosa.app") == (
        200,
        "first_issue",
    )  # before a visit by https says that it has one
    page = await visitor.ask(f"{LOGIN}/")
    assert (page.status, b"identity provider" in page.body) == (200, True)
    assert (await visitor.ask(f"{LOGIN}/elsewhere")).status == 404
    assert (await visitor.ask(f"{LOGIN}/start", "POST")).status == 405
    resource = {"kind": "sandbox", "slug": "login", "tenant_id": world.tenants["acme"], "default_port": 3000}
    assert (await world.node.internal("PUT", f"/resources/{new_id()}", resource))[0] == 422


async def test_where_the_docs_url_of_an_error_leads(world: World, visitor: Visitor) -> None:
    """To the paragraph of its code, on a page that the router serves: errors of previews, and those of the API."""
    url = await world.preview("acme")
    asked = [
        await visitor.ask(f"{url}/", navigates=False),
        await visitor.ask("https://nothing-is-here.miosa.app/", navigates=False),
        await visitor.ask(f"{world.node.url('api')}/api/v1/sandboxes", navigates=False),
        await visitor.ask(f"{world.node.url('api')}/nowhere", navigates=False),
    ]
    errors = [answer.json["error"] for answer in asked]
    assert [error["code"] for error in errors] == ["token_missing", "host_not_found", "unauthorized", "not_found"]
    for error in errors:
        page, _, anchor = error["docs_url"].partition("#")
        shown = await visitor.ask(page)
        assert (page, shown.status, anchor) == (f"{LOGIN}/errors", 200, error["code"])
        assert f'<section id="{error["code"]}">'.encode() in shown.body
        assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")
    same = await visitor.ask(f"{world.node.url('api')}/docs/errors")
    assert same.body == shown.body
    assert (await visitor.ask(f"{LOGIN}/errors", "POST")).status == 405


async def test_one_address_starts_only_so_often(world: World, visitor: Visitor) -> None:
    """The others still do."""
    url = await world.preview("acme")
    left = await visitor.ask(f"{url}{PATH}/login")
    answers = [await visitor.ask(left.headers["Location"]) for _ in range(62)]
    assert [answer.status for answer in answers[:60]] == [303] * 60
    assert {(answer.status, answer.headers["Retry-After"]) for answer in answers[60:]} == {(429, "60")}
    other = await visitor.ask(left.headers["Location"], X_Forwarded_For="203.0.113.7")
    assert other.status == 303


async def test_a_login_that_changes_ends_what_is_under_way(world: World, visitor: Visitor) -> None:
    """Who signs in while the tenant takes another provider, or none, starts anew."""
    url = await world.preview("acme")
    _, back = await begun(world, visitor, url)
    await world.change("acme", email_domains=("example.com", "example.org"))
    refused = await visitor.ask(callback(world, back))
    assert (refused.status, code_of(refused)) == (403, "login_failed")


async def test_nothing_secret_is_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of a sign-in that succeeds, one that fails and one that is not allowed."""
    async with world_in(tmp_path, log_level="debug", access_log="-", log_format="json") as world:
        url = await world.preview("acme")
        async with Visitor(world.node.url("proxy")) as visitor:
            await visitor.go(f"{url}{PATH}/login")
            world.provider.claims["email"] = "eve@evil.test"
            visitor.jar.clear()
            await visitor.go(f"{url}{PATH}/login")
            visitor.jar.clear()
            world.provider.id_token = "x.y.z"
            await visitor.go(f"{url}{PATH}/login")
            visited, jar = visitor.hops, visitor.jar
    said = "".join(capfd.readouterr())
    assert "callback" in said
    secrets = {CLIENT_SECRET, "eve@evil.test", "ada@example.com"}
    for hop in visited:
        secrets |= set(parse_qs(urlsplit(hop).query).get("code", ()))
    for cookies in jar.values():
        secrets |= {value for value in cookies.values() if len(value) > 8}
    for form, authorization in world.provider.requests:
        secrets |= {form["code_verifier"], authorization.decode()}
    assert [secret for secret in secrets if secret in said] == []
