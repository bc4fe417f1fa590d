"""Registration: how a name becomes a tenant's custom domain, in a transaction that holds all names."""

from dataclasses import dataclass
from datetime import datetime

from router.base.ids import new_id
from router.domains.checks.challenge import new_token
from router.domains.checks.schedule import begin
from router.domains.claims import (
    taken,
)
from router.domains.custom import CustomDomain, emit_event, moved
from router.domains.owners import Owner
from router.domains.redirects import DEFAULT_STATUS, STATUSES, RedirectPolicy, redirect_target
from router.domains.transaction import Tx
from router.errors import VALIDATION_FAILED, RouterError
from router.routes.records import DomainStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a registration asks for beside the name."""

    resource_id: str
    redirect_policy: str = RedirectPolicy.NONE.value
    redirect_status: int = DEFAULT_STATUS
    external_workspace_id: str | None = None
    external_user_id: str | None = None
    external_project_id: str | None = None


async def own_domain(tx: Tx, fqdn: str, tenant_id: str) -> CustomDomain | None:
    """The tenant's own domain in whose place it may register the name. Raises RouterError CONFLICT where it is in use.

    A domain whose resource is deleted still holds its name: DNS still leads here, so the tenant that registered it next
    would be verified at once. Only the tenant itself may use it again.
    """
    current = await tx.custom_domains.by_fqdn(fqdn)
    if current is None or current.tenant_id != tenant_id:
        return None
    if await in_use(tx, current):
        raise taken("domain")
    return current


async def in_use(tx: Tx, domain: CustomDomain) -> bool:
    """Whether the domain still has a resource."""
    holder = await tx.owners.resource(domain.resource_id)
    return holder is not None and holder.deleted_at is None


async def give_up(tx: Tx, domain: CustomDomain, now: datetime) -> None:
    """The end of a domain whose tenant uses the name for another resource."""
    gone = moved(domain, DomainStatus.REMOVED, now, removed_at=now)
    await tx.custom_domains.save(gone)
    await emit_event(tx, gone, "removed", now)


async def make_custom(
    tx: Tx,
    holder: Owner,
    fqdn: str,
    wanted: Wanted,
    now: datetime,
    *,
    target: str,
    token: str | None = None,
    at_once: bool = False,
) -> CustomDomain:
    """Store a new domain of a name that is free. Raises RouterError VALIDATION_FAILED (`redirect_policy`).

    `token` is what the owner has published already; `at_once` is whether it is checked now. Without one, the tenant's
    last token for this name holds: a name that moves to a new resource keeps its records.
    """
    domain = CustomDomain(
        id=new_id(),
        fqdn=fqdn,
        resource_id=holder.id,
        kind=holder.kind,
        tenant_id=holder.tenant_id,
        workspace_id=holder.workspace_id,
        project_id=holder.project_id,
        verification_target=target,
        token=token or await tx.custom_domains.last_token(fqdn, holder.tenant_id) or new_token(),
        proof=new_token(),
        check=begin(now, at_once=at_once),
        redirect_policy=RedirectPolicy(wanted.redirect_policy),
        redirect_status=wanted.redirect_status,
        external_workspace_id=wanted.external_workspace_id or holder.external_workspace_id,
        external_user_id=wanted.external_user_id or holder.external_user_id,
        external_project_id=wanted.external_project_id or holder.external_project_id,
        created_at=now,
        updated_at=now,
    )
    await check_circle(tx, domain)
    await tx.custom_domains.add(domain)
    await emit_event(tx, domain, "registered", now)
    return domain


def parse_policy(policy: str | None, status: int) -> RedirectPolicy:
    wrong: dict[str, list[str]] = {}
    if policy is not None and policy not in set(RedirectPolicy):
        wrong["redirect_policy"] = [f"must be one of {', '.join(RedirectPolicy)}"]
    if status not in STATUSES:
        wrong["redirect_status"] = [f"must be one of {', '.join(map(str, sorted(STATUSES)))}"]
    if wrong:
        raise RouterError(VALIDATION_FAILED, fields=wrong)
    return RedirectPolicy(policy or "none")


async def check_circle(tx: Tx, domain: CustomDomain) -> None:
    """Two names must not send their visitors to each other."""
    if await redirects_back(tx, domain.fqdn, domain.redirect_policy):
        problem = f"{domain.redirect_to} already redirects to this domain"
        raise RouterError(VALIDATION_FAILED, fields={"redirect_policy": [problem]})


async def redirects_back(tx: Tx, fqdn: str, policy: RedirectPolicy) -> bool:
    """Whether the name that visitors would be sent to sends them here."""
    target = redirect_target(fqdn, policy)
    other = None if target is None else await tx.custom_domains.by_fqdn(target)
    return other is not None and other.redirect_to == fqdn
