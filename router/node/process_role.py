"""Which process of a node this is."""

from collections.abc import Mapping
from dataclasses import dataclass

# Settings that only the supervisor can change, since they are about what the supervisor has open.
FIXED = ("workers", "roles", "proxy_bind", "api_bind", "admin_bind", "certificate_bind", "acme_dns_bind")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRole:
    """Which process this is of a node that has several. 0 is the control process, the workers count from 1.

    `addresses` has every listener of the node, whichever process serves it. `control` is whether the node has a control
    process: one that has only the proxy's role has none. `start` says what to do where the store is away. `version` is the program's;
    None where this process has to find out.
    """

    number: int
    addresses: Mapping[str, tuple[str, int]]
    control: bool
    start: str = "first"  # a value of store.Start
    version: str | None = None
