"""/deployments: their records, and what the official client does with deployments."""

import asyncio
from typing import Any

import miosa
import pytest
from miosa.resources.workspaces import AsyncWorkspaces, Workspaces
from miosa.types import DeploymentSourceType, DeploymentState, DeploymentVersionState

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.node.services import Services
from router.routes.records import Kind, Scope, State
from router.settings import Settings, load
from router.tenancy.ownership import Ownership
from tests.contract.api.conftest import INTERNAL_TOKEN
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.checks import verify_custom
from tests.support.publishing import program, sandbox_of
from tests.support.routes import Routes

pytestmark = pytest.mark.asyncio

UNKNOWN = new_id()


@pytest.fixture
def settings() -> Settings:
    """Programs run on loopback here."""
    networks = {"MIOSA_ROUTER_BACKEND_NETWORKS": "127.0.0.0/8"}
    return load(environ={"MIOSA_ROUTER_INTERNAL_TOKEN": INTERNAL_TOKEN, **networks})


async def deployment(services: Services, account: Account, name: str = "Site", **options: Any) -> str:
    """A deployment in the account's workspace and project; its id."""
    into = Ownership(project_id=account.project.id)
    return (await services.deployments.create(account.tenant.id, name, ownership=into, **options)).id


def names(answer: Any) -> list[str]:
    return [item["name"] for item in answer.json["data"]]


async def test_create(api: ApiClient, acme: Account) -> None:
    """Every documented field is kept and shown; nothing is on air yet."""
    body = {
        "name": "Smile Dental",
        "source_type": "git",
        "repo_url": "https://git.example/smile.git",
        "branch": "main",
        "build_command": "make",
        "run_command": "./serve",
        "auto_deploy": False,
        "metadata": {"tier": "gold"},
        "external_workspace_id": "dental-office-123",
        "external_user_id": "dr-smith-456",
        "external_project_id": "site-789",
    }
    answer = await api("POST", "/api/v1/deployments", json=body)
    assert answer.status == 201
    assert set(answer.json) == {"data"}
    made = answer.json["data"]
    assert {name: made[name] for name in body} == body
    assert (made["slug"], made["auto_subdomain"]) == ("smile-dental", "smile-dental")
    assert (made["state"], made["status"], made["port"]) == ("pending", "pending", None)
    assert made["public_url"] == made["url"] == made["fallback_url"] == "https://smile-dental.miosa.app"
    assert (made["tenant_id"], made["workspace_id"]) == (acme.tenant.id, acme.default.id)
    assert (made["workspace_slug"], made["project_slug"]) == (acme.default.slug, acme.default_project.slug)
    for nothing in ("active_version_id", "active_release_id", "current_build_id", "custom_domain_id", "destroyed_at"):
        assert made[nothing] is None
    assert (await api("GET", f"/api/v1/deployments/{made['id']}")).json == answer.json
    again = (await api("POST", "/api/v1/deployments", json={"name": "Smile Dental"})).json["data"]
    assert (again["slug"], again["auto_deploy"], again["metadata"]) == ("smile-dental-2", True, {})


