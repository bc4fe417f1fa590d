"""`domains`: custom domains, registered, verified, diagnosed and removed."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.base.clock import iso
from router.base.paging import Listing
from router.cli.options import PAGE, AsJson, Config, Limit, OneTenant, Page, group, time_text, uuid, window
from router.cli.output import show, show_list
from router.cli.run_command import reported, tenant_id, with_services
from router.errors import VALIDATION_FAILED, RouterError

if TYPE_CHECKING:
    from router.certificates.own import OwnCertificate
    from router.certificates.zone_status import ZoneStatus
    from router.domains.custom import CustomDomain
    from router.domains.diagnosis.diagnoser import Diagnosis
    from router.domains.diagnosis.findings import Finding
    from router.node.services import Services

commands = group("Custom domains, and certificates of preview domains.")


@commands.command("list")
def domains_list(
    tenant: OneTenant = None,
    limit: Limit = PAGE,
    page: Page = 1,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List custom domains, removed ones left out."""
    from router.domains.custom import DomainFilter

    async def find(services: "Services") -> "Listing[CustomDomain]":
        where = DomainFilter(tenant_id=await tenant_id(services, tenant))
        return await services.custom_domains.list(where, window(limit, page))

    with reported(as_json):
        show_list(with_services(config, find, reads=True), _domain, as_json, page)


