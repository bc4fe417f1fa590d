"""One transaction: the rows of every noun, and what they changed."""

from dataclasses import replace
from datetime import datetime

from router.audit.act import Act
from router.audit.entry import Entry
from router.audit.notes import Notes, Watched
from router.audit.system import entries_of
from router.routes.changed_keys import Touched
from router.store.acme_orders import SqlAccounts, SqlOrders, SqlRequests
from router.store.audit import SqlAudit
from router.store.blocks import SqlBlocks
from router.store.certificate_attempts import SqlAttempts
from router.store.certificates import SqlCertificates
from router.store.changes import Changes
from router.store.claims import SqlClaims
from router.store.connection import Connection
from router.store.custom_domains import SqlCustomDomains
from router.store.delegations import SqlDelegations
from router.store.deployments import SqlDeployments
from router.store.env import SqlEnv
from router.store.hand_overs import SqlHandOvers
from router.store.held_certificates import SqlHeldCertificates
from router.store.history import SqlHistory
from router.store.journal import SqlEvents, SqlUsage
from router.store.keys import SqlKeys
from router.store.log_drains import SqlLogDrains
from router.store.logins import SqlLogins
from router.store.old_rows import SqlOldRows
from router.store.owners import SqlOwners
from router.store.preview_domains import SqlPreviewDomains
from router.store.preview_secrets import SqlPreviewSecrets
from router.store.previews import SqlPreviews
from router.store.projects import SqlProjects
from router.store.resources import SqlResources
from router.store.sealed_keys import SqlSealedKeys
from router.store.sessions import SqlSessions
from router.store.signing_keys import SqlSigningKeys
from router.store.tenant_rows import SqlTenantRows
from router.store.tenants import SqlTenants
from router.store.trusted_issuers import SqlTrustedIssuers
from router.store.versions import SqlBuilds, SqlReleases, SqlVersions
from router.store.wakes import SqlWakes
from router.store.webhooks import SqlDeliveries, SqlWebhooks
from router.store.workspaces import SqlWorkspaces

# The rows whose records an entry of the audit log may be about.
_WATCHED = (
    *("tenants", "keys", "workspaces", "projects", "resources", "previews", "preview_secrets", "logins", "sessions"),
    *("trusted_issuers", "deployments", "versions", "releases", "env", "blocks", "held_certificates"),
    *("certificate_requests", "webhooks", "deliveries", "custom_domains", "preview_domains", "log_drains"),
)


class Transaction:
    """What `Store.begin` and `Store.read` give; the Tx of `tenancy/` and of `domains/`. `act`: what it is a part of; its
    entry is written with the changes."""

    def __init__(self, connection: Connection, now: datetime, *, writing: bool, act: Act | None = None) -> None:
        self._act = act
        self._entry: Entry | None = None
        self._written = False
        self._notes = Notes()
        self._connection = connection
        self._now = now
        self._changes = Changes()
        given = (connection, self._changes)
        self.tenants = SqlTenants(*given, writing=writing)
        self.keys = SqlKeys(*given, writing=writing)
        self.signing_keys = SqlSigningKeys(*given, writing=writing)
        self.workspaces = SqlWorkspaces(*given, writing=writing)
        self.projects = SqlProjects(*given, writing=writing)
        self.resources = SqlResources(*given, writing=writing)
        self.previews = SqlPreviews(*given, writing=writing)
        self.preview_secrets = SqlPreviewSecrets(*given, writing=writing)
        self.logins = SqlLogins(*given, writing=writing)
        self.sessions = SqlSessions(*given, writing=writing)
        self.hand_overs = SqlHandOvers(*given, writing=writing)
        self.trusted_issuers = SqlTrustedIssuers(*given, writing=writing)
        self.deployments = SqlDeployments(*given, writing=writing)
        self.versions = SqlVersions(*given, writing=writing)
        self.builds = SqlBuilds(*given, writing=writing)
        self.releases = SqlReleases(*given, writing=writing)
        self.env = SqlEnv(*given, writing=writing)
        self.blocks = SqlBlocks(*given, writing=writing)
        self.wakes = SqlWakes(*given, writing=writing)
        self.usage = SqlUsage(*given, writing=writing)
        self.tenant_rows = SqlTenantRows(*given, writing=writing)
        self.old_rows = SqlOldRows(*given, writing=writing)
        self.history = SqlHistory(*given, writing=writing)
        self.events = SqlEvents(*given, writing=writing)
        self.certificates = SqlCertificates(*given, writing=writing)
        self.certificate_attempts = SqlAttempts(*given, writing=writing)
        self.delegations = SqlDelegations(*given, writing=writing)
        self.held_certificates = SqlHeldCertificates(*given, writing=writing)
        self.acme_accounts = SqlAccounts(*given, writing=writing)
        self.acme_orders = SqlOrders(*given, writing=writing)
        self.certificate_requests = SqlRequests(*given, writing=writing)
        self.sealed_keys = SqlSealedKeys(*given, writing=writing)
        self.webhooks = SqlWebhooks(*given, writing=writing)
        self.log_drains = SqlLogDrains(*given, writing=writing)
        self.deliveries = SqlDeliveries(*given, writing=writing)
        self.custom_domains = SqlCustomDomains(*given, writing=writing)
        self.preview_domains = SqlPreviewDomains(*given, writing=writing, now=now)
        self.claims = SqlClaims(*given, writing=writing)
        self.owners = SqlOwners(
            tenants=self.tenants,
            workspaces=self.workspaces,
            projects=self.projects,
            resources=self.resources,
            blocks=self.blocks,
        )
        self.audit = SqlAudit(connection)
        if act is not None:
            for name in _WATCHED:
                setattr(self, name, Watched(getattr(self, name), self._notes))

    def committed(self) -> None:
        """The commit has happened: so has what the act's entry says."""
        if self._act is not None and self._entry is not None:
            self._act.stored = self._entry

    async def write_entries(self) -> None:
        """Write what the audit log says of it: once, when everything is changed."""
        if self._written:
            return
        self._written = True
        act, events = self._act, self.events.stored
        if act is not None:
            self._entry = act.entry_with(self._notes, self._now)
        entries = [] if self._entry is None else [self._entry]
        if events:
            mine = None if act is None else (self._entry or act.stored or act).tenant_id
            if self._entry is not None and not self._entry.changes:
                # No record says what changed, as where a block makes a resource suspended: its events do.
                happened = sorted({event.type for event in events if event.tenant_id == mine})
                entries[0] = self._entry = replace(self._entry, changes={"events": {"new": happened[:20]}})
            entries += entries_of(events, self._now, but=mine)
        if entries:
            await self.audit.put(entries)

    async def seal(self) -> tuple[Touched, tuple[int, ...]]:
        """The last thing before the commit: the audit log, versions and outbox. The touched keys, and the ids of their outbox rows."""
        await self.write_entries()
        return await self._changes.write(self._connection, self._now)
