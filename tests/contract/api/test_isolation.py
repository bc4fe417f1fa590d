"""Nobody sees or changes what is not theirs: every row of the route table is asked for a victim's records by people who
may not have them, in every way in which a request can name a record; no answer has a byte of them, and afterwards
they are what they were.

    outsider    another tenant, with everything of its own and a key of the whole tenant
    colleague   another workspace of the same tenant, with that workspace's key
    neighbour   another project of the same workspace, with that project's key
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from router.api.custom_domains import RegisterFlat
from router.api.operations import Auth, Operation
from router.api.principal import Access
from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.node.services import Services
from router.settings import Rates, Settings, load
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.api import Answered, ApiClient
from tests.support.backends import Backend, Visit
from tests.support.calls import NAMING, Request, body_of, path_of, request_of
from tests.support.database import on_both
from tests.support.holdings import Holder, Holdings, fill, mark_project, mark_tenant, mark_workspace, secret

pytestmark = [pytest.mark.asyncio, on_both]

COMPANY, CLINIC, SITE = (
    "zcompany",
    "zclinic",
    "zsite",
)  # what the victim's tenant, workspace and project are marked with
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def settings() -> Settings:
    return load(
        environ={
            "MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8",
            "MIOSA_ROUTER_LIMITS__PUBLISH_CHECK": "5",
        }
    )


@pytest.fixture
def rates() -> Rates:
    return Rates(workspace=100_000, auth=100_000, anonymous=100_000)


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody who asks for what is the victim's: with a key of that reach, and holdings of their own."""

    name: str
    key: str
    access: Access
    held: Holdings


@dataclass(frozen=True, slots=True)
class Town:
    """The victim, whose tenant's key is `key`, and everybody else."""

    victim: Holdings
    key: str
    askers: tuple[Asker, ...]


@pytest_asyncio.fixture
async def town(services: Services) -> AsyncIterator[Town]:
    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    async with Backend(hello) as program:
        company = await mark_tenant(services, COMPANY)
        clinic = await mark_workspace(services, company, CLINIC)
        site = await mark_project(services, clinic, SITE)
        victim = await fill(services, Holder(SITE, company, clinic, site), program.port)
        next_door = await mark_project(services, clinic, "zneighbour")
        upstairs = await mark_workspace(services, company, "zcolleague")
        others = await mark_tenant(services, "zoutsider")
        abroad = await mark_workspace(services, others, "zabroad")
        holders = {
            "outsider": Holder("zstranger", others, abroad, await mark_project(services, abroad, "zstranger")),
            "colleague": Holder("zupstairs", company, upstairs, await mark_project(services, upstairs, "zupstairs")),
            "neighbour": Holder("znextdoor", company, clinic, next_door),
        }
        scopes = {"outsider": KeyScope.TENANT, "colleague": KeyScope.WORKSPACE, "neighbour": KeyScope.PROJECT}
        askers = []
        for name, holder in holders.items():
            held = await fill(services, holder, program.port)
            scope = scopes[name]
            scope_id = {KeyScope.WORKSPACE: holder.workspace.id, KeyScope.PROJECT: holder.project.id}.get(scope)
            _, key = await services.keys.create(holder.tenant.id, scope=scope, scope_id=scope_id)
            askers.append(Asker(name, key, Access[scope.name], held))
        _, key = await services.keys.create(company.id)
        yield Town(victim, key, tuple(askers))


