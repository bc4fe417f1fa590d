"""`explain`: where a host leads, step by step."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from router.cli.options import AsJson, Config
from router.cli.output import show
from router.cli.run_command import command_settings, database_to_read, reported

if TYPE_CHECKING:
    from router.settings import Settings


def explain(host: str, config: Config = None, as_json: AsJson = False) -> None:
    """Show step by step which resource a host leads to, and whether it may have a certificate."""
    from router.node.control import open_explainer

    with reported(as_json):

        async def ask(settings: "Settings") -> dict[str, Any]:
            async with open_explainer(settings, host) as explainer:
                return await explainer.explain(host)

        with database_to_read(command_settings(config)) as settings:
            steps = _steps(asyncio.run(ask(settings)))
        show(steps, as_json, lambda: "\n".join(_step_line(step) for step in steps))


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
    steps.append({"step": "decision", "outcome": outcome, **decision, "endpoint": endpoint})
    steps.append({"step": "gate", "outcome": f"{gate['status']} {gate['reason']}", **gate})
    return steps


def _step_line(step: Mapping[str, Any]) -> str:
    about = f"{step['key']} ({step['source']})" if step["step"] == "record" else step["step"]
    return f"{about}: {step['outcome']}"
