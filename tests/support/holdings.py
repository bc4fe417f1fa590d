"""Somebody's whole holdings: one of everything that the API knows, with a mark in every text that can hold one. Names,
slugs, tags and external ids have the mark, which others may guess and send; all other texts have its `secret`, which
they have no way to know.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from router.audit.act import Act
from router.audit.entry import Actor, ActorType, Via
from router.base.ids import new_id
from router.base.key_scopes import KeyScope
from router.certificates.subject import CustomRef, ZoneRef
from router.drains.credentials import Credentials
from router.node.services import Services
from router.records.record import RecordFilter
from router.records.totals import MINUTE
from router.routes.policies import SecretKind, Visibility
from router.routes.records import Kind, Scope, State
from router.tenancy.blocks import BlockKind, Order
from router.tenancy.deployments import SourceType
from router.tenancy.endpoints import EndpointChange
from router.tenancy.events import EventFilter
from router.tenancy.logins import NewLogin
from router.tenancy.ownership import Ownership
from router.tenancy.projects import Project
from router.tenancy.publishing import Plan
from router.tenancy.tenants import Tenant
from router.tenancy.workspaces import Workspace
from tests.support.request_records import row, told, totals
from tests.support.signer import bundle_of

_TIME = 20.0  # seconds for a build
_CAPTURED = "0 1234 100000 0 0 0 4 1 203.0.113.0/24  "  # details of a record
_ports = itertools.count(20_000)


def secret(mark: str) -> str:
    """The word that only the holder of the mark knows."""
    return f"{mark}secret"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds it: a project of a workspace of a tenant. `mark` is a word that may stand in a host."""

    mark: str
    tenant: Tenant
    workspace: Workspace
    project: Project


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is held. `ids` has one id of each kind, and what else stands in paths: names and ports."""

    holder: Holder
    ids: Mapping[str, str]


async def mark_tenant(services: Services, mark: str) -> Tenant:
    """A new tenant with its mark on everything that is the whole tenant's."""
    tenant = await services.tenants.create(f"{mark} Company")
    await services.tenants.update(tenant.id, branding={"product_name": secret(mark)})
    await mark_zone(services, Scope.TENANT, tenant.id, mark)
    await mark_login(services, tenant.id, mark)
    return tenant


async def mark_zone(services: Services, scope: Scope, scope_id: str, mark: str) -> None:
    """A preview domain, with a certificate. Who has issued that is no secret: every visitor sees it, and so do all scopes of the tenant that use
    the domain."""
    zone = f"{mark}.example"
    await services.preview_domains.set(scope, scope_id, zone)
    await services.own_certificates.upload(ZoneRef(scope, scope_id), *bundle_of(f"*.{zone}", issuer=f"{mark} CA"))


async def mark_login(services: Services, tenant_id: str, mark: str) -> None:
    """The tenant's login, which has sessions."""
    login = NewLogin(
        issuer=f"https://{secret(mark)}.example",
        client_id=secret(mark),
        client_secret=secret(mark),
        groups=[secret(mark)],
        groups_claim=secret(mark),
    )
    await services.logins.put(tenant_id, login)


async def mark_workspace(services: Services, tenant: Tenant, mark: str) -> Workspace:
    """A new workspace with its mark on everything that is the whole workspace's."""
    workspace, _ = await services.workspaces.create(
        tenant.id,
        name=f"{mark} Clinic",
        slug=f"{mark}-clinic",
        description=secret(mark),
        metadata={secret(mark): [secret(mark)]},
        external_workspace_id=f"{mark}_clinic",
        external_user_id=f"{mark}_doctor",
    )
    await mark_zone(services, Scope.WORKSPACE, workspace.id, mark)
    return workspace


async def mark_project(services: Services, workspace: Workspace, mark: str) -> Project:
    """A new project with its mark on everything that is the whole project's."""
    project = await services.projects.create(
        workspace.tenant_id,
        workspace_id=workspace.id,
        name=f"{mark} Site",
        slug=f"{mark}-site",
        description=secret(mark),
        metadata={secret(mark): [secret(mark)]},
        external_project_id=f"{mark}_site",
    )
    await mark_zone(services, Scope.PROJECT, project.id, mark)
    return project