async def test_create_in_a_project(api: ApiClient, acme: Account, globex: Account) -> None:
    """The path says which project; what the project is attributed to is inherited."""
    path = f"/api/v1/projects/{acme.project.id}/deployments"
    answer = await api("POST", path, json={"name": "Site"})
    assert answer.status == 201
    made = answer.json["data"]
    assert (made["workspace_id"], made["project_id"]) == (acme.workspace.id, acme.project.id)
    assert made["external_workspace_id"] == "acme_clinic"
    assert names(await api("GET", path)) == ["Site"]
    assert names(await api("GET", f"/api/v1/projects/{acme.default_project.id}/deployments")) == []
    answer = await api("POST", path, json={"name": "Site", "workspace_id": acme.default.id})
    assert (answer.status, answer.fields) == (422, {"project_id": ["is in another workspace"]})
    for unknown in (globex.project.id, UNKNOWN):
        answer = await api("POST", f"/api/v1/projects/{unknown}/deployments", json={"name": "Site"})
        assert (answer.status, answer.code) == (404, "project_not_found")
    path = f"/api/v1/projects/{acme.default_project.id}/deployments"
    for key in (acme.workspace_key, acme.project_key):
        assert (await api("POST", path, json={"name": "Site"}, key=key)).status == 403
        assert (await api("GET", path, key=key)).status == 403


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"name": ["can't be blank"]}),
        ({"name": None}, {"name": ["can't be blank"]}),
        ({"name": " "}, {"name": ["can't be blank"]}),
        ({"name": "x" * 121}, {"name": ["should be at most 120 character(s)"]}),
        ({"name": "x", "slug": "No"}, {"slug": ["is reserved or not valid in a host name"]}),
        ({"name": "x", "slug": "api"}, {"slug": ["is reserved or not valid in a host name"]}),
        (
            {"name": "x", "source_type": "ftp"},
            {"source_type": ["is invalid: must be 'repo', 'git', 'sandbox', 'upload' or 'forge'"]},
        ),
        ({"name": "x", "auto_deploy": "yes"}, {"auto_deploy": ["is invalid"]}),
        ({"name": "x", "repo_url": "u" * 2001}, {"repo_url": ["should be at most 2000 character(s)"]}),
        ({"name": "x", "branch": "b" * 256}, {"branch": ["should be at most 255 character(s)"]}),
        ({"name": "x", "metadata": []}, {"metadata": ["is invalid"]}),
    ],
)
async def test_what_create_refuses(api: ApiClient, body: dict[str, Any], fields: dict[str, list[str]]) -> None:
    """Wrong fields are named."""
    answer = await api("POST", "/api/v1/deployments", json=body)
    assert (answer.status, answer.code, answer.fields) == (422, "VALIDATION_FAILED", fields)


async def test_a_slug_of_ones_own(api: ApiClient, acme: Account, globex: Account) -> None:
    """It is a part of the host, so there is one of each on the platform."""
    body = {"name": "Site", "slug": "smile"}
    assert (await api("POST", "/api/v1/deployments", json=body)).json["data"]["slug"] == "smile"
    answer = await api("POST", "/api/v1/deployments", json=body, key=globex.key)
    assert (answer.status, answer.fields) == (409, {"slug": ["has already been taken"]})


async def test_update(api: ApiClient, acme: Account, services: Services, routes: Routes) -> None:
    """What is not sent stays; null clears what may be empty; the hosts of an old slug answer 410."""
    site = await deployment(services, acme, source={"branch": "main", "build_command": "make"})
    path = f"/api/v1/deployments/{site}"
    before = (await api("GET", path)).json["data"]
    changes = {"name": "New", "branch": "next", "run_command": "./go", "auto_deploy": False, "metadata": {"a": 1}}
    answer = await api("PATCH", path, json=changes)
    assert answer.status == 200
    assert answer.json["data"] == {**before, **changes, "updated_at": answer.json["data"]["updated_at"]}
    answer = await api("PATCH", path, json={"build_command": None, "slug": "new-slug"})
    assert (answer.json["data"]["build_command"], answer.json["data"]["slug"]) == (None, "new-slug")
    assert (await api("GET", path)).json == answer.json
    assert await routes.leads_to("site.miosa.app") == "resource_deleted"
    for body, fields in (
        ({"name": None}, {"name": ["can't be blank"]}),
        ({"name": ""}, {"name": ["can't be blank"]}),
        ({"branch": 5}, {"branch": ["is invalid"]}),
    ):
        answer = await api("PATCH", path, json=body)
        assert (answer.status, answer.fields) == (422, fields)
    assert (await api("PATCH", path)).status == 200, "nothing is no change"
    answer = await api("PATCH", path, json={"auto_deploy": None})
    assert answer.json["data"]["auto_deploy"] is False, "it is yes or no"


