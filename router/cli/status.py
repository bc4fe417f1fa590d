"""`status`: one screen about the node that runs with these settings, and the fleet as far as the store knows it."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from router.base.clock import iso
from router.cli.doctor import as_document, finding_lines
from router.cli.options import AsJson, Config
from router.cli.output import hanging, show, width
from router.cli.run_command import command_settings, reported

if TYPE_CHECKING:
    from router.base.clock import Clock
    from router.cli.checks.known import Known
    from router.settings import Settings

_UNKNOWN = "unknown"
_TRAFFIC = {
    "exchanges_in_flight": "in progress",
    "client_connections": "client connections",
    "tunnels": "tunnels",
    "requests_waiting": "waiting for a place",
    "requests_held": "held for a wake",
}
_CHECKS = ("node", "store", "redis", "clock", "certificates")  # of `doctor`: those that need to ask nobody else
_ALLOWED = frozenset(("issued", "first_issue"))


def status(config: Config = None, as_json: AsJson = False) -> None:
    """Show on one screen how the running node and its stores are, and what is degraded."""
    from router.base.clock import SystemClock

    with reported(as_json):
        document = asyncio.run(_find_out(command_settings(config), SystemClock()))
        show(document, as_json, lambda: _text(document, width()))


async def _find_out(settings: "Settings", clock: "Clock") -> dict[str, Any]:
    from router.cli.checks import report
    from router.cli.checks.known import find_out
    from router.cli.checks.listeners import answers_as_ours, bound

    known = await find_out(settings, clock)
    binds = bound(settings)
    answering = await asyncio.gather(*(answers_as_ours(name, bind) for name, bind in binds.items()))
    reports = await asyncio.gather(*(report(name, known) for name in _CHECKS))
    found = as_document(dict(zip(_CHECKS, reports, strict=True)))
    return {
        "version": {"command": version("miosa-router"), "node": _node_version(known)},
        "status": known.ready["status"] if known.ready is not None else None,
        "started_at": _started_at(known),
        "nodes": _nodes(known),
        "workers": (known.ready or {}).get("workers"),
        "listeners": [
            {"name": name, "bind": bind, "answers": answers}
            for (name, bind), answers in zip(binds.items(), answering, strict=True)
        ],
        "stores": _stores(known),
        "hosts": None if isinstance(known.store, str) or known.store.rows is None else known.store.rows.hosts,
        "traffic": _traffic(known),
        "refusals": _refusals(known),
        "backend_errors": _backend_errors(known),
        "certificates": _certificates(known),
        "budgets": _budgets(known),
        "findings": found["findings"],
    }


def _node_version(known: "Known") -> str | None:
    return next((one.labels.get("version") for one in known.metrics or () if one.name == "build_info"), None)


def _started_at(known: "Known") -> str | None:
    times = [one.value for one in known.metrics or () if one.name == "process_start_time_seconds"]
    return iso(datetime.fromtimestamp(min(times), UTC)) if times else None


def _nodes(known: "Known") -> list[dict[str, Any]] | None:
    """The processes that say in the store that they are there: those with the role `jobs`. None where it can't be asked."""
    if isinstance(known.store, str) or known.store.rows is None:
        return None
    rows = known.store.rows
    return [
        {
            "host": holder.split("/")[0],
            "process": holder.split("/")[1] if holder.count("/") else None,
            "jobs": sorted(name for name, by in rows.jobs.items() if by == holder),
        }
        for holder in sorted(rows.nodes)
    ]


def _stores(known: "Known") -> dict[str, Any]:
    store, redis = known.store, known.redis
    found: dict[str, Any] = {"database": {"error": store}, "redis": None}
    if not isinstance(store, str):
        role = None if store.kind == "SQLite" else "standby" if store.standby else "primary"
        found["database"] = {
            "kind": store.kind,
            "version": store.version,
            "role": role,
            "milliseconds": round(store.latency * 1000, 1),
            "schema": store.revision,
        }
    if redis is not None:
        found["redis"] = (
            {"error": redis}
            if isinstance(redis, str)
            else {
                "version": redis.version,
                "role": redis.role,
                "replicas": redis.replicas,
                "milliseconds": round(redis.latency * 1000, 1),
                "used_bytes": redis.used_memory,
                "policy": redis.policy,
            }
        )
    return found


def _traffic(known: "Known") -> dict[str, int] | None:
    if known.metrics is None:
        return None
    counts = {name: int(known.total(name) or 0) for name in _TRAFFIC}
    counts["exchanges"] = int(known.total("exchanges_total") or 0)
    counts["exchanges_5xx"] = int(known.total("exchanges_total", status="5xx") or 0)
    return counts