async def fill(services: Services, holder: Holder, port: int) -> Holdings:
    """One of everything in the holder's project; the sandbox's program listens on `port` of loopback."""
    mark, hidden, tenant_id = holder.mark, secret(holder.mark), holder.tenant.id
    into = Ownership(
        project_id=holder.project.id,
        external_workspace_id=f"{mark}_clinic",
        external_user_id=f"{mark}_user",
        external_project_id=f"{mark}_site",
    )
    machine: Any = {
        "metadata": {hidden: [hidden]},
        "tags": (mark,),
        "template_type": hidden,
        "visibility": Visibility.PRIVATE,  # so that a password may be set
    }
    sandbox = await services.resources.create(
        Kind.SANDBOX, tenant_id, ownership=into, slug=f"{mark}-box", name=f"{mark} Box", default_port=3000, **machine
    )
    shown_port = next(_ports)
    await services.resources.endpoints.put(
        EndpointChange(
            resource_id=sandbox.id,
            address="127.0.0.1",
            generation=hidden,
            state=State.RUNNING,
            ports={3000: port, shown_port: port},
        )
    )
    order = Order(reason=secret(mark))
    block, _ = await services.blocks.block(BlockKind.HOST, f"{mark}-blocked.example", order)
    registered, _ = await services.resources.put(
        new_id(),
        kind=Kind.SANDBOX,
        slug=f"{mark}-unit",
        tenant_id=tenant_id,
        workspace_id=holder.workspace.id,
        project_id=holder.project.id,
        name=f"{mark} Unit",
    )
    await services.resources.endpoints.put(
        EndpointChange(resource_id=registered.id, address="127.0.0.1", generation=hidden, state=State.STOPPED)
    )
    preview, _ = await services.previews.put(
        sandbox.id, shown_port, name=f"{mark} Web", metadata={hidden: hidden}, host_mode=f"{hidden}.example"
    )
    computer = await services.resources.create(
        Kind.COMPUTER, tenant_id, ownership=into, slug=f"{mark}-desk", name=f"{mark} Desk", **machine
    )
    admin, _ = await services.previews.put(computer.id, next(_ports), name=f"{mark} Admin", metadata={hidden: hidden})
    secrets = services.preview_secrets
    tokens = [
        (await secrets.create(shown.resource_id, shown.id, SecretKind.PROGRAM, name=f"{mark} CI"))[0]
        for shown in (preview, admin)
    ]
    share, _ = await secrets.create(sandbox.id, None, SecretKind.LINK)
    deployment = await services.deployments.create(
        tenant_id,
        f"{mark} Shop",
        ownership=into,
        slug=f"{mark}-shop",
        source={
            "source_type": SourceType.GIT,
            "repo_url": f"https://{hidden}.example/repo",
            "branch": hidden,
            "build_command": f"make {hidden}",
            "run_command": f"run {hidden}",
        },
        metadata={hidden: [hidden]},
    )
    plan = Plan(
        source_sandbox_id=sandbox.id,
        output_path=f"{hidden}/dist",
        entrypoint=f"{hidden}.html",
        data_services=(hidden,),
        health_check_path=f"/{hidden}",
    )
    versions = []
    for _ in range(2):
        started = await services.publishing.start(deployment.id, plan, by=hidden)
        assert await services.publishing.wait(started.id, _TIME)
        versions.append(await services.releases.version(deployment.id, started.id))
        assert versions[-1].state == "ready"
    older, version = versions
    release = await services.releases.current(deployment.id, version.environment)
    assert release is not None
    variable = f"{mark.upper()}_URL"
    await services.env.set(deployment.id, {variable: hidden}, environment=version.environment, secret=())
    of_computer = await services.custom_domains.register(computer.id, f"desk.{mark}.test")
    of_deployment = await services.custom_domains.register(deployment.id, f"www.{mark}.test")
    another = await services.custom_domains.register(deployment.id, f"shop.{mark}.test")
    (event,) = (await services.events.list(EventFilter(tenant_id=tenant_id, domain_id=another.id))).items
    await services.own_certificates.upload(CustomRef(another.id), *bundle_of(f"shop.{mark}.test", issuer=hidden))
    await services.own_certificates.request(CustomRef(another.id))
    webhook = await services.webhooks.create(
        tenant_id,
        url=f"https://{hidden}.example/events",
        event_types=["domain.*"],
        description=hidden,
        project_id=holder.project.id,
    )
    delivery = await services.webhooks.test(webhook.id)
    for enabled in (False, True):  # which gives the delivery up: it may be replayed then
        await services.webhooks.update(webhook.id, enabled=enabled)
    issuer = await services.trusted_issuers.create(
        tenant_id,
        name=hidden,
        issuer=f"https://{hidden}.example",
        audience=hidden,
        claims={"sub": hidden},
        project_id=holder.project.id,
    )
    drain = await services.log_drains.create(
        tenant_id, name=hidden, url=f"https://{hidden}.example/logs", credentials=Credentials(headers={"X-Key": hidden})
    )
    signed_in = await services.sessions.start(
        await services.logins.get(tenant_id), subject=hidden, email=f"me@{hidden}.example", groups=[hidden]
    )
    assert signed_in is not None
    hosts = {sandbox.id: f"{mark}-box.miosa.app", computer.id: of_computer.fqdn, deployment.id: another.fqdn}
    logged = await _visit(services, tenant_id, hosts, f"/{hidden}")
    for captured in hosts:
        await services.request_captures.start(captured, seconds=3600, by=hidden)
    key, _ = await services.keys.create(
        tenant_id, scope=KeyScope.PROJECT, scope_id=holder.project.id, name=f"{mark} key"
    )
    entry = await _act(services, holder, sandbox.id)
    return Holdings(
        holder,
        {
            "entry": entry,
            "tenant": tenant_id,
            "workspace": holder.workspace.id,
            "project": holder.project.id,
            "key": key.id,
            "event": event.id,
            "sandbox": sandbox.id,
            "sandbox name": f"{mark} Box",
            "request log": str(logged),
            "preview": preview.id,
            "preview token": tokens[0].id,
            "port token": tokens[1].id,
            "share": share.id,
            "session": signed_in[0].id,
            "computer": computer.id,
            "port": str(admin.port),
            "sandbox port": str(shown_port),
            "deployment": deployment.id,
            "version": version.id,
            "older version": older.id,
            "registered": registered.id,
            "release": release.id,
            "build": version.build_id or "",
            "variable": variable,
            "issuer": issuer.id,
            "webhook": webhook.id,
            "drain": drain.id,
            "delivery": delivery.id,
            "block": block.id,
            "computer's domain": of_computer.id,
            "deployment's domain": of_deployment.id,
            "domain": another.id,
        },
    )


