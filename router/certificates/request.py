"""Requests for certificates (CSR) that the router makes for a customer, so that the private key never travels."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A domain's, by the name that uploads have (`held.upload_name`): `csr` in PEM, and the key that belongs to it, sealed."""

    domain: str
    tenant_id: str
    sealed_key: str
    csr: str
    names: tuple[str, ...]
    created_at: datetime

    def __repr__(self) -> str:
        return f"<CertificateRequest of {self.domain}>"


def request_key_purpose(domain: str) -> str:
    """What a request's key is sealed for."""
    return f"certificate_requests:{domain}:key"


class RequestRows(Protocol):
    """Stored requests: at most one of a domain."""

    async def get(self, domain: str) -> CertificateRequest | None: ...

    async def put(self, request: CertificateRequest) -> None:
        """Store it in the place of what the domain had."""

    async def remove(self, domain: str) -> None: ...