# By what else than an id a request may select records.
_SELECTING = {
    "domain": f"www.{SITE}.test",
    "external_project_id": f"{SITE}_site",
    "external_user_id": f"{SITE}_user",
    "external_workspace_id": f"{CLINIC}_clinic",
    "name": f"{SITE} Box",
    "preview_domain": f"{SITE}.example",
    "project_slug": f"{SITE}-site",
    "slug": f"{SITE}-box",
    "tags": SITE,
    "workspace_slug": f"{CLINIC}-clinic",
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to get at the victim's records. `how` says where the request names them."""

    row: Operation
    how: str
    request: Request

    def __str__(self) -> str:
        return f"{self.row.method} {self.row.path} {self.how} {self.request.json or ''} {dict(self.request.params)}"


def attempts(row: Operation, own: Holdings, victim: Holdings) -> Iterator[Attempt]:
    """Every way to name the victim's records with one row by their ids, or to find them in a list."""
    body, path = body_of(row, own), path_of(row, own, own)
    if row.path.endswith("/explain"):  # it takes a host, and answers to nothing else
        for host in (f"{SITE}-box.miosa.app", f"www.{SITE}.test", f"nobody.{SITE}.example"):
            yield Attempt(row, "host", Request(row.method, path, params={"host": host}))
        return
    if row.places:
        yield Attempt(row, "place", Request(row.method, path_of(row, victim, victim), body))
    elif row.body is None:
        yield Attempt(row, "bare", Request(row.method, path))
    if len(row.places) > 1:
        yield Attempt(row, "inner place", Request(row.method, path_of(row, own, victim), body))
    foreign = {name: victim.ids[kind] for name, kind in NAMING.items() if victim.ids[kind] != own.ids[kind]}
    for name in foreign.keys() & (row.body.model_fields.keys() if row.body is not None else set()):
        # A flat domain is for one of two.
        rest = {key: value for key, value in (body or {}).items() if row.body is not RegisterFlat or key == "domain"}
        yield Attempt(row, f"body's {name}", Request(row.method, path, {**rest, name: foreign[name]}))
    for name in row.query.model_fields if row.query is not None else ():
        if name in foreign or name in _SELECTING:
            value = foreign.get(name) or _SELECTING[name]
            yield Attempt(row, "query", Request(row.method, path, body, {name: value}))


def plants(row: Operation, own: Holdings) -> Iterator[Attempt]:
    """Every way to say in a body what the victim's records are called."""
    for name in row.body.model_fields if row.body is not None else ():
        if name in _SELECTING:
            body = {**(body_of(row, own) or {}), name: [SITE] if name == "tags" else _SELECTING[name]}
            yield Attempt(row, f"body's {name}", Request(row.method, path_of(row, own, own), body))


def wanted(asker: Asker, attempt: Attempt) -> set[int]:
    """The statuses that the seeds allow. A workspace of others is 403, whoever asks; else another tenant's record is as
    good as none, and one of the asker's own tenant that its key does not reach is refused.
    """
    row, outside = attempt.row, asker.access is Access.TENANT
    if asker.access < row.access:
        return {403}
    match attempt.how:
        case "host":
            return {404}
        case "place" if "by-name" in row.path:
            return {404}
        case "place":
            return {404} if outside and not row.path.startswith("/api/v1/workspaces/") else {403}
        case "inner place" if "domain_id" in row.places and not outside:
            return {403}
        case "inner place" | "body's version_id":
            return {404}
        case "body's project_id" if "{id}/deployments" in row.path:
            return {201}  # the path says which project
        case "body's workspace_id" if "{id}/deployments" in row.path and outside:
            return {422}  # not the workspace of the path's project
        case "query":
            return {200} if outside else {200, 403}
        case "bare":
            return {200}
    return {404} if outside else {403}


def found(asker: Asker, victim: Holdings, attempt: Attempt, answer: Answered, words: tuple[str, ...]) -> list[str]:
    """What the answer has of the victim's that was not sent."""
    holder, own = victim.holder, asker.held
    ids = {held for held in victim.ids.values() if _ID.fullmatch(held)} - set(own.ids.values())
    if own.holder.tenant.id != holder.tenant.id:
        ids.add(holder.tenant.id)
    sent = f"{attempt.request.path} {attempt.request.json} {attempt.request.params}"
    said = f"{answer.headers} {answer.body.decode()}".lower()
    return [word for word in (*words, *ids) if word.lower() in said and word not in sent]


def hidden_from(asker: Asker) -> tuple[str, ...]:
    """The marks that the asker has no business with."""
    return {"outsider": (SITE, CLINIC, COMPANY), "colleague": (SITE, CLINIC), "neighbour": (SITE,)}[asker.name]


async def picture(api: ApiClient, table: list[Operation], town: Town) -> dict[str, bytes]:
    """All of the victim's records as the tenant sees them; counts and lists that others may add to are left out."""
    shown = {}
    for row in table:
        if row.method != "GET" or not row.places or row.auth is not Auth.KEY:
            continue
        if row.path.startswith("/api/v1/workspaces/{id}/") and "preview-domain" not in row.path:
            continue
        if row.path.endswith(
            ("/observability", "/routes", "/request-capture")
        ):  # of the last hour, and hours pass here
            continue
        if row.path.endswith(("/verify", "/diagnose", "/deliveries", "/shares", "/password")) or "by-name" in row.path:
            continue
        request = request_of(row, town.victim)
        answer = await api("GET", request.path, key=town.key)
        assert answer.status == 200, request
        assert SITE in answer.body.decode() or CLINIC in answer.body.decode(), request
        shown[row.path] = re.sub(rb'"computer_count":[0-9]+', b"", answer.body)
    return shown


async def test_no_way_to_others_records(api: ApiClient, clock: ManualClock, town: Town, table: list[Operation]) -> None:
    """Whichever row is asked, in whichever way: refused as the seeds say, or answered with the asker's own."""
    rows = sorted(
        (row for row in table if row.auth is Auth.KEY),
        key=lambda row: -row.path.count("/") if row.method == "DELETE" else -100,  # the inner ones first
    )
    before = await picture(api, table, town)
    wrong = []
    for asker in town.askers:
        marks = hidden_from(asker)
        for attempt in [attempt for row in rows for attempt in attempts(row, asker.held, town.victim)]:
            request = attempt.request
            clock.advance(11)  # a domain is looked at once in ten seconds
            answer = await api(request.method, request.path, key=asker.key, **request.options)
            leaked = found(asker, town.victim, attempt, answer, marks)
            if answer.status not in wanted(asker, attempt) or leaked:
                wrong.append(f"{asker.name}: {attempt}: {answer.status} {leaked or answer.body[:200]!r}")
        for attempt in [attempt for row in rows for attempt in plants(row, asker.held)]:
            request = attempt.request
            answer = await api(request.method, request.path, key=asker.key, **request.options)
            leaked = found(asker, town.victim, attempt, answer, tuple(secret(mark) for mark in marks))
            if answer.status >= 500 or leaked:
                wrong.append(f"{asker.name}: {attempt}: {answer.status} {leaked or answer.body[:200]!r}")
    assert not wrong, "\n".join(wrong)
    assert await picture(api, table, town) == before


async def test_no_way_without_a_key(api: ApiClient, services: Services, town: Town, table: list[Operation]) -> None:
    """Without a key, with one that was revoked, and with a tenant's key where the platform is meant: 401, and nothing."""
    revoked, plain = await services.keys.create(town.victim.holder.tenant.id)
    await services.keys.revoke(revoked.id)
    for row in table:
        request = request_of(row, town.victim)
        keys = [None, plain, "msk_live_nobody", *([town.key] if row.auth is Auth.INTERNAL else [])]
        for key in keys if row.auth is not Auth.NONE else ():
            answer = await api(request.method, request.path, key=key, **request.options)
            assert (answer.status, answer.code) == (401, "unauthorized"), row
            assert not any(mark in answer.body.decode() for mark in (SITE, CLINIC, COMPANY)), row