async def _act(services: Services, holder: Holder, sandbox_id: str) -> str:
    """The entry of the audit log that somebody has made with a key of the project's."""
    hidden = secret(holder.mark)
    act = Act(
        actor=Actor(type=ActorType.API_KEY, id=hidden, name=hidden),
        via=Via.API,
        action="sandbox.update",
        resource_id=sandbox_id,
        resource_name=f"{holder.mark} Box",
        tenant_id=holder.tenant.id,
        workspace_id=holder.workspace.id,
        project_id=holder.project.id,
        request_id=hidden,
        user_agent=hidden,
    )
    services.audit.ended(act, 200)
    await services.audit.flush()
    return act.id


async def _visit(services: Services, tenant_id: str, hosts: Mapping[str, str], path: str) -> int:
    """Have it recorded, where requests are, that somebody asked for this path of each resource under its host, and captured of the first;
    the id of that record."""
    kept, codec = services.request_logs._kept, services.request_logs._codec
    if kept is None or codec is None:
        return 0
    at = int(services.request_logs._clock.now().timestamp() * 1e6)
    tenant = UUID(tenant_id).bytes
    ids = [UUID(one).bytes for one in hosts]
    rows = [
        row(number, tenant=tenant, resource=resource, host=host, path=path, at=at, details=_CAPTURED)
        for number, (resource, host) in enumerate(zip(ids, hosts.values(), strict=True))
    ]
    numbers = [totals(at // MINUTE * MINUTE, tenant=tenant, resource=one, route=f"GET {path}") for one in ids]
    await kept.append(rows, numbers)
    first, host = next(iter(hosts.items()))
    request = {"method": "GET", "target": path, "headers": [["Host", host, False]], "body": "", "body_size": 0}
    await kept.keep([codec.stored(told(tenant=tenant_id, resource=first, host=host, at=at / 1e6, request=request))])
    found = await kept.find(RecordFilter(tenant=tenant, resource=ids[0]), limit=1)
    return found[0].id