async def test_delete(api: ApiClient, acme: Account, services: Services, routes: Routes) -> None:
    """It is gone for good: its host answers 410, its domains are removed, its versions are no longer shown."""
    site = await deployment(services, acme)
    domain = await services.custom_domains.register(site, "www.acme.example")
    await verify_custom(services, domain.id)
    path = f"/api/v1/deployments/{site}"
    answer = await api("DELETE", path)
    assert (answer.status, answer.json["data"]["id"]) == (200, site)
    assert answer.json["data"]["destroyed_at"] is not None
    for gone in ("", "/versions", "/builds", "/releases", "/env", "/domains"):
        answer = await api("GET", path + gone)
        assert (answer.status, answer.code) == (404, "deployment_not_found")
    assert await routes.leads_to("site.miosa.app") == "resource_deleted"
    assert await routes.leads_to("www.acme.example") == "host_not_found"
    assert (await api("GET", f"/api/v1/custom-domains/{domain.id}")).status == 404
    assert names(await api("GET", "/api/v1/deployments")) == []


async def test_list(api: ApiClient, acme: Account, globex: Account, services: Services, clock: ManualClock) -> None:
    """The newest first, by every condition; nothing of another tenant, no sandbox, no computer."""
    await deployment(services, globex, "Theirs")
    await sandbox_of(services, acme, name="Box")
    sites = {}
    for name, state in (("One", State.PROVISIONING), ("Two", State.RUNNING), ("Three", State.ERROR)):
        clock.advance(1)
        sites[name] = await deployment(services, acme, name, external_user_id=f"u-{name}", external_project_id="p")
        await services.resources.patch(sites[name], state=state)
    clock.advance(1)
    await services.deployments.create(acme.tenant.id, "Four", external_workspace_id="w-4")
    path = "/api/v1/deployments"
    answer = await api("GET", path)
    assert names(answer) == ["Four", "Three", "Two", "One"]
    assert answer.json["page"] == {"page": 1, "page_size": 20, "total": 4, "next_cursor": None}
    for query, wanted in (
        (f"project_id={acme.project.id}", ["Three", "Two", "One"]),
        (f"workspace_id={acme.default.id}", ["Four"]),
        ("state=pending", ["Four", "One"]),
        ("state=running", ["Two"]),
        ("status=failed", ["Three"]),
        ("state=stopped", []),
        ("external_user_id=u-Two", ["Two"]),
        ("external_project_id=p&state=failed", ["Three"]),
        ("external_workspace_id=w-4", ["Four"]),
        ("page=2&page_size=3", ["One"]),
        ("limit=2", ["Four", "Three"]),
    ):
        assert names(await api("GET", f"{path}?{query}")) == wanted, query
    workspace = f"/api/v1/workspaces/{acme.workspace.id}/deployments"
    assert names(await api("GET", workspace)) == ["Three", "Two", "One"]
    assert names(await api("GET", f"{workspace}?state=running")) == ["Two"]
    assert (await api("GET", f"/api/v1/workspaces/{globex.workspace.id}/deployments")).status == 403
    for wrong in ("state=nice", "limit=0", "limit=two", "page=0", "cursor=x", "project_id=x"):
        answer = await api("GET", f"{path}?{wrong}")
        assert (answer.status, list(answer.fields)) == (422, [wrong.partition("=")[0]])
    assert (await api("GET", f"{path}?limit=1000")).json["page"]["page_size"] == 100


async def test_cursor(api: ApiClient, acme: Account, services: Services, clock: ManualClock) -> None:
    """Reading on by cursor meets each deployment once, those of the same instant too, whatever is made meanwhile."""
    sites = set()
    for number in range(7):
        clock.advance(number % 2)
        sites.add(await deployment(services, acme, f"Site {number}"))
    seen: list[str] = []
    query = "limit=3"
    for size in (3, 3, 1):
        answer = (await api("GET", f"/api/v1/deployments?{query}")).json
        assert len(answer["data"]) == size
        seen += [item["id"] for item in answer["data"]]
        query = f"limit=3&cursor={answer['page']['next_cursor']}"
        clock.advance(1)
        await deployment(services, acme, "Later")
    assert answer["page"]["next_cursor"] is None
    assert len(seen) == 7
    assert set(seen) == sites


