"""What the platform's other services serve under the same address, as its official client calls it (miosa 2.19).

A client that requests one of these here gets a 501 that says so, not a 404 that looks like a mistake of its own.
"""

_NOUNS = frozenset(
    [
        "actions",
        "activity",
        "admin",
        "agent-accounts",
        "agent-runtime-profiles",
        "agent-signins",
        "agent-triggers",
        "agents",
        "ai-gateway",
        "alerts",
        "analytics",
        "assets",
        "bill-to",
        "billing",
        "buckets",
        "builder",
        "bulk",
        "channels",
        "cli-tools",
        "cloud",
        "command-center",
        "community",
        "compute",
        "connect",
        "connections",
        "credits",
        "cron-jobs",
        "dashboard",
        "databases",
        "deployment-environments",
        "devices",
        "docker-deploy",
        "egress",
        "environments",
        "event-deliveries",
        "event-subscriptions",
        "external-keys",
        "external-users",
        "forge",
        "functions",
        "health-checks",
        "home",
        "inference",
        "instances",
        "integrations",
        "intelligence",
        "invites",
        "jobs",
        "limits",
        "mcp",
        "mcp-catalog",
        "mcp-servers",
        "named-snapshots",
        "notifications",
        "opencomputers",
        "operations",
        "overview",
        "platform",
        "project-auth",
        "project-capabilities",
        "project-integrations",
        "project-templates",
        "quotas",
        "regions",
        "run-groups",
        "runs",
        "runtime-capabilities",
        "runtime-env",
        "sandbox-template-builds",
        "sandbox-templates",
        "service-accounts",
        "service-deployments",
        "services",
        "settings",
        "snapshots",
        "sse",
        "storage",
        "templates",
        "tenants",
        "tokens",
        "uploads",
        "usage",
        "volumes",
        "workflows",
        "workspace-invites",
    ]
)

# Behind the nouns that are ours; `*` is any one segment, and what is below belongs to it.
_BELOW = {
    "api-keys": "presets scoped */events",
    "computers": "*/agent */apps */auto-stop */clone */commands */connectors */control */desktop */embed */env */events "
    "*/exec */files */inbox */logs */metrics */network-policy */osa */pty */resize */restart */restore */services "
    "*/snapshots */start */stop */stream-token */terminal */viewer-password */vnc-credentials */volumes",
    "deployments": "*/connectors */database */instances */proof */runtime-instances "
    " */versions/*/logs */versions/*/migration-backup",
    "events": "stream",
    "projects": "*/environments */previews */services */shared-variables */templates",
    "sandboxes": "batch batches run runtimes */agent */artifacts */browser */code */commands */connectors */env */events "
    "*/exec */exports */extend */files */fork */fs */logs */metrics */pause "
    "*/processes */readiness */resources */restore */resume */snapshot */snapshots */ssh-certificates */ssh-info "
    "*/ssh-keys */stop */tags */template */terminal */usage",
    "tenant": "events members policy transfer-ownership",
    "webhooks": "events",
    "workspaces": "*/databases */invites */members */policy */transfer",
}
_PATTERNS = {
    noun: tuple(tuple(pattern.split("/")) for pattern in patterns.split()) for noun, patterns in _BELOW.items()
}
_PREFIX = "/api/v1/"


def served_elsewhere(path: str) -> str | None:
    """What of a raw path another service serves, as in `/sandboxes/{id}/exec`; None where the path belongs to no service."""
    if not path.startswith(_PREFIX):
        return None
    noun, *rest = path.removeprefix(_PREFIX).split("/")
    if noun in _NOUNS:
        return f"/{noun}"
    for pattern in _PATTERNS.get(noun, ()):
        if len(rest) >= len(pattern) and all(
            given == wanted or (given and wanted == "*") for given, wanted in zip(rest, pattern, strict=False)
        ):
            return "/".join(("", noun, *pattern)).replace("*", "{id}")
    return None
