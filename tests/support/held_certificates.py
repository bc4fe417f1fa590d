"""Values of held certificates, orders and their like, for tests of the store."""

from datetime import datetime, timedelta
from typing import Any

from router.base.ids import new_id
from router.certificates.delegation import new_token, wildcard_names
from router.certificates.held import HeldCertificate, Origin
from router.certificates.order import Order

DIRECTORY = "https://ca.example/directory"


def a_held(domain: str, now: datetime, tenant_id: str | None = None, **other: Any) -> HeldCertificate:
    """A managed one of 90 days that begins now, unless `other` says otherwise."""
    fields = {
        "id": new_id(),
        "domain": domain,
        "tenant_id": tenant_id,
        "origin": Origin.MANAGED,
        "names": wildcard_names(domain),
        "issuer": "CN=Test",
        "serial": "0a",
        "not_before": now,
        "not_after": now + timedelta(days=90),
        "chain": f"chain of {domain}",
        "sealed_key": f"key of {domain}",
        "renew_at": now + timedelta(days=60),
        "directory": DIRECTORY,
        "created_at": now,
    }
    return HeldCertificate(**{**fields, **other})


def an_order(domain: str, now: datetime, tenant_id: str | None = None, **other: Any) -> Order:
    """A planned one, unless `other` says otherwise."""
    fields = {
        "id": new_id(),
        "domain": domain,
        "tenant_id": tenant_id,
        "directory": DIRECTORY,
        "token": new_token(),
        "names": wildcard_names(domain),
        "next_at": now,
        "deadline_at": now + timedelta(hours=1),
        "opened_at": now,
    }
    return Order(**{**fields, **other})
