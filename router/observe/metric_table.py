"""Every metric in one table, each with the values that its labels may have.

Labels come from closed sets: never a host, an id or anything else that visitors or customers choose. A label is called
`result` for how something went, `reason` for why, `type` for which kind of thing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from router.observe.endings import COMBINATIONS

PREFIX = "miosa_router_"
STATUS_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")

# Seconds. From a hit on loopback to the longest a patient visitor waits; each step is 2 to 2.5 times the last.
BOUNDS: Final[tuple[float, ...]] = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
)
# Seconds that the event loop is late: from 0.25 ms, which no visitor notices, to 2.5 s, at which heartbeats are missed.
LOOP_BOUNDS: Final[tuple[float, ...]] = (
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One metric. A counter's exposed name ends in `_total`. `labels` are in the order in which their values are given; one
    without values is open: those of `build_info`, and `tenant`, of whom `metrics.tenants` chooses a limited number."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: Mapping[str, tuple[str, ...]]
    help: str
    bounds: tuple[float, ...] = BOUNDS  # of a histogram's buckets, in seconds


# Mirrors `routes.chain.Level`; a test holds them together.
_LEVELS = ("exact", "project", "workspace", "tenant", "platform", "none")
_JOBS = (
    "end_blocks",
    "delete_tenants",
    "warm_certificates",
    "trim_outbox",
    "sum_up_holdings",
    "mend_times",
    "prune",
    "trim_audit_log",
    "roll_up_usage",
    "deliver_webhooks",
    "fail_lost_builds",
    "rotate_signing_keys",
    "warn_of_uploads",
    "order_certificates",
    "check_domains",
    "watch_wakes",
    "copy_activity",
    "send_log_drains",
)

# What runs again and again in one go on the event loop.
_STEPS = ("sweep", "flush", "collect_garbage", "render_metrics", "report_uses")

# Ids, and `_other` for all the rest.
_TENANT: Mapping[str, tuple[str, ...]] = {"tenant": ()}

TABLE = (
    Row(
        "exchanges",
        "counter",
        {"level": _LEVELS, "status": STATUS_CLASSES, "ending": tuple(COMBINATIONS)},
        "Exchanges that ended, by level of the chain, status class and ending (who ended it x phase)",
    ),
    Row("exchange_seconds", "histogram", {"level": _LEVELS}, "Whole time of an exchange; tunnels are not in it"),
    Row(
        "first_byte_seconds",
        "histogram",
        {"level": _LEVELS},
        "Time until the first byte of the response; tunnels are not in it",
    ),
    Row("received_bytes", "counter", {}, "Body and tunnel bytes from clients"),
    Row("sent_bytes", "counter", {}, "Body and tunnel bytes to clients"),
    Row("retries", "counter", {}, "Attempts to reach a backend beyond the first"),
    Row(
        "resolutions",
        "counter",
        {"source": ("process", "sql", "redis", "memory", "stale", "none")},
        "Where the routes of exchanges came from",
    ),
    Row("routes_dropped", "counter", {}, "Remembered routes dropped by a change, or because one may have been missed"),
    Row(
        "backend_errors",
        "counter",
        {
            "reason": (
                "dial_refused",
                "dial_timeout",
                "dial_unreachable",
                "dial_reset",
                "dial_tls",
                "dial_http2",
                "no_descriptor",
                "not_allowed",
                "reset",
                "closed",
                "bad_response",
                "truncated",
                "timeout",
            )
        },
        "Failures of backends, while dialling and during exchanges",
    ),
    Row(
        "asks",
        "counter",
        {
            "reason": (
                "issued",
                "first_issue",
                "in_flight",
                "missing_domain",
                "invalid_name",
                "ip_address",
                "not_verified",
                "suspended",
                "removed",
                "caa_forbidden",
                "dns_not_pointing",
                "held_certificate",
                "unknown_host",
                "no_such_resource",
                "port_not_exposed",
                "method_not_allowed",
                "budget_host",
                "budget_registered_domain",
                "budget_account",
                "failure_backoff",
                "not_ready",
            )
        },
        "Responses to Caddy's ask",
    ),
    Row(
        "logins",
        "counter",
        {"result": ("ok", "failed", "not_allowed", "unavailable")},
        "People who came back from a tenant's identity provider, and what came of it",
    ),
    Row(
        "access_refusals",
        "counter",
        {
            "reason": (
                "token_missing",
                "token_wrong",
                "token_expired",
                "token_revoked",
                "password_wrong",
                "too_many_tries",
                "address_not_allowed",
                "preview_expired",
                "origin_not_allowed",
                "login_not_allowed",
                "too_early",
                "host_not_found",
            )
        },
        "Requests for private previews that were refused, by the code of the response; host_not_found ones are for previews that hide",
    ),
    Row("certificate_writes", "counter", {"result": ("ok", "error")}, "Writes of certificate data to the store"),
    Row("certificate_writes_waiting", "gauge", {}, "Certificate data not written to the store yet"),
    Row(
        "certificate_orders",
        "counter",
        {"result": ("issued", "failed", "rate_limited", "abandoned")},
        "Orders for zones' certificates by what became of them; rate_limited ones wait",
    ),
    Row(
        "certificates",
        "gauge",
        {"state": ("pending", "issued", "expiring", "expired", "failed", "rate_limited")},
        "Hosts by the state of their certificate, and certificates that the router holds, counted every 5 minutes; of expiring ones five sixths of the lifetime are over, of uploaded ones all but two weeks",
    ),
    Row(
        "held_certificates", "gauge", {"origin": ("managed", "uploaded")}, "Certificates whose key this node can serve"
    ),
    Row("held_certificates_unreadable", "gauge", {}, "Certificates whose key this node lacks the secrets_key for"),
    Row(
        "certificate_fetches",
        "counter",
        {"result": ("held", "none", "refused")},
        "Responses to Caddy's /certificate: one that is held, none, or refused to a client that may not have any",
    ),
    Row("certificate_orders_spent", "gauge", {}, "Certificates ordered from the authority within the account's window"),
    Row("certificate_orders_limit", "gauge", {}, "How many may be within that window; 0 where none are counted"),
    Row("certificates_known", "gauge", {}, "Names known to have a certificate"),
    Row("certificates_in_flight", "gauge", {}, "First certificates being requested now"),
    Row("platform_names_spent", "gauge", {}, "Names of the platform domain that got a certificate within a week"),
    Row(
        "platform_names_limit",
        "gauge",
        {},
        "How many may get one within a week; 0 where a wildcard makes them needless",
    ),
    Row("access_lines_lost", "counter", {}, "Access lines that could not be written"),
    Row(
        "request_records",
        "counter",
        {"result": ("stored", "sampled_out", "lost")},
        "Records of requests: stored, left out by sampling where a resource is flooded, or lost",
    ),
    Row(
        "request_captures",
        "counter",
        {"result": ("stored", "skipped", "lost")},
        "Exchanges whose headers and bodies were to be captured: stored, not begun because there were too many, or lost",
    ),
    Row("tenant_requests", "counter", _TENANT, "Requests to resources of the tenants that metrics.tenants chooses"),
    Row(
        "tenant_request_errors",
        "counter",
        _TENANT,
        "Of these, those that were answered with a status from 500 on, or broke off",
    ),
    Row("tenant_request_client_errors", "counter", _TENANT, "Of these, those that were answered with 400 to 499"),
    Row("tenant_received_bytes", "counter", _TENANT, "Bytes of bodies and tunnels of these, from visitors"),
    Row("tenant_sent_bytes", "counter", _TENANT, "Bytes of bodies and tunnels of these, to visitors"),
    Row("request_packs_waiting_bytes", "gauge", {}, "Bytes of request records that wait to be stored"),
    Row("audit_entries_lost", "counter", {}, "Entries of the audit log that could not be stored"),
    Row(
        "telemetry_items",
        "counter",
        {"type": ("spans", "logs"), "result": ("sent", "sampled_out", "dropped", "refused")},
        "What was made for the OpenTelemetry collector: sent, not sampled (requests), dropped because too much waited or was to be traced, "
        "or refused by the collector",
    ),
    Row("telemetry_waiting", "gauge", {}, "Spans and log records that wait to be sent to the collector"),
    Row(
        "loop_lag_seconds",
        "histogram",
        {},
        "How late the event loop came to a timer, which is due 50 times a second while the process is busy",
        LOOP_BOUNDS,
    ),
    Row(
        "loop_step_seconds",
        "histogram",
        {"name": _STEPS},
        "How long a periodic step of ours held the event loop; collections of garbage count in the step that they come in, too",
        LOOP_BOUNDS,
    ),
    Row("log_lines_lost", "counter", {}, "Lines of the program's own log that could not be written"),
    Row(
        "log_lines_suppressed",
        "counter",
        {},
        "Log lines about refused requests and responses left out: at most 20 per second are written",
    ),
    Row(
        "domain_checks",
        "counter",
        {
            "type": ("custom", "preview", "claim"),
            "result": ("valid", "missing", "wrong", "propagating", "unknown", "gone", "lost"),
        },
        "Checks of domains that were due, by what was checked and the result",
    ),
    Row("job_runs", "counter", {"name": _JOBS}, "Runs of a job started by this process"),
    Row("job_failures", "counter", {"name": _JOBS}, "Runs of a job that failed or timed out in this process"),
    Row("job_held", "gauge", {"name": _JOBS}, "How many slices of the job this process has the lease of"),
    Row("store_available", "gauge", {}, "1 where the store answered when this node last asked it, every 10 s; else 0"),
    Row("disk_low", "gauge", {}, "1 while a disk that the node writes to is nearly full, or has no free inode; else 0"),
    Row(
        "clock_offset_seconds",
        "gauge",
        {},
        "How far this machine's clock is ahead of the database's, when last compared",
    ),
    Row(
        "domain_checks_late_seconds",
        "gauge",
        {},
        "How long the check that is most overdue in this process has been due",
    ),
    Row(
        "job_overdue_seconds",
        "gauge",
        {"name": _JOBS},
        "How long no process has run the job, where that is three periods or more",
    ),
    Row("job_last_run_timestamp_seconds", "gauge", {"name": _JOBS}, "When the job last succeeded in this process"),
    Row(
        "webhook_deliveries",
        "counter",
        {"result": ("delivered", "pending", "given_up")},
        "Attempts to deliver a webhook, by the state of the delivery afterwards",
    ),
    Row(
        "dns_queries",
        "counter",
        {
            "result": (
                "noerror",
                "nxdomain",
                "servfail",
                "refused",
                "formerr",
                "notimp",
                "truncated",
                "timeout",
                "unreachable",
                "bad_answer",
            )
        },
        "Queries to name servers, by response code or the failure",
    ),
    Row(
        "responder_queries",
        "counter",
        {
            "result": (
                "txt",
                "fixed",
                "nodata",
                "nxdomain",
                "truncated",
                "away",
                "failed",
                "refused",
                "malformed",
                "limited",
                "dropped",
                "unsent",
            )
        },
        "Queries to the responder for `acme_zone`, by its answer: away ones found the store away, limited ones came from a network "
        "that had asked too much, dropped ones were no queries",
    ),
    Row(
        "dns_lookups",
        "counter",
        {"result": ("found", "nodata", "nxdomain", "propagating", "unknown")},
        "Results of DNS look-ups, remembered ones included",
    ),
    Row(
        "log_drain_batches",
        "counter",
        {"result": ("delivered", "failed")},
        "Attempts to send a batch of records to a log drain's endpoint",
    ),
    Row(
        "log_drain_records_lost",
        "counter",
        {},
        "Records that no log drain's endpoint took before they were too old to be kept",
    ),
    Row("log_drains_in_flight", "gauge", {}, "Log drains that are sending a batch"),
    Row("webhook_deliveries_in_flight", "gauge", {}, "Deliveries of webhooks in progress"),
    Row("idle_connections_closed", "counter", {"side": ("client", "backend")}, "Idle connections closed to make room"),
    Row("exchanges_in_flight", "gauge", {}, "Exchanges in progress"),
    Row("requests_waiting", "gauge", {}, "Requests that wait for a place at their resource"),
    Row(
        "queue_results",
        "counter",
        {"result": ("served", "timed_out", "left", "ended", "refused")},
        "Requests that found no place at their resource, by what became of them: refused ones found the queue full, left ones "
        "were given up by their client, ended ones by a drain or a removed route",
    ),
    Row("requests_held", "gauge", {}, "Requests, and pages that wait, for a resource that sleeps or starts"),
    Row(
        "hold_results",
        "counter",
        {"result": ("served", "timed_out", "failed", "left", "ended", "refused")},
        "Requests held for a resource that sleeps or starts, by what became of them: failed ones were for one that could not be "
        "woken, refused ones found too many others, left ones were given up by their client or by a change of their route, ended ones by a "
        "drain",
    ),
    Row("exchanges_without_client", "gauge", {}, "Exchanges in progress whose client has closed, or will send no more"),
    Row("client_connections", "gauge", {}, "Open connections from clients"),
    Row("tunnels", "gauge", {}, "Open tunnels: WebSockets and other upgrades"),
    Row("backend_connections", "gauge", {"state": ("idle", "busy")}, "Open connections to backends"),
    Row(
        "redis_operations",
        "counter",
        {
            "operation": (
                "read",
                "fill",
                "advance",
                "publish",
                "scan",
                "remove",
                "count",
                "put_uses",
                "read_uses",
                "remove_uses",
            ),
            "result": ("ok", "error", "timeout", "refused"),
        },
        "Operations on Redis; refused ones were not sent, because the circuit breaker is open",
    ),
    Row(
        "redis_records",
        "counter",
        {"result": ("hit", "none", "absent", "behind", "away", "corrupt", "newer_format")},
        "Records looked up in Redis, by the result",
    ),
    Row(
        "redis_fills",
        "counter",
        {"result": ("stored", "outdated", "failed", "skipped")},
        "Records read from the store and written to Redis",
    ),
    Row("rate_limit_fallbacks", "counter", {}, "API requests counted by this node alone, because Redis did not answer"),
    Row("redis_available", "gauge", {}, "1 while Redis is used, 0 while the circuit breaker is open"),
    Row(
        "bus_messages",
        "counter",
        {"type": ("changes", "heartbeat", "gap", "malformed")},
        "Messages received on the bus of changes",
    ),
    Row("bus_connected", "gauge", {}, "1 while the bus is received, 0 while the store is polled instead"),
    Row(
        "change_seconds", "histogram", {}, "Time from the commit of a change on any node until this process knew of it"
    ),
    Row("outbox_position", "gauge", {}, "The newest committed change that this process has read from the store"),
    Row("outbox_waiting", "gauge", {}, "Committed changes not published on the bus yet"),
    Row("outbox_lag_seconds", "gauge", {}, "How long the oldest of them has waited"),
    Row(
        "wakes",
        "counter",
        {"result": ("running", "refused", "failed", "left", "full")},
        "Wakes of sleeping resources that ended, by how; left ones were no longer wanted, full ones found no place in the queue",
    ),
    Row(
        "wake_calls",
        "counter",
        {"result": ("accepted", "refused", "not_understood", "trouble", "no_answer", "not_sent")},
        "Calls of the platform to wake a resource, by its answer; not_sent ones were held back by the circuit breaker",
    ),
    Row("wake_seconds", "histogram", {}, "Time from the first request for a sleeping resource until it ran"),
    Row(
        "wakes_in_progress",
        "gauge",
        {"state": ("queued", "asked", "starting")},
        "Wakes of the whole fleet, as this process saw them within the last 3 s; 0 where it did not look",
    ),
    Row("wake_breaker_open", "gauge", {}, "1 while this node does not call the platform, because it did not answer"),
    Row("workers_serving", "gauge", {}, "Workers of this node that take connections"),
    Row(
        "announcements",
        "counter",
        {"result": ("ok", "error", "timeout")},
        "Changes announced to workers of this node, by whether they acknowledged in time",
    ),
    Row("build_info", "gauge", {"version": (), "python": ()}, "What runs here; always 1"),
)
