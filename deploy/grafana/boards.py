"""Writes traffic.json and certificates.json, Grafana's dashboards, from the tables below: `python deploy/grafana/boards.py`.

A panel is a question that somebody on call has, with the sentence that says how to read the answer. A row has a few of one
kind. Each query is of the router's own metrics (`router/observe/metric_table.py`; tests compare), summed over what
`instance` chooses.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE = Path(__file__).parent
_WIDE: Final = 24  # columns of Grafana's grid
_TALL: Final = 8
_DATA: Final = {"type": "prometheus", "uid": "${datasource}"}
_RED: Final = "red"


@dataclass(frozen=True)
class Panel:
    """`queries` are (legend, query) pairs. `red` is the value
    from which a number is bad, -1 where it is bad below 1; with one it is shown as a large number instead of as lines."""

    title: str
    says: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    red: float | None = None
    stacked: bool = False


def _rate(by: str, name: str, selector: str = "") -> str:
    chosen = f'{selector},instance=~"$instance"' if selector else 'instance=~"$instance"'
    over = f" by ({by})" if by else ""
    return f"sum{over} (rate(miosa_router_{name}{{{chosen}}}[$__rate_interval]))"


def _gauge(how: str, name: str, selector: str = "") -> str:
    chosen = f'{selector},instance=~"$instance"' if selector else 'instance=~"$instance"'
    return f"{how} (miosa_router_{name}{{{chosen}}})"


def _quantiles(name: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"p{int(q * 100)}", f"histogram_quantile({q}, {_rate('le', f'{name}_bucket')})") for q in (0.5, 0.9, 0.99)
    )


_FAILURES: Final = "(" + _rate("", "exchanges_total", 'ending="EA",status="5xx"') + " or vector(0))"

Board = tuple[tuple[str, tuple[Panel, ...]], ...]

TRAFFIC: Board = (
    (
        "Is it well?",
        (
            Panel(
                "Nodes that answer",
                "Nodes that Prometheus reaches.",
                "short",
                (("nodes", 'sum(up{job="miosa-router",instance=~"$instance"})'),),
            ),
            Panel(
                "Requests", "Requests that ended, of all hosts.", "reqps", (("requests", _rate("", "exchanges_total")),)
            ),
            Panel(
                "Failures of ours",
                "Share of requests that the router itself failed: 5xx with the ending EA. Above 0.1 % somebody is called.",
                "percentunit",
                (("failures", _FAILURES + " / " + _rate("", "exchanges_total")),),
                red=0.001,
            ),
            Panel(
                "Store",
                "1 while every node reaches the database. At 0, known hosts are served from memory for a while.",
                "short",
                (("store", _gauge("min", "store_available")),),
                red=-1,
            ),
            Panel(
                "Redis",
                "1 while every node uses Redis; no data where it is not configured. At 0, look-ups are slower and nothing else changes.",
                "short",
                (("Redis", _gauge("min", "redis_available")),),
                red=-1,
            ),
            Panel(
                "Disk",
                "1 while a disk that a node writes to is nearly full.",
                "short",
                (("disk low", _gauge("max", "disk_low")),),
                red=1,
            ),
        ),
    ),
    (
        "What do visitors get?",
        (
            Panel(
                "Requests by status",
                "Stacked. A 5xx with the ending -- came from a customer's program.",
                "reqps",
                (("{{status}}", _rate("status", "exchanges_total")),),
                stacked=True,
            ),
            Panel(
                "Requests by ending",
                "Who ended them, in which phase; -- are complete ones and left out. The runbook's table explains each.",
                "reqps",
                (("{{ending}}", _rate("ending", "exchanges_total", 'ending!="--"')),),
            ),
            Panel(
                "Whose errors",
                "5xx by whose fault: the edge's are ours; the rest are the program's or its machine's.",
                "reqps",
                (
                    ("edge", _rate("", "exchanges_total", 'status="5xx",ending=~"E."') + " or vector(0)"),
                    ("program", _rate("", "exchanges_total", 'status="5xx",ending="--"') + " or vector(0)"),
                    (
                        "machine, or broken response",
                        _rate("", "exchanges_total", 'status="5xx",ending=~"[Bb]."') + " or vector(0)",
                    ),
                ),
            ),
        ),
    ),
    (
        "How fast is it?",
        (
            Panel(
                "Time to the first byte",
                "From the request's first line until the response's. Mostly the program's own time; tunnels are left out.",
                "s",
                _quantiles("first_byte_seconds"),
            ),
            Panel(
                "Whole time of a request",
                "Until the last byte. Downloads and event streams make it long.",
                "s",
                _quantiles("exchange_seconds"),
            ),
            Panel(
                "Bytes",
                "Of bodies and tunnels.",
                "Bps",
                (("from visitors", _rate("", "received_bytes_total")), ("to visitors", _rate("", "sent_bytes_total"))),
            ),
        ),
    ),
    (
        "What is open?",
        (
            Panel(
                "Connections of visitors",
                "Open ones, idle ones included.",
                "short",
                (("{{instance}}", _gauge("sum by (instance)", "client_connections")),),
            ),
            Panel(
                "Requests and tunnels",
                "Requests in progress, and open WebSockets and other upgrades.",
                "short",
                (("requests", _gauge("sum", "exchanges_in_flight")), ("tunnels", _gauge("sum", "tunnels"))),
            ),
            Panel(
                "Connections to backends",
                "The pools: busy ones serve a request, idle ones wait for the next.",
                "short",
                (("{{state}}", _gauge("sum by (state)", "backend_connections")),),
            ),
        ),
    ),
    (
        "Who waits?",
        (
            Panel(
                "Waiting now",
                "Requests for a place at their resource, and for one that sleeps or starts.",
                "short",
                (("for a place", _gauge("sum", "requests_waiting")), ("for a machine", _gauge("sum", "requests_held"))),
            ),
            Panel(
                "What became of those that queued",
                "Refused found the queue full; timed_out waited in vain. Both are 429.",
                "reqps",
                (("{{result}}", _rate("result", "queue_results_total")),),
            ),
            Panel(
                "What became of those that waited for a machine",
                "Failed and timed_out ones were for machines that did not start.",
                "reqps",
                (("{{result}}", _rate("result", "hold_results_total")),),
            ),
        ),
    ),
    (
        "Do machines wake?",
        (
            Panel("Wakes by result", "Running ones worked.", "ops", (("{{result}}", _rate("result", "wakes_total")),)),
            Panel(
                "Time to wake",
                "From the first request until the machine ran. No data while none woke.",
                "s",
                _quantiles("wake_seconds"),
            ),
            Panel(
                "Wakes in progress",
                "Of the whole fleet. Many queued ones: more is to be woken than the settings allow.",
                "short",
                (("{{state}}", _gauge("max by (state)", "wakes_in_progress")),),
            ),
        ),
    ),
    (
        "Do backends answer?",
        (
            Panel(
                "Failures of backends",
                "dial_refused: no program listens. dial_timeout and dial_unreachable: a machine or a network is down.",
                "ops",
                (("{{reason}}", _rate("reason", "backend_errors_total")),),
            ),
            Panel(
                "Attempts beyond the first",
                "A connection failed and another was tried; visitors did not notice.",
                "ops",
                (("retries", _rate("", "retries_total")),),
            ),
        ),
    ),
    (
        "Where do routes come from?",
        (
            Panel(
                "Level of the cache",
                "Process and memory are the fastest; sql asks the database. Stale means that the store is down.",
                "reqps",
                (("{{source}}", _rate("source", "resolutions_total")),),
                stacked=True,
            ),
            Panel(
                "Redis operations",
                "Refused ones were not sent, because Redis failed before.",
                "ops",
                (("{{result}}", _rate("result", "redis_operations_total")),),
            ),
            Panel(
                "Time of a change",
                "From the commit of a change on any node until a process knew of it.",
                "s",
                _quantiles("change_seconds"),
            ),
            Panel(
                "Outbox",
                "How long the oldest change has waited to be published.",
                "s",
                (("{{instance}}", _gauge("max by (instance)", "outbox_lag_seconds")),),
            ),
        ),
    ),
    (
        "Who is kept out, who signs in?",
        (
            Panel(
                "Refusals of private previews",
                "By the code of the response. Many password_wrong and too_many_tries: somebody guesses.",
                "ops",
                (("{{reason}}", _rate("reason", "access_refusals_total")),),
            ),
            Panel(
                "Sign-ins",
                "People who came back from their identity provider. Unavailable: it did not answer us.",
                "ops",
                (("{{result}}", _rate("result", "logins_total")),),
            ),
        ),
    ),
    (
        "What does it cost?",
        (
            Panel(
                "Processor",
                "Cores that the processes of a node use.",
                "short",
                (
                    (
                        "{{instance}}",
                        'sum by (instance) (rate(process_cpu_seconds_total{job="miosa-router",instance=~"$instance"}[$__rate_interval]))',
                    ),
                ),
            ),
            Panel(
                "Event loop",
                "How late it is: what one request in 100, and one in 1000, waits for others. loop_step_seconds says what for.",
                "s",
                (
                    ("p99", f"histogram_quantile(0.99, {_rate('le', 'loop_lag_seconds_bucket')})"),
                    ("p99.9", f"histogram_quantile(0.999, {_rate('le', 'loop_lag_seconds_bucket')})"),
                ),
            ),
            Panel(
                "Memory",
                "Of the processes of a node.",
                "bytes",
                (
                    (
                        "{{instance}}",
                        'sum by (instance) (process_resident_memory_bytes{job="miosa-router",instance=~"$instance"})',
                    ),
                ),
            ),
            Panel(
                "Descriptors in use",
                "Share of those that the fullest process may have. At 80 % somebody is called.",
                "percentunit",
                (
                    (
                        "{{instance}}",
                        'max by (instance) (process_open_fds{job="miosa-router",instance=~"$instance"} / process_max_fds{job="miosa-router",instance=~"$instance"})',
                    ),
                ),
            ),
        ),
    ),
)

CERTIFICATES: Board = (
    (
        "Is a certificate missing?",
        (
            Panel(
                "Expired",
                "Names whose certificate has ended: browsers refuse them; and zones whose wildcard was not renewed.",
                "short",
                (("expired", _gauge("max", "certificates", 'state="expired"')),),
                red=1,
            ),
            Panel(
                "Near their end",
                "Names and zones whose certificate should have been renewed by now, and uploaded ones that end within two weeks.",
                "short",
                (("expiring", _gauge("max", "certificates", 'state="expiring"')),),
                red=1,
            ),
            Panel(
                "Failed",
                "Domains that have no certificate because the authority issued none, or DNS forbids it.",
                "short",
                (("failed", _gauge("max", "certificates", 'state="failed"')),),
                red=1,
            ),
            Panel(
                "First certificates in progress",
                "That Caddy asks the authority for at this moment.",
                "short",
                (("in progress", _gauge("max", "certificates_in_flight")),),
            ),
        ),
    ),
    (
        "How do certificates stand?",
        (
            Panel(
                "Names by state",
                "Counted every five minutes, with the certificates that the router holds. Pending ones wait for their first.",
                "short",
                (("{{state}}", _gauge("max by (state)", "certificates")),),
                stacked=True,
            ),
            Panel(
                "Names known to have a certificate",
                "What the router would let Caddy renew, by node: they should agree.",
                "short",
                (("{{instance}}", _gauge("max by (instance)", "certificates_known")),),
            ),
            Panel(
                "Not written to the store yet",
                "More than a moment above 0: the store is away.",
                "short",
                (("{{instance}}", _gauge("max by (instance)", "certificate_writes_waiting")),),
            ),
        ),
    ),
    (
        "How much of the budgets is left?",
        (
            Panel(
                "Orders of the account",
                "Ordered within the window, and how many may be. At the limit new names wait.",
                "short",
                (
                    ("ordered", _gauge("max", "certificate_orders_spent")),
                    ("limit", _gauge("max", "certificate_orders_limit")),
                ),
            ),
            Panel(
                "Names of the platform's domain",
                "That got a certificate within a week, and how many may; the limit is 0 where a wildcard makes them needless.",
                "short",
                (("used", _gauge("max", "platform_names_spent")), ("limit", _gauge("max", "platform_names_limit"))),
            ),
        ),
    ),
    (
        "What does Caddy ask?",
        (
            Panel(
                "Allowed",
                "Names that Caddy may have a certificate for: new ones, and ones that have one.",
                "ops",
                (("{{reason}}", _rate("reason", "asks_total", 'reason=~"issued|first_issue|in_flight"')),),
            ),
            Panel(
                "Refused",
                "By reason. unknown_host and ip_address are scanners; not_ready is ours: the store is away.",
                "ops",
                (("{{reason}}", _rate("reason", "asks_total", 'reason!~"issued|first_issue|in_flight"')),),
            ),
        ),
    ),
    (
        "Are domains verified?",
        (
            Panel(
                "Checks by result",
                "Of domains that were due. Valid ones lead to us; unknown: DNS did not answer.",
                "ops",
                (("{{type}} {{result}}", _rate("type, result", "domain_checks_total") + " or vector(0)"),),
            ),
            Panel(
                "Checks that are late",
                "How long the most overdue one has been due. Above 10 minutes a ticket is opened.",
                "s",
                (("late", _gauge("max", "domain_checks_late_seconds")),),
            ),
        ),
    ),
    (
        "Does DNS answer?",
        (
            Panel(
                "Queries to name servers",
                "By response code or failure. Many timeouts of all domains: our way out.",
                "ops",
                (("{{result}}", _rate("result", "dns_queries_total")),),
            ),
            Panel(
                "Results of look-ups",
                "Unknown ones decide nothing: the domain stays as it is.",
                "ops",
                (("{{result}}", _rate("result", "dns_lookups_total")),),
            ),
        ),
    ),
    (
        "Do the jobs run?",
        (
            Panel(
                "Jobs that failed",
                "Runs that failed or timed out.",
                "ops",
                (("{{name}}", _rate("name", "job_failures_total")),),
            ),
            Panel(
                "Jobs that are overdue",
                "How long no process has run them, three periods or more; 0 is well.",
                "s",
                (("{{name}}", _gauge("max by (name)", "job_overdue_seconds")),),
            ),
        ),
    ),
)


def _targets(panel: Panel) -> list[dict[str, object]]:
    return [
        {"refId": "ABCDEF"[place], "datasource": _DATA, "expr": query, "legendFormat": legend}
        for place, (legend, query) in enumerate(panel.queries)
    ]


def _panel(panel: Panel, number: int, at: dict[str, int]) -> dict[str, object]:
    defaults: dict[str, object] = {"unit": panel.unit, "min": 0}
    options: dict[str, object] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    kind = "timeseries"
    if panel.red is None:
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 20 if panel.stacked else 0,
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
    else:
        kind = "stat"
        low_is_bad = panel.red < 0
        steps = [
            {"color": _RED if low_is_bad else "green", "value": None},
            {"color": "green" if low_is_bad else _RED, "value": 1 if low_is_bad else panel.red},
        ]
        defaults |= {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}
        options = {"colorMode": "background", "reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value"}
    return {
        "id": number,
        "type": kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": _DATA,
        "gridPos": at,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": _targets(panel),
    }


def _variables() -> list[dict[str, object]]:
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Node",
            "type": "query",
            "datasource": _DATA,
            "query": {"query": "label_values(miosa_router_build_info, instance)", "refId": "instance"},
            "refresh": 2,
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def board(uid: str, title: str, rows: Board) -> str:
    """A dashboard as Grafana imports it."""
    panels: list[dict[str, object]] = []
    y = 0
    for name, members in rows:
        at = {"x": 0, "y": y, "w": _WIDE, "h": 1}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": name, "collapsed": False, "gridPos": at, "panels": []}
        )
        tall = _TALL // 2 if any(member.red is not None for member in members) else _TALL
        wide = _WIDE // len(members)
        for place, member in enumerate(members):
            at = {"x": place * wide, "y": y + 1, "w": wide, "h": tall}
            panels.append(_panel(member, len(panels) + 1, at))
        y += 1 + tall
    content = {
        "uid": uid,
        "title": title,
        "tags": ["miosa-router"],
        "schemaVersion": 38,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "templating": {"list": _variables()},
        "panels": panels,
    }
    return json.dumps(content, indent=1) + "\n"


def files() -> dict[Path, str]:
    """Both, and what is to be in them."""
    return {
        HERE / "traffic.json": board("miosa-router-traffic", "miosa-router: traffic", TRAFFIC),
        HERE / "certificates.json": board(
            "miosa-router-certificates", "miosa-router: certificates and domains", CERTIFICATES
        ),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
