"""`explain`: where a host leads, step by step."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.base.clock import iso
from router.cli.options import AsJson, Config
from router.cli.output import show
from router.cli.run_command import command_settings, database_to_read, reported

if TYPE_CHECKING:
    from router.settings import Settings

# Whose visit wakes it where it sleeps; nothing is said where nobody's does.
_WAKES: Mapping[str | None, str] = {
    "any": "a visit wakes it where it sleeps",
    "authorised": "a visit wakes it where it sleeps, of those who bring a link, a token or a key",
}


def explain(host: str, config: Config = None, as_json: AsJson = False) -> None:
    """Show step by step which resource a host leads to, what its visitors met, and whether it may have a certificate."""
    from router.node.explainer import open_explainer

    with reported(as_json):

        async def ask(settings: "Settings") -> dict[str, Any]:
            async with open_explainer(settings, host) as explainer:
                explained = await explainer.explain(host)
            return explained | await _seen(settings, host, explained["decision"]["resource"])

        with database_to_read(command_settings(config)) as settings:
            explained = asyncio.run(ask(settings))
        show(_steps(explained), as_json, lambda: "\n".join(_lines(explained, settings.admin_bind)))


async def _seen(settings: "Settings", host: str, resource: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the traffic of the node that runs with these settings has met at this host: None where that cannot be asked, or
    where another node answers, which knows another resource."""
    from router.cli.running_node import explained_by_node

    if resource is None:
        return {"hints": [], "errors": []}
    found = await explained_by_node(settings.admin_bind, host) or {}
    same = ((found.get("decision") or {}).get("resource") or {}).get("id") == resource["id"]
    return {key: found.get(key) if same else None for key in ("hints", "errors")}


def _steps(explained: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `explain` found, as one list in the order of the resolution."""
    source, decision, gate = explained["source"], explained["decision"], explained["gate"]
    steps = [{"step": "record", "source": source, **step} for step in explained["steps"]]
    resource, endpoint = decision["resource"], explained["endpoint"]
    outcome = decision["reason"]
    if decision["redirect_to"] is not None:
        outcome = f"redirect to {decision['redirect_to']}"
    elif endpoint is not None:
        outcome = f"served by {resource['kind']} {resource['slug']} at {endpoint['address']} port {endpoint['port']}"
    elif decision["error"] is not None:
        outcome = f"{decision['reason']}: answered {decision['status']} {decision['error']}"
    port = {key: explained[key] for key in ("access", "wake", "host_mode", "scheme", "protocol", "hints", "errors")}
    steps.append({"step": "decision", "outcome": outcome, **decision, "endpoint": endpoint, **port})
    steps.append({"step": "gate", "outcome": f"{gate['status']} {gate['reason']}", **gate})
    return steps


def _lines(explained: Mapping[str, Any], admin: str) -> list[str]:
    """The steps for people, and behind the decision what is known of the port."""
    *before, gate = [_step_line(step) for step in _steps(explained)]
    return [*before, *_port_lines(explained, admin), gate]


def _step_line(step: Mapping[str, Any]) -> str:
    about = f"{step['key']} ({step['source']})" if step["step"] == "record" else step["step"]
    return f"{about}: {step['outcome']}"


def _port_lines(explained: Mapping[str, Any], admin: str) -> list[str]:
    hints, errors = explained["hints"], explained["errors"]
    lines = [] if explained["access"] is None else [access_line(explained["access"])]
    wake = wake_line(explained["wake"])
    lines += [] if wake is None else [wake]
    if explained["scheme"] is not None:
        lines.append(
            f"port: scheme {explained['scheme']}, protocol {explained['protocol']}, host_mode {explained['host_mode']}"
        )
    if hints is None or errors is None:
        lines.append(f"traffic: not known, since no node with this resource answers at {admin} (`admin_bind`)")
    lines += [f"hint: {hint}" for hint in hints or ()]
    for error in errors or ():
        times = "once" if error["count"] == 1 else f"{error['count']} times since {error['first_at']}"
        lines.append(f"error: {error['code']} {times}, last at {error['last_at']}: {error['message']}")
    return lines


def wake_line(wake: str | None) -> str | None:
    """Whose visit wakes it, None where nobody's does."""
    return f"wake: {_WAKES[wake]}" if wake in _WAKES else None


def access_line(access: Mapping[str, Any]) -> str:
    """Who may open the port, where not everybody may; of its secrets how many still open it."""
    working = [secret for secret in access["secrets"] if not (secret["revoked"] or secret["used"])]
    said = [f"access: {access['visibility']}"]
    if access["visibility"] != "public":
        said.append(f"tokens and links that are not revoked: {len(working)}")
    if access["login"]:
        said.append("who signs in by the tenant's login")
    if access["issuers"]:
        said.append(f"tokens of {', '.join(dict.fromkeys(one['issuer'] for one in access['issuers']))}")
    if access["networks"]:
        said.append(f"only from {', '.join(access['networks'])}")
    if access["until"] is not None:
        said.append(f"until {iso(datetime.fromtimestamp(access['until'], UTC))}")
    if access["hide"]:
        said.append("hidden: strangers hear that there is no such host")
    if access["cors"] != "passthrough":
        said.append(f"cors {access['cors']}")
    if access["identity"]:
        said.append("its program is told who each visitor is")
    return "; ".join(said)