async def test_scopes(api: ApiClient, acme: Account, globex: Account, services: Services) -> None:
    """Another tenant's deployment is not there; outside of a narrow key it is refused; no key, no answer."""
    inside = await deployment(services, acme)
    outside = (await services.deployments.create(acme.tenant.id, "Outside")).id
    theirs = await deployment(services, globex, "Theirs")
    calls = [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/versions"),
        ("GET", f"/versions/{UNKNOWN}"),
        ("POST", f"/versions/{UNKNOWN}/promote"),
        ("POST", "/rollback"),
        ("GET", "/releases"),
        ("GET", f"/releases/{UNKNOWN}"),
        ("POST", f"/releases/{UNKNOWN}/promote"),
        ("GET", "/builds"),
        ("GET", f"/builds/{UNKNOWN}"),
        ("GET", "/env"),
        ("DELETE", "/env/NAME"),
        ("GET", "/domains"),
    ]
    for method, path in calls:
        foreign = await api(method, f"/api/v1/deployments/{theirs}{path}")
        assert (foreign.status, foreign.code) == (404, "deployment_not_found")
        assert (await api(method, f"/api/v1/deployments/nonsense{path}")).status == 404
        assert (await api(method, f"/api/v1/deployments/{outside}{path}", key=None)).status == 401
        for key in (acme.workspace_key, acme.project_key):
            assert (await api(method, f"/api/v1/deployments/{outside}{path}", key=key)).status == 403
    for body, path in (({"source_sandbox_id": UNKNOWN}, "/publish"), ({"env": {"A": "b"}}, "/env")):
        assert (await api("POST", f"/api/v1/deployments/{theirs}{path}", json=body)).status == 404
        answer = await api("POST", f"/api/v1/deployments/{outside}{path}", json=body, key=acme.project_key)
        assert answer.status == 403
    for key in (acme.workspace_key, acme.project_key):
        assert (await api("GET", f"/api/v1/deployments/{inside}", key=key)).status == 200
        assert [item["id"] for item in (await api("GET", "/api/v1/deployments", key=key)).json["data"]] == [inside]
        answer = await api("POST", "/api/v1/deployments", json={"name": "x", "workspace_id": acme.default.id}, key=key)
        assert answer.status == 403
        made = (await api("POST", "/api/v1/deployments", json={"name": "x"}, key=key)).json["data"]
        assert made["workspace_id"] == acme.workspace.id
        assert (await api("DELETE", f"/api/v1/deployments/{made['id']}", key=key)).status == 200
    other = await deployment(services, acme, "Other")
    version = (await services.releases.versions(other)).items
    assert version == ()


async def test_what_belongs_to_another_deployment(api: ApiClient, acme: Account, services: Services) -> None:
    """Versions, releases and builds are found only under their own deployment."""
    first, second = await deployment(services, acme, "First"), await deployment(services, acme, "Second")
    sandbox = await sandbox_of(services, acme)
    async with program(services, sandbox.id):
        path = f"/api/v1/deployments/{first}"
        made = (await api("POST", f"{path}/publish", json={"source_sandbox_id": sandbox.id})).json["data"]
    for noun in ("version", "release", "build"):
        of_it = f"{noun}s/{made[noun]['id']}"
        assert (await api("GET", f"/api/v1/deployments/{first}/{of_it}")).json == {"data": made[noun]}
        answer = await api("GET", f"/api/v1/deployments/{second}/{of_it}")
        assert (answer.status, answer.code) == (404, f"{noun}_not_found")
    for path in (f"versions/{made['version']['id']}/promote", f"releases/{made['release']['id']}/promote"):
        assert (await api("POST", f"/api/v1/deployments/{second}/{path}")).status == 404
    answer = await api("POST", f"/api/v1/deployments/{second}/rollback", json={"version_id": made["version"]["id"]})
    assert answer.status == 404


