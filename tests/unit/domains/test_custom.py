"""What a custom domain says of itself."""

from datetime import timedelta
from typing import Any

import pytest

from router.domains.certificates import Certificate, CertificateStatus
from router.domains.custom import emit_event, happened, live, moved
from router.domains.redirects import RedirectPolicy
from router.errors import CONFLICT, NOT_FOUND, RouterError
from router.routes.records import DomainStatus, Kind
from tests.support.domains import NOW, custom_domain


def test_whose_it_is() -> None:
    """A computer's or a deployment's."""
    computers, deployments = custom_domain(), custom_domain(kind=Kind.DEPLOYMENT)
    assert (computers.computer_id, computers.deployment_id) == ("desk", None)
    assert (deployments.computer_id, deployments.deployment_id) == (None, "desk")


def test_a_removed_certificate_is_none() -> None:
    """Without one, or with one that is no longer served, it is pending."""
    issued = Certificate(host="app.example.com", status=CertificateStatus.ISSUED)
    removed = Certificate(host="app.example.com", status=CertificateStatus.REMOVED)
    assert custom_domain(certificate=issued).cert is issued
    for none in (None, removed):
        assert custom_domain(certificate=none).cert.status is CertificateStatus.PENDING


def test_a_proof_is_needed_only_before_it_routes() -> None:
    """What the last check said, unless the domain is up."""
    detail = {"proof_needed": "wildcard_record"}
    assert custom_domain(detail=detail).proof_needed == "wildcard_record"
    assert custom_domain(detail=detail, status=DomainStatus.ACTIVE).proof_needed is None
    assert custom_domain().proof_needed is None


def test_derived_values() -> None:
    """What its owner is told is made from its name, its token and its target."""
    domain = custom_domain("www.xn--bcher-kva.example", redirect_policy=RedirectPolicy.WWW_TO_APEX)
    assert domain.fqdn_unicode == "www.bücher.example"
    assert domain.redirect_to == "xn--bcher-kva.example"
    assert domain.jitter == 0.5
    assert [record.type for record in domain.required_records] == ["CNAME", "TXT"]
    assert domain.instructions.startswith("Add a CNAME record for www.xn--bcher-kva.example")


def test_a_move_obeys_the_table() -> None:
    """It changes the status and what goes with it, or is a conflict."""
    later = NOW + timedelta(seconds=1)
    verified = moved(custom_domain(), DomainStatus.VERIFIED, later, verified_at=later)
    assert (verified.status, verified.updated_at, verified.verified_at) == (DomainStatus.VERIFIED, later, later)
    with pytest.raises(RouterError) as refused:
        moved(custom_domain(), DomainStatus.ACTIVE, later)
    assert refused.value.problem is CONFLICT


def test_a_removed_domain_is_not_found() -> None:
    """As one that never was."""
    domain = custom_domain()
    assert live(domain) is domain
    for gone in (None, custom_domain(removed_at=NOW)):
        with pytest.raises(RouterError) as refused:
            live(gone)
        assert refused.value.problem is NOT_FOUND


def test_the_word_for_a_move() -> None:
    """A domain that was verified once, and failed, has recovered."""
    failed = custom_domain(status=DomainStatus.FAILED)
    assert happened(failed, DomainStatus.VERIFIED) == "verified"
    assert happened(custom_domain(status=DomainStatus.FAILED, verified_at=NOW), DomainStatus.VERIFIED) == "recovered"
    assert happened(custom_domain(), DomainStatus.FAILED) == "failed"


@pytest.mark.asyncio
async def test_an_event_names_the_domain_and_its_owner() -> None:
    """In the transaction that it is given."""

    class Tx:
        def __init__(self) -> None:
            self.events = self
            self.emitted: list[tuple[Any, ...]] = []

        async def emit(self, name: str, now: Any, **fields: Any) -> None:
            self.emitted.append((name, now, fields))

    tx = Tx()
    await emit_event(tx, custom_domain(), "failed", NOW, reason="nxdomain")  # type: ignore[arg-type]
    ((name, now, fields),) = tx.emitted
    assert (name, now) == ("domain.failed", NOW)
    assert fields["data"] == {"domain_id": custom_domain().id, "fqdn": "app.example.com", "reason": "nxdomain"}
    assert (fields["tenant_id"], fields["resource_id"]) == ("acme", "desk")
