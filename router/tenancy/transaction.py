"""One transaction as the services of this package see it: the stored rows of every noun.

Each noun's file says what its rows can do (`TenantRows`, `WorkspaceRows`, …); `store.transaction.Transaction` offers all
of them. Of the rows that belong to `domains/` only what ends together with a resource, a workspace or a project is here.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from router.routes.records import Scope

if TYPE_CHECKING:  # those files import this one
    from router.tenancy.blocks import BlockRows
    from router.tenancy.deliveries import DeliveryRows
    from router.tenancy.deployments import DeploymentRows
    from router.tenancy.env import EnvRows
    from router.tenancy.events import EventRows
    from router.tenancy.hand_overs import HandOverRows
    from router.tenancy.keys import KeyRows
    from router.tenancy.logins import LoginRows
    from router.tenancy.preview_secrets import PreviewSecretRows
    from router.tenancy.previews import PreviewRows
    from router.tenancy.projects import ProjectRows
    from router.tenancy.resources import ResourceRows
    from router.tenancy.sessions import SessionRows
    from router.tenancy.signing_keys import SigningKeyRows
    from router.tenancy.tenants import TenantRows
    from router.tenancy.trusted_issuers import TrustedIssuerRows
    from router.tenancy.usage import UsageRows
    from router.tenancy.versions import BuildRows, ReleaseRows, VersionRows
    from router.tenancy.wakes import WakeRows
    from router.tenancy.webhooks import WebhookRows
    from router.tenancy.workspaces import WorkspaceRows


class CustomDomainRows(Protocol):
    async def remove_of(self, resource_id: str, now: datetime) -> Sequence[tuple[str, str]]:
        """Remove the custom domains of a resource that goes away; the id and the name of each."""


class PreviewDomainRows(Protocol):
    async def clear(self, scope: Scope, scope_id: str) -> None:
        """Remove the preview domain of a workspace or project that goes away."""


class Tx(Protocol):
    """What `begin()` and `read()` of the store give."""

    @property
    def tenants(self) -> "TenantRows": ...

    @property
    def workspaces(self) -> "WorkspaceRows": ...

    @property
    def projects(self) -> "ProjectRows": ...

    @property
    def keys(self) -> "KeyRows": ...

    @property
    def signing_keys(self) -> "SigningKeyRows": ...

    @property
    def resources(self) -> "ResourceRows": ...

    @property
    def previews(self) -> "PreviewRows": ...

    @property
    def preview_secrets(self) -> "PreviewSecretRows": ...

    @property
    def logins(self) -> "LoginRows": ...

    @property
    def sessions(self) -> "SessionRows": ...

    @property
    def hand_overs(self) -> "HandOverRows": ...

    @property
    def trusted_issuers(self) -> "TrustedIssuerRows": ...

    @property
    def deployments(self) -> "DeploymentRows": ...

    @property
    def versions(self) -> "VersionRows": ...

    @property
    def builds(self) -> "BuildRows": ...

    @property
    def releases(self) -> "ReleaseRows": ...

    @property
    def env(self) -> "EnvRows": ...

    @property
    def blocks(self) -> "BlockRows": ...

    @property
    def wakes(self) -> "WakeRows": ...

    @property
    def usage(self) -> "UsageRows": ...

    @property
    def events(self) -> "EventRows": ...

    @property
    def webhooks(self) -> "WebhookRows": ...

    @property
    def deliveries(self) -> "DeliveryRows": ...

    @property
    def custom_domains(self) -> CustomDomainRows: ...

    @property
    def preview_domains(self) -> PreviewDomainRows: ...