async def test_a_deployment_of_the_platform(api: ApiClient, acme: Account, services: Services, routes: Routes) -> None:
    """One that the platform registered and runs itself is shown with defaults, and can be published to."""
    site, _ = await services.resources.put(
        new_id(), kind=Kind.DEPLOYMENT, slug="theirs", tenant_id=acme.tenant.id, default_port=80
    )
    shown = (await api("GET", f"/api/v1/deployments/{site.id}")).json["data"]
    assert (shown["name"], shown["auto_deploy"], shown["repo_url"], shown["port"]) == ("theirs", True, None, 80)
    answer = await api("PATCH", f"/api/v1/deployments/{site.id}", json={"branch": "main"})
    assert (answer.json["data"]["branch"], answer.json["data"]["auto_deploy"]) == ("main", True)


async def test_urls_follow_the_domain_that_holds(api: ApiClient, acme: Account, services: Services) -> None:
    """On the project's preview domain as soon as it is set; the platform's URL stays beside it."""
    site = await deployment(services, acme)
    await services.preview_domains.set(Scope.PROJECT, acme.project.id, "preview.acme.example")
    shown = (await api("GET", f"/api/v1/deployments/{site}")).json["data"]
    assert (shown["public_url"], shown["fallback_url"]) == (
        "https://site.preview.acme.example",
        "https://site.miosa.app",
    )
    assert (shown["url_class"], shown["stable_for_embedding"]) == ("custom", False)


async def test_create_is_done_once(api: ApiClient) -> None:
    """The same Idempotency-Key again gets the same answer, and no second deployment."""
    headers = {"Idempotency-Key": new_id()}
    first = await api("POST", "/api/v1/deployments", json={"name": "Site"}, headers=headers)
    again = await api("POST", "/api/v1/deployments", json={"name": "Site"}, headers=headers)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert names(await api("GET", "/api/v1/deployments")) == ["Site"]


async def test_client(client: miosa.Miosa, acme: Account, services: Services) -> None:
    """The official client, one call after the other."""
    first, second = await sandbox_of(services, acme), await sandbox_of(services, acme, name="Second")
    async with program(services, first.id), program(services, second.id):
        await asyncio.to_thread(_use, client, first.id, second.id, acme)


def _use(client: miosa.Miosa, first: str, second: str, acme: Account) -> None:
    deployments = client.deployments
    made = deployments.create(
        name="Smile", repo_url="https://git.example/x.git", branch="main", external_workspace_id="acme_clinic"
    )
    assert (made.state, made.workspace_id, made.branch) == (DeploymentState.PENDING, acme.workspace.id, "main")
    docker = deployments.create_docker_deploy(name="Docker")
    assert docker.metadata == {"deployment_product": "docker_deploy"}
    deployments.delete(docker.id)
    assert deployments.get(made.id) == made
    assert [item.id for item in deployments.list(state="pending", limit=5)] == [made.id]
    assert deployments.list(external_user_id="nobody") == []
    changed = deployments.update(made.id, name="Smiles", auto_deploy=False, build_command="make")
    assert (changed.name, changed.auto_deploy, changed.build_command) == ("Smiles", False, "make")

    published = deployments.publish(made.id, source_sandbox_id=first, output_path="dist", promote=True)
    assert (published.promoted, published.version.state) == (True, DeploymentVersionState.READY)
    assert published.deployment.state is DeploymentState.RUNNING
    assert published.release is not None
    assert published.release.deployment_version_id == published.version.id
    bridged = deployments.publish_from_sandbox(second, deployment_id=made.id)
    assert (bridged["promoted"], bridged["version"]["version_number"]) == (True, 2)
    named = deployments.publish_from_sandbox(second, name="Other")
    assert named["deployment"]["name"] == "Other"
    assert client.sandboxes.get(second).deploy(name="Other", port=3000)["deployment_id"] == named["deployment_id"]

    versions = deployments.versions(made.id)
    assert [version.version_number for version in versions.list()] == [2, 1]
    assert [version.version_number for version in versions.list(state="ready", limit=1, cursor="2")] == [1]
    assert versions.get(published.version.id).promoted_at is not None
    assert deployments.rollback(made.id).active_version_id == published.version.id
    assert versions.promote(bridged["version"]["id"]).active_version_id == bridged["version"]["id"]
    assert deployments.rollback(made.id, version_id=published.version.id).active_version_id == published.version.id

    releases = deployments.releases(made.id)
    assert [release.state for release in releases.list()] == ["active", *["superseded"] * 4]
    assert releases.get(published.release.id).kind == "sandbox_backed"
    assert releases.promote(bridged["release"]["id"]).active_version_id == bridged["version"]["id"]

    builds = deployments.list_builds(made.id)
    assert [build.state for build in builds] == ["succeeded", "succeeded"]
    assert deployments.get_build(made.id, builds[0].id) == builds[0]

    assert deployments.set_env(made.id, {"TOKEN": "t", "MODE": "x"})[0]["key"] == "MODE"
    assert {row["key"]: row["value"] for row in deployments.list_env(made.id)} == {"TOKEN": "t", "MODE": "x"}
    staged = deployments.set_env(made.id, {"MODE": "y"}, environment="staging")
    assert [(row["environment"], row["value"]) for row in staged] == [("staging", "y")]

    domains = deployments.domains(made.id)
    domain = domains.add("www.smile.example", redirect_policy="www_to_apex")
    assert (domain["redirect_policy"], domain["deployment_id"]) == ("www_to_apex", made.id)
    assert [item["fqdn"] for item in domains.list()] == ["www.smile.example"]
    with pytest.raises(miosa.MiosaError, match="CNAME not found"):
        domains.verify(domain["id"])
    domains.delete(domain["id"])
    assert domains.list() == []

    listed = Workspaces(client._transport).list_deployments(acme.workspace.id)
    assert {item["name"] for item in listed} == {"Smiles", "Other"}
    assert deployments.prove(made.id)["ok"] is True
    deployments.delete(made.id)
    with pytest.raises(miosa.NotFoundError):
        deployments.get(made.id)
    with pytest.raises(miosa.ValidationError):
        deployments.create(name="", source_type=DeploymentSourceType.GIT)