@commands.command("register")
def domains_register(
    fqdn: Annotated[str, typer.Argument(metavar="DOMAIN")],
    resource_id: Annotated[
        str,
        typer.Option(
            "--resource",
            metavar="ID",
            callback=uuid("`resources list` shows the ids"),
            help="The computer or deployment that it is to lead to.",
        ),
    ],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Register a custom domain for a computer or a deployment, and show the record that its DNS needs."""
    from router.routes.records import Kind

    async def register(services: "Services") -> "CustomDomain":
        resource = await services.resources.get(resource_id)
        if resource.kind is Kind.SANDBOX:
            raise RouterError(
                VALIDATION_FAILED, fields={"resource": ["is a sandbox; domains lead to computers and deployments"]}
            )
        return await services.custom_domains.register(resource_id, fqdn)

    with reported(as_json):
        domain = with_services(config, register, act="custom_domain.create", about=fqdn)
        shown = {**_domain(domain), "instructions": domain.instructions}
        show(shown, as_json)


@commands.command("remove")
def domains_remove(
    fqdn: Annotated[str, typer.Argument(metavar="DOMAIN")], config: Config = None, as_json: AsJson = False
) -> None:
    """Remove a custom domain: it stops routing at once, open connections included."""

    async def remove(services: "Services") -> "CustomDomain":
        domain = await services.custom_domains.find(fqdn)
        return await services.custom_domains.remove(domain.id)

    with reported(as_json):
        removed = with_services(config, remove, act="custom_domain.delete", about=fqdn)
        show({"id": removed.id, "fqdn": removed.fqdn, "status": removed.status.value}, as_json)


@commands.command("verify")
def domains_verify(fqdn: str, config: Config = None, as_json: AsJson = False) -> None:
    """Check DNS now, and verify a custom domain that leads here. Where it does not, nothing changes."""

    async def verify(services: "Services") -> "CustomDomain":
        domain = await services.custom_domains.find(fqdn)
        return await services.verification.custom_domain(domain.id)

    with reported(as_json):
        shown = _domain(with_services(config, verify, act="custom_domain.verify", about=fqdn))
        show(shown, as_json)


@commands.command("certificate")
def domains_certificate(domain: str, config: Config = None, as_json: AsJson = False) -> None:
    """Show what certificate its owner has uploaded for a custom domain or a preview domain; of a name that is both, of both."""

    async def find(services: "Services") -> "Listing[OwnCertificate]":
        found = await services.own_certificates.named(domain)
        return Listing(tuple(found), len(found))

    with reported(as_json):
        # With the key for secrets, since one that can't be opened is something to show.
        show_list(with_services(config, find, reads=True, secrets=True), _certificate, as_json, 1)


@commands.command("delegation")
def domains_delegation(domain: str, config: Config = None, as_json: AsJson = False) -> None:
    """Look whether the challenges of a preview domain, or of the platform's own, lead here, and show the records for that, and how
    its certificate for all hosts stands."""
    from router.errors import NOT_FOUND

    async def look(services: "Services") -> "ZoneStatus":
        found = await services.zone_statuses.named(domain.lower().rstrip("."))
        if found is None:
            raise RouterError(
                NOT_FOUND,
                f"there are no records for {domain}: it is not a customer's preview domain. For the platform's own, set acme_zone and"
                " acme_platform and start a node with the role jobs, which makes them within a minute",
            )
        return found

    with reported(as_json):
        show(_zone(with_services(config, look, act="delegation.check", about=domain)), as_json)


@commands.command("renew")
def domains_renew(domain: str, config: Config = None, as_json: AsJson = False) -> None:
    """Have the certificate that the router ordered for a preview domain, or for the platform's own, renewed now: because its key may
    be known, or to leave an authority. The old one is served until the new one is there."""
    from router.errors import NOT_FOUND

    async def renew(services: "Services") -> "ZoneStatus":
        found = await services.zone_statuses.renew(domain.lower().rstrip("."))
        if found is None:
            raise RouterError(NOT_FOUND, f"the router has ordered no certificate for {domain}")
        return found

    with reported(as_json):
        show(_zone(with_services(config, renew, act="certificate.renew", about=domain)), as_json)


@commands.command("diagnose")
def domains_diagnose(
    fqdn: str,
    tenant: Annotated[str | None, typer.Option(help="Diagnose it for this tenant, by id or slug.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check DNS now, and say what is wrong with a name, registered or not, and which record to change."""

    async def look(services: "Services") -> "Diagnosis":
        return await services.diagnoses.name(fqdn, await tenant_id(services, tenant))

    with reported(as_json):
        shown = _diagnosis(with_services(config, look, reads=True))
        show(shown, as_json, lambda: "\n".join(_finding_lines(shown)))


def _zone(found: "ZoneStatus") -> dict[str, Any]:
    managed, delegation = found.managed, found.delegation
    return {
        "domain": found.domain,
        "delegation": None if delegation is None else delegation.state.value,
        "records": [f"{one.fqdn}. CNAME {one.expected}. ({one.status})" for one in found.records()],
        "checked_at": None if delegation is None else time_text(delegation.checked_at),
        "mode": found.mode.value,
        "status": found.state.value,
        "names": [] if managed is None else list(managed.names),
        "not_after": None if managed is None else time_text(managed.not_after),
        "renew_at": None if managed is None else time_text(managed.renew_at),
        "last_error": found.last_error,
        "next_attempt_at": time_text(found.next_attempt_at),
        "advice": found.advice,
    }


def _certificate(found: "OwnCertificate") -> dict[str, Any]:
    held = found.certificate
    return {
        "domain": found.subject.name,
        "scope": "zone" if found.subject.zone else "host",
        "state": found.state.value,
        "origin": found.served.value,
        "names": [] if held is None else list(held.names),
        "issuer": None if held is None else held.issuer,
        "serial": None if held is None else held.serial,
        "not_before": None if held is None else iso(held.not_before),
        "not_after": None if held is None else iso(held.not_after),
        "requested_at": None if found.request is None else iso(found.request.created_at),
        "fallback": found.fallback.value,
        "fallback_ready": found.fallback_ready,
        "warnings": [remark.code for remark in found.remarks],
    }


def _domain(domain: "CustomDomain") -> dict[str, Any]:
    from router.domains.checks.judgement import dns_status

    return {
        "id": domain.id,
        "fqdn": domain.fqdn,
        "status": str(domain.status),
        "dns_status": dns_status(domain.check.result),
        "method": domain.check.method,
        "failure_reason": domain.failure_reason,
        "tenant_id": domain.tenant_id,
        "computer_id": domain.computer_id,
        "deployment_id": domain.deployment_id,
        "verified_at": time_text(domain.verified_at),
        "tls_issued_at": time_text(domain.tls_issued_at),
        "checked_at": time_text(domain.check.checked_at),
        "next_check_at": time_text(domain.check.next_check_at),
        "created_at": iso(domain.created_at),
    }


def _diagnosis(found: "Diagnosis") -> dict[str, Any]:
    return {
        "domain": found.domain,
        "status": found.status,
        "healthy": found.healthy,
        "checked_at": iso(found.checked_at),
        "findings": [_finding(found, one) for one in found.findings],
    }


def _finding(found: "Diagnosis", finding: "Finding") -> dict[str, Any]:
    shown = dataclasses.asdict(finding)
    del shown["blocks"]  # what the API does not show either
    return {**shown, "docs_url": found.docs(finding)}


def _finding_lines(shown: Mapping[str, Any]) -> Iterator[str]:
    for finding in shown["findings"]:
        yield f"{finding['severity']}: {finding['message']}"
        for record in finding["records"]:
            yield f"  {record['action']} {record['type']} {record['host']} {record['value']}"