def _refusals(known: "Known") -> dict[str, int] | None:
    """What was refused since the node started, by reason: those that have occurred, the most frequent first."""
    if known.metrics is None:
        return None
    counts: dict[str, int] = {}
    for one in known.metrics:
        if one.name == "asks_total" and one.labels["reason"] not in _ALLOWED:
            _add(counts, f"ask: {one.labels['reason']}", one.value)
        elif one.name == "queue_results_total" and one.labels["result"] in {"refused", "timed_out"}:
            _add(counts, f"queue: {one.labels['result']}", one.value)
        elif one.name == "hold_results_total" and one.labels["result"] in {"refused", "timed_out", "failed"}:
            _add(counts, f"wake: {one.labels['result']}", one.value)
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def _backend_errors(known: "Known") -> dict[str, int] | None:
    """What went wrong with customers' programs since the node started, by reason, the most frequent first."""
    if known.metrics is None:
        return None
    counts: dict[str, int] = {}
    for one in known.metrics:
        if one.name == "backend_errors_total":
            _add(counts, one.labels["reason"], one.value)
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def _budgets(known: "Known") -> dict[str, Any]:
    """What is spent of the budgets of certificates: of the account by the store, of the platform's names by the node."""
    gate = known.settings.gate
    rows = None if isinstance(known.store, str) else known.store.rows
    account = {"spent": None if rows is None else rows.attempts, "of": gate.account, "seconds": gate.account_window}
    return {
        "counted": gate.budgets,
        "account": account,
        "platform_names": None if known.ready is None else known.ready.get("platform_names"),
    }


def _add(counts: dict[str, int], name: str, value: float) -> None:
    if value:
        counts[name] = counts.get(name, 0) + int(value)


def _certificates(known: "Known") -> dict[str, Any]:
    rows = None if isinstance(known.store, str) else known.store.rows
    near = None if rows is None else [{"host": one.host, "not_after": iso(one.not_after)} for one in rows.near_end]
    return {
        "known": None if known.metrics is None else int(known.total("certificates_known") or 0),
        "in_flight": None if known.metrics is None else int(known.total("certificates_in_flight") or 0),
        "near_end": near,
    }


def _text(document: Mapping[str, Any], columns: int | None) -> str:
    lines = [hanging(f"{name:<13} ", text, columns) for name, text in _rows(document)]
    findings = document["findings"]
    if findings:
        lines += ["", *finding_lines(findings, columns)]
    else:
        lines.append(f"{'degraded':<13} nothing; `miosa-router doctor` checks the rest of the installation")
    return "\n".join(lines)


def _rows(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    node, command = document["version"]["node"], document["version"]["command"]
    since = document["started_at"]
    yield "node", f"{document['status'] or 'no answer'}" + (f", since {since}" if since else "")
    yield "version", node or _UNKNOWN if node == command else f"{node or _UNKNOWN}, this command {command}"
    yield "nodes", _or_unknown(document["nodes"], _nodes_text)
    if document["workers"] is not None:
        yield "workers", "{serving} of {of} serve".format(**document["workers"])
    yield (
        "listeners",
        ", ".join(
            f"{one['name']} {one['bind']} {'answers' if one['answers'] else 'does not answer'}"
            for one in document["listeners"]
        ),
    )
    for name, store in document["stores"].items():
        yield name, "none" if store is None else _store_text(store)
    yield "hosts", _or_unknown(document["hosts"], _counts)
    yield "traffic", _or_unknown(document["traffic"], _traffic_text)
    yield "refusals", _or_unknown(document["refusals"], lambda counts: _counts(counts) or "none since the start")
    yield (
        "backends",
        _or_unknown(document["backend_errors"], lambda counts: _counts(counts) or "no errors since the start"),
    )
    yield "certificates", _certificate_text(document["certificates"])
    yield "budgets", _budget_text(document["budgets"])


def _certificate_text(found: Mapping[str, Any]) -> str:
    counts = _UNKNOWN if found["known"] is None else f"{found['known']} known, {found['in_flight']} being requested"
    near = found["near_end"]
    ends = _UNKNOWN if near is None else ", ".join(f"{one['host']} {one['not_after']}" for one in near) or "none"
    return f"{counts}; near their end: {ends}"


def _budget_text(found: Mapping[str, Any]) -> str:
    if not found["counted"]:
        return "not counted (`gate.budgets`)"
    account, platform = found["account"], found["platform_names"]
    spent = _UNKNOWN if account["spent"] is None else account["spent"]
    words = f"{spent} of {account['of']} first certificates of the account spent in {account['seconds'] / 3600:g} h"
    if platform is None:
        return f"{words}; names of the platform domain: {_UNKNOWN}"
    if platform.get("wildcard"):
        return f"{words}; a wildcard covers the platform domain"
    return f"{words}; {platform['spent']} of {platform['of']} names of the platform domain in a week"


def _or_unknown(value: Any, text: Any) -> str:
    return _UNKNOWN if value is None else text(value)


def _nodes_text(nodes: list[dict[str, Any]]) -> str:
    if not nodes:
        return "none with the role `jobs` has said that it is there"
    return ", ".join(f"{one['host']} (process {one['process']}, jobs: {len(one['jobs'])})" for one in nodes)


def _store_text(store: Mapping[str, Any]) -> str:
    if "error" in store:
        return f"can't be used: {store['error']}"
    words = [f"{store.get('kind', 'Redis')} {store['version']}", store["role"], f"{store['milliseconds']} ms"]
    if "schema" in store:
        words.append(f"schema {store['schema']}")
    else:
        words += [f"{store['replicas']} replicas", f"{store['used_bytes'] >> 20} MiB used", store["policy"]]
    return ", ".join(word for word in words if word)


def _traffic_text(counts: Mapping[str, int]) -> str:
    now = [f"{counts[name]} {words}" for name, words in _TRAFFIC.items()]
    return ", ".join([*now, f"{counts['exchanges']} exchanges since the start, {counts['exchanges_5xx']} with 5xx"])


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
