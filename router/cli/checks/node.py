"""The node that runs with these settings: does it get traffic, and what does it say of itself?"""

from router.cli.checks.finding import Finding, Report, error, unknown, warning
from router.cli.checks.known import Known

# Where to look for each check of /readyz that fails.
_NEXT = {
    "serving": "wait for the drain or the start to end, and look at its log if it does not",
    "store": "see whether the database runs and lets this machine in (RUNBOOK, The store is down)",
    "redis": "see whether Redis runs; meanwhile the store is asked instead, which is slower",
    "disk": "make room on that filesystem",
    "clock": "correct the clock with NTP or chrony (RUNBOOK, A wrong clock)",
    "jobs": "look in the log for events with that job",
    "workers": "look in the log for the worker that ended; the supervisor starts it again",
}


async def check(known: Known) -> Report:
    settings = known.settings
    if "admin" not in settings.roles:
        return Report(
            [
                unknown(
                    "node_not_asked",
                    "the role `admin` is not among `roles`",
                    "so this node says nothing of itself",
                    "add it to `roles`, and keep `admin_bind` private",
                )
            ]
        )
    if known.ready is None:
        return Report(
            [
                warning(
                    "no_node",
                    f"no node answers at {settings.admin_bind} (`admin_bind`)",
                    "so nothing is served from here with these settings, and no certificate is allowed",
                    "start it with `miosa-router serve`, or name the file of its settings by `--config`",
                )
            ]
        )
    status, checks = known.ready["status"], known.ready["checks"]
    findings = [
        _failing(name, str(one["detail"]), blocks=status == "not_ready" and name == "serving")
        for name, one in checks.items()
        if not one["ok"]
    ]
    platform = known.ready.get("platform_names") or {}
    if platform.get("wildcard") is False and not platform.get("lacks_key"):  # else `held_unreadable` says what to do
        findings.append(
            warning(
                "no_wildcard",
                f"there is no wildcard certificate for *.{settings.platform_domain} that the gate knows of",
                f"so its names share {platform['of']} certificates a week, of which {platform['spent']} are spent",
                "delegate the domain's challenges, or install a certificate (RUNBOOK, The platform's wildcards)",
            )
        )
    held = known.ready.get("held_certificates") or {}
    if lost := held.get("unreadable"):
        findings.append(
            error(
                "held_unreadable",
                f"the node can't decrypt the private keys of {lost} certificates, because its `secrets_key` is not the one that encrypted them",
                "so it does not serve them, and visitors of the zones and domains that they are for get another certificate or none",
                "put the earlier key behind the new one, separated by a comma; where it is lost, `miosa-router keys rotate-secrets --forget-lost` orders new ones",
            )
        )
    if held.get("held") and held.get("fetched") is False:
        findings.append(
            warning(
                "held_not_fetched",
                f"the node holds {held.get('held')} certificates, and no Caddy has fetched any since it started",
                "so names that they cover get certificates of their own, which cost budgets, or none",
                "see `MIOSA_CADDY_CERTIFICATES` at the top of the Caddyfile; where visitors have not come yet this is as it should be",
            )
        )
    return Report(findings, f"a node answers at {settings.admin_bind} and is {status}")


def _failing(name: str, detail: str, *, blocks: bool) -> Finding:
    make = error if blocks else warning
    why = "so it gets no traffic" if blocks else "so the node is degraded"
    return make(
        f"node_{name}", f"the running node's check `{name}` fails ({detail})", why, _NEXT.get(name, "look at its log")
    )