async def test_async_client(async_client: miosa.AsyncMiosa, acme: Account, services: Services) -> None:
    """The official client's other half."""
    deployments = async_client.deployments
    made = await deployments.create(name="Smile", external_workspace_id="acme_clinic")
    assert (await deployments.get(made.id)) == made
    assert [item.id for item in await deployments.list(limit=1)] == [made.id]
    assert (await deployments.update(made.id, branch="next")).branch == "next"
    first, second = await sandbox_of(services, acme), await sandbox_of(services, acme, name="Second")
    async with program(services, first.id), program(services, second.id):
        published = await deployments.publish(made.id, source_sandbox_id=first.id)
        bridged = await deployments.publish_from_sandbox(second.id, deployment_id=made.id)
    assert (published.promoted, bridged["promoted"]) == (True, True)
    assert published.release is not None
    versions = deployments.versions(made.id)
    assert [version.version_number for version in await versions.list()] == [2, 1]
    assert (await versions.get(published.version.id)).version_number == 1
    assert (await deployments.rollback(made.id)).active_version_id == published.version.id
    assert (await versions.promote(bridged["version"]["id"])).active_version_id == bridged["version"]["id"]
    releases = deployments.releases(made.id)
    assert len(await releases.list()) == 4
    assert (await releases.get(published.release.id)).port == 3000
    assert (await releases.promote(published.release.id)).active_version_id == published.version.id
    builds = await deployments.list_builds(made.id)
    assert (await deployments.get_build(made.id, builds[0].id)).state == "succeeded"
    assert (await deployments.set_env(made.id, {"A": "b"}))[0]["value"] == "b"
    assert (await deployments.list_env(made.id))[0]["key"] == "A"
    domains = deployments.domains(made.id)
    domain = await domains.add("smile.example")
    assert [item["id"] for item in await domains.list()] == [domain["id"]]
    with pytest.raises(miosa.MiosaError, match="CNAME not found"):
        await domains.verify(domain["id"])
    await domains.delete(domain["id"])
    assert [
        item["id"] for item in await AsyncWorkspaces(async_client._transport).list_deployments(acme.workspace.id)
    ] == [made.id]
    await deployments.delete(made.id)
    assert await deployments.list() == []
