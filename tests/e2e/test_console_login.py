"""Signing in to the console by the tenant's login: each step over real HTTP at a whole node, with a provider of our own that can lie."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import pytest_asyncio

from router.audit.entry import ActorType, EntryFilter
from router.node.services import open_services
from router.tenancy.logins import ConsoleRole
from router.tenancy.signing_keys import FOR_COOKIES
from tests.e2e.test_login import LOGIN, PATH, World, code_of, world_in
from tests.support.api import Answered
from tests.support.login_provider import LoginProvider
from tests.support.visitor import Visitor

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

CONSOLE = "https://api.example.com"
OURS = {"Sec_Fetch_Site": "same-origin"}
COOKIE = "__Host-miosa-console"
READ, WRITE = ConsoleRole.READ, ConsoleRole.WRITE


class Browser(Visitor):
    """One that finds the console too."""

    def __init__(self, world: World) -> None:
        super().__init__(world.node.url("proxy"))
        self._at = {True: world.node.url("api"), False: world.node.url("proxy")}

    async def ask(self, url: str, method: str = "GET", *, navigates: bool = True, **headers: str) -> Answered:
        self._proxy = self._at[url.startswith(CONSOLE)]
        return await super().ask(url, method, navigates=navigates, **headers)

    async def sign_in(self, slug: str = "acme") -> Answered:
        """From the console's page to where it ends."""
        return await self.go(f"{CONSOLE}/console/login?organization={slug}", **OURS)

    async def code(self, slug: str = "acme") -> str:
        answered = await self.sign_in(slug)
        assert answered.status == 200, answered.body
        at, hash_, code = self.hops[-1].partition("#code=")
        assert (at, hash_) == (f"{CONSOLE}/console/", "#code=")
        return code

    async def call(self, method: str, path: str, token: str = "", body: object = None) -> Answered:
        """Of the API, with the cookies of the console's origin."""
        headers = {
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.jar.get("api.example.com", {}).items())
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self._at[True]}/api/v1{path}"
        async with self._session.request(method, url, json=body, headers=headers) as response:
            return Answered(response.status, response.headers, await response.read())

    async def token(self, slug: str = "acme") -> str:
        answered = await self.call("POST", "/console/session", body={"code": await self.code(slug)})
        assert answered.status == 201, answered.body
        return str(answered.json["data"]["token"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The tenant `acme`, whose login does not know the console."""
    async with world_in(
        tmp_path_factory.mktemp("console-login"), console={"url": CONSOLE}, rates={"auth": 10_000}
    ) as world:
        yield world


@asynccontextmanager
async def browsing(world: World, **login: Any) -> AsyncIterator[Browser]:
    """A fresh browser, with the login of `acme` set to this, and the provider's claims as they are at first."""
    world.provider.claims = {"email": "ada@example.com", "email_verified": True}
    await world.change("acme", **login)
    async with Browser(world) as browser:
        yield browser


async def test_in_and_out(world: World) -> None:
    """Each hop, what the token may, how the audit log calls them, and the log-out."""
    async with browsing(world, console_role=WRITE) as browser:
        token = await browser.token()
        assert [urlsplit(hop).path for hop in browser.hops] == [
            "/console/login",
            "/console",
            "/authorize",
            f"/callback/{world.tenants['acme']}",
            "/console/",
        ]
        assert set(browser.jar["api.example.com"]) == {COOKIE}
        assert browser.jar["login.miosa.app"] == {}  # no session for previews has begun
        who = (await browser.call("GET", "/whoami", token)).json["data"]
        assert (who["credential"], who["person"], who["read_only"], who["scope"]) == (
            *("session", "ada@example.com"),
            *(False, "tenant"),
        )
        made = await browser.call("POST", "/api-keys", token, {"name": "by ada"})
        assert made.status == 201
        (session,) = (await browser.call("GET", "/tenant/sessions", token)).json["data"]
        assert (session["subject"], session["console_role"]) == ("ada", "write")
        entries = (await browser.call("GET", "/audit-log?actor_type=person", token)).json["data"]
        assert [(one["action"], one["actor_id"], one["actor_name"], one["actor_scope"]) for one in entries] == [
            ("api_key.create", "ada", "ada@example.com", "tenant (write)"),
            ("session.begin", "ada", "ada@example.com", "tenant (write)"),
        ]
        assert (await browser.call("DELETE", "/console/session", token)).json["data"] == {"ended": True}
        assert (await browser.call("GET", "/whoami", token)).status == 401


async def test_who_may_only_read(world: World) -> None:
    """Safe methods, and their own end."""
    async with browsing(world, console_role=READ) as browser:
        token = await browser.token()
        assert (await browser.call("GET", "/whoami", token)).json["data"]["read_only"] is True
        assert (await browser.call("GET", "/audit-log", token)).status == 200
        for method, path in (("POST", "/api-keys"), ("DELETE", "/tenant/sessions"), ("PUT", "/tenant/login")):
            refused = await browser.call(method, path, token, {"name": "more"})
            assert (refused.status, refused.code) == (403, "forbidden"), path
        assert (await browser.call("DELETE", "/console/session", token)).status == 200


async def test_a_tenant_that_has_not_opted_in_is_like_one_that_is_not_there(world: World) -> None:
    async with browsing(world) as browser:
        answers = []
        for slug in ("acme", "nobody", "%3Cscript%3E", "a" * 200):
            refused = await browser.sign_in(slug)
            answers.append((refused.status, code_of(refused), refused.body.count(b"login_failed")))
        assert len(set(answers)) == 1
        assert answers[0][:2] == (403, "login_failed")


async def test_a_visitor_of_previews_who_may_not_enter_the_console(world: World) -> None:
    """They are in no group of the console's; with a session for previews neither; and who leaves the group is out at the next
    sign-in."""
    async with browsing(world, console_role=READ, console_groups=("admins",)) as browser:
        world.provider.claims["groups"] = ["people"]
        preview = await world.preview("acme")
        assert (await browser.go(f"{preview}{PATH}/login")).body == b"program"
        refused = await browser.sign_in()
        assert (refused.status, code_of(refused)) == (403, "login_not_allowed")
        assert b"https://api.example.com/console/?organization=acme" in refused.body
        world.provider.claims["groups"] = ["people", "admins"]
        await browser.token()
        world.provider.claims["groups"] = ["people"]
        assert code_of(await browser.sign_in()) == "login_not_allowed"


async def test_a_link_of_others_signs_nobody_in(world: World) -> None:
    """Login CSRF: it leads to the form, and sets no cookie."""
    async with browsing(world, console_role=READ) as browser:
        for site in ({}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "none"}):
            answered = await browser.ask(f"{CONSOLE}/console/login?organization=acme", **site)
            assert answered.headers["Location"] == f"{CONSOLE}/console/?organization=acme"
            assert "Set-Cookie" not in answered.headers
        odd = await browser.ask(f"{CONSOLE}/console/login?organization=%2F%2Fevil.example%0d%0aX:y&next=//evil", **OURS)
        assert urlsplit(odd.headers["Location"]).netloc == "login.miosa.app"
        kept = odd.headers["Set-Cookie"]
        assert kept.startswith(f"{COOKIE}=")
        assert kept.endswith("; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Strict")


async def test_a_code_is_for_one_browser_and_one_time(world: World) -> None:
    """Not without its cookie, not with another's, not twice; who tries has used it up."""
    async with browsing(world, console_role=READ) as browser, Browser(world) as other:
        await other.code()
        for thief in (other, None):
            code = await browser.code()
            own = browser.jar["api.example.com"]
            if thief is None:
                browser.jar["api.example.com"] = {}
            stolen = await (thief or browser).call("POST", "/console/session", body={"code": code})
            assert (stolen.status, stolen.code) == (403, "forbidden")
            browser.jar["api.example.com"] = own
            used = (await browser.call("POST", "/console/session", body={"code": code})).status
            assert used == (403 if thief else 201)  # without any cookie nothing is looked up
        again = await browser.call("POST", "/console/session", body={"code": code})
        assert again.status == 403
        fixed = await browser.ask(f"{CONSOLE}/console/login?organization=acme", **OURS)
        assert browser.jar["api.example.com"] == own  # one that is ours is shared by tabs
        browser.jar["api.example.com"] = {COOKIE: "chosen"}
        fixed = await browser.ask(f"{CONSOLE}/console/login?organization=acme", **OURS)
        assert "chosen" not in fixed.headers["Set-Cookie"]


async def test_codes_of_previews_and_of_the_console_are_not_each_others(world: World) -> None:
    """A code of a preview begins no session of the console, one of the console opens no preview, and a token is no cookie and no key."""
    async with browsing(world, console_role=WRITE) as browser:
        preview = await world.preview("acme")
        await browser.go(f"{preview}{PATH}/login")
        (arrive,) = [hop for hop in browser.hops if "/arrive" in hop]
        left = await browser.ask(f"{preview}{PATH}/login")
        started = await browser.ask(left.headers["Location"])  # the session is there: it hands over at once
        code = parse_qs(urlsplit(started.headers["Location"]).query)["code"][0]
        assert "/arrive" in arrive
        assert (await browser.call("POST", "/console/session", body={"code": code})).status == 403
        own = await browser.code()
        host = urlsplit(preview).netloc
        browser.jar[host] = {"__Host-miosa-login": browser.jar["api.example.com"][COOKIE]}
        assert (await browser.ask(f"{preview}{PATH}/arrive?{urlencode({'code': own, 'next': '/'})}")).status == 403
        token = await browser.token()
        browser.jar[host] = {}
        for header in ({"X_Miosa_Preview_Token": token}, {"Authorization": f"Bearer {token}"}):
            assert (await browser.ask(f"{preview}/", **header)).status in (401, 403)
        asked = world.provider.sign_ins
        browser.jar["login.miosa.app"] = {f"__Host-miosa-session-{world.tenants['acme']}": token}
        left = await browser.ask(f"{preview}{PATH}/login")
        started = await browser.ask(left.headers["Location"])
        assert started.headers["Location"].startswith(world.provider.issuer)  # the login host knows no such session
        assert world.provider.sign_ins == asked


async def test_another_tenants_provider_and_tenant(world: World) -> None:
    """Mix-up: a code of one provider at the other's redirect URI is sent to nobody; a token reaches its tenant alone."""
    async with LoginProvider() as evil, browsing(world, console_role=WRITE) as browser:
        await world.tenant("evil", evil.issuer, console_role=WRITE)
        asked = []
        for slug in ("acme", "evil"):
            left = await browser.ask(f"{CONSOLE}/console/login?organization={slug}", **OURS)
            started = await browser.ask(left.headers["Location"])
            asked.append({k: v[0] for k, v in parse_qs(urlsplit(started.headers["Location"]).query).items()})
        back = world.provider.code(
            f"{world.provider.issuer}/authorize?{urlencode({**asked[0], 'state': asked[1]['state']})}"
        )
        refused = await browser.ask(f"{asked[0]['redirect_uri']}?{urlencode(back)}")
        assert (refused.status, code_of(refused)) == (403, "login_failed")
        assert not evil.requests
        token = await browser.token("evil")
        async with open_services(world.settings) as services:
            refused = await browser.call("GET", "/whoami", token)
            assert refused.json["data"]["tenant_id"] == world.tenants["evil"]
            entries, _ = await services.audit.list(
                EntryFilter(tenant_id=world.tenants["evil"], actor_type=ActorType.PERSON)
            )
            assert [one.action for one in entries] == ["session.begin"]


@pytest.mark.parametrize("how", ["sessions", "login", "opt-out", "cookie key", "deleted login"])
async def test_what_ends_a_token(world: World, how: str) -> None:
    """At once, on whatever node: the token is looked up each time."""
    async with browsing(world, console_role=READ) as browser:
        token, tenant = await browser.token(), world.tenants["acme"]
        assert (await browser.call("GET", "/whoami", token)).status == 200
        async with open_services(world.settings, secrets=True) as services:
            if how == "sessions":
                assert await services.sessions.revoke_all(tenant) >= 1
            elif how == "login":
                await world.change("acme", console_role=WRITE)
            elif how == "opt-out":
                await world.change("acme")
            elif how == "cookie key":
                await services.signing_keys.replace(FOR_COOKIES)
            else:
                await services.logins.remove(tenant)
        assert (await browser.call("GET", "/whoami", token)).status == 401


async def test_what_is_no_step_of_a_sign_in(world: World) -> None:
    """The login host's step by itself: a binding that is none, and a flow that a callback has used."""
    async with browsing(world, console_role=READ) as browser:
        for query in ("organization=acme", "organization=acme&binding=x", f"binding={'a' * 64}"):
            assert code_of(await browser.ask(f"{LOGIN}/console?{query}")) == "login_failed"
        await browser.code()
        callback = browser.hops[-2]
        assert code_of(await browser.ask(callback)) == "login_failed"
        page = (await browser.ask(f"{CONSOLE}/console/")).body
        assert b'name="sign-in" content="https://api.example.com"' in page
        assert "acme" not in json.dumps(page.decode())
