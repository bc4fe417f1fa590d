"""Each alert fires for the series that it is for, after its time, and not for healthy ones; promtool says so."""

from pathlib import Path

import yaml

from tests.support.prometheus import ALERTS, SCRAPE, promtool, rules

M = "miosa_router_"
UP, OTHER_ROUTER = 'up{job="miosa-router",instance="a"}', 'up{job="another",instance="b"}'
ALL = 'exchanges_total{ending="--",status="2xx"}'
FAILS = 'exchanges_total{ending="EA",status="5xx"}'
HALF = 'exchanges_total{ending="BB",status="2xx"}'
FDS = ('process_open_fds{job="miosa-router"}', 'process_max_fds{job="miosa-router"}')
# Alert: (series that make it fire, series that do not), a sample a minute. Names are without the router's prefix.
Series = dict[str, str]
CASES: dict[str, tuple[Series, Series]] = {
    "NodeDown": ({UP: "0x90"}, {UP: "1x90", OTHER_ROUTER: "0x90"}),
    "EdgeErrors": ({ALL: "0+600x90", FAILS: "0+6x90"}, {ALL: "0+60000x90", FAILS: "0+6x90"}),
    "StoreDown": (
        {"store_available": "0x90"},
        {"store_available": "1x90", 'resolutions_total{source="stale"}': "5x90"},
    ),
    "CertificatesRefusedByUs": (
        {'asks_total{reason="not_ready"}': "0+1x90"},
        {'asks_total{reason="not_ready"}': "7x90", 'asks_total{reason="not_verified"}': "0+9x90"},
    ),
    "ChangesNotPublished": ({"outbox_lag_seconds": "6x90"}, {"outbox_lag_seconds": "5x90"}),
    "ConnectionsNearLimit": ({"client_connections": "16001x90"}, {"client_connections": "16000x90"}),
    "DescriptorsNearLimit": ({FDS[0]: "81x90", FDS[1]: "100x90"}, {FDS[0]: "80x90", FDS[1]: "100x90"}),
    "DiskLow": ({"disk_low": "1x90"}, {"disk_low": "0x90"}),
    "CertificatesExpired": (
        {'certificates{state="expired"}': "1x90"},
        {'certificates{state="expired"}': "0x90", 'certificates{state="failed"}': "4x90"},
    ),
    "WorkerMissing": ({"workers_serving": "1x90"}, {"workers_serving": "2x90"}),
    "ResponsesIncomplete": ({ALL: "0+600x90", HALF: "0+7x90"}, {ALL: "0+600x90", HALF: "0+6x90"}),
    "BackendsUnreachable": (
        {'backend_errors_total{reason="dial_timeout"}': "0+61x90"},
        {
            'backend_errors_total{reason="dial_timeout"}': "0+59x90",
            'backend_errors_total{reason="dial_refused"}': "0+99x90",
        },
    ),
    "AddressesRefused": (
        {'backend_errors_total{reason="not_allowed"}': "0+1x90"},
        {'backend_errors_total{reason="not_allowed"}': "3x90"},
    ),
    "RedisDown": (
        {"redis_available": "1x90", "bus_connected": "0x90"},
        {"redis_available": "1x90", "bus_connected": "1x90"},
    ),
    "ChangesSlow": (
        {
            f'change_seconds_bucket{{le="{le}"}}': f"0+{count}x90"
            for le, count in (("0.5", 90), ("1.0", 100), ("+Inf", 100))
        },
        {  # a few slow ones, of as few
            f'change_seconds_bucket{{le="{le}"}}': f"0+{count}x20 {20 * count}x69"
            for le, count in (("0.5", 0), ("1.0", 0.5), ("+Inf", 0.5))
        },
    ),
    "EventLoopLate": (
        {
            f'loop_lag_seconds_bucket{{le="{le}"}}': f"0+{count}x90"
            for le, count in (("0.025", 980), ("0.05", 1000), ("+Inf", 1000))
        },
        {
            f'loop_lag_seconds_bucket{{le="{le}"}}': f"0+{count}x90"
            for le, count in (("0.025", 990), ("0.05", 1000), ("+Inf", 1000))
        },
    ),
    "JobNotHeld": (
        {'job_held{name="check_domains"}': "0x90", 'job_held{name="trim_outbox"}': "1x90"},
        {'job_held{name="trim_outbox",instance="a"}': "0x90", 'job_held{name="trim_outbox",instance="b"}': "1x90"},
    ),
    "JobOverdue": (
        {'job_overdue_seconds{name="trim_outbox",instance="a"}': "9x90"},
        {
            'job_overdue_seconds{name="trim_outbox",worker="1"}': "9x90",
            'job_overdue_seconds{name="trim_outbox",worker="2"}': "0x90",
        },
    ),
    "JobFailing": (
        {'job_failures_total{name="trim_outbox"}': "0+1x90"},
        {f'job_failures_total{{name="{name}"}}': "0 0 0 1 2 2x86" for name in ("trim_outbox", "end_blocks")},
    ),
    "DomainChecksLate": ({"domain_checks_late_seconds": "601x90"}, {"domain_checks_late_seconds": "600x90"}),
    "ClockWrong": ({"clock_offset_seconds": "-31x90"}, {"clock_offset_seconds": "-30x90"}),
    "CertificatesNearEnd": (
        {'certificates{state="expiring"}': "2x90"},
        {'certificates{state="expiring"}': "0x90", 'certificates{state="issued"}': "9x90"},
    ),
    "CertificateBudgetNearlyUsed": (
        {"certificate_orders_spent": "193x90", "certificate_orders_limit": "240x90"},
        {"certificate_orders_spent": "192x90", "certificate_orders_limit": "240x90"},
    ),
    "CertificatesDelayed": (
        {'asks_total{reason="budget_host"}': "0+1x90"},
        {'asks_total{reason="budget_host"}': "0 5 9 9x90", 'asks_total{reason="failure_backoff"}': "0+9x90"},
    ),
    "WildcardMissing": (
        {"platform_names_spent": "21x90", "platform_names_limit": "40x90"},
        {"platform_names_spent": "39x90", "platform_names_limit": "0x90"},
    ),
    "WebhooksFailing": (
        {
            'webhook_deliveries_total{result="delivered"}': "5x90",
            'webhook_deliveries_total{result="pending"}': "0+1x90",
        },
        {
            'webhook_deliveries_total{result="delivered"}': "0+1x90",
            'webhook_deliveries_total{result="pending"}': "0+5x90",
        },
    ),
    "WakesFailing": (
        {'wakes_total{result="failed"}': "0+1x90", 'wakes_total{result="running"}': "3x90"},
        {'wakes_total{result="failed"}': "0+1x90", 'wakes_total{result="running"}': "0+2x90"},
    ),
    "PlatformNotCalled": ({"wake_breaker_open": "1x90"}, {"wake_breaker_open": "0x90"}),
    "WakesQueueing": (
        {'wakes_total{result="full"}': "0+1x90"},
        {'wakes_in_progress{state="queued"}': "50x90", 'wakes_total{result="full"}': "9x90"},
    ),
    "LoginProviderFailing": (
        {'logins_total{result="unavailable"}': "0+1x90"},
        {'logins_total{result="unavailable"}': "4x90", 'logins_total{result="failed"}': "0+9x90"},
    ),
    "PasswordTries": (
        {'access_refusals_total{reason="password_wrong"}': "0+10x90"},
        {
            'access_refusals_total{reason="password_wrong"}': "0+2x90",
            'access_refusals_total{reason="token_missing"}': "0+99x90",
        },
    ),
    "HeldCertificatesUnreadable": (
        {"held_certificates_unreadable": "3x90"},
        {"held_certificates_unreadable": "0x90", 'held_certificates{origin="managed"}': "3x90"},
    ),
    "AuditEntriesLost": ({"audit_entries_lost_total": "0+1x90"}, {"audit_entries_lost_total": "7x90"}),
    "LogLinesLost": ({"access_lines_lost_total": "0+1x90"}, {"access_lines_lost_total": "8x90"}),
}


def _test(alert: str, series: Series, *, fires: bool) -> dict[str, object]:
    """What promtool is to check: whether it fires after an hour and a half."""
    return {
        "name": f"{alert} {'fires' if fires else 'does not fire'}",
        "interval": "1m",
        "input_series": [
            {"series": name if name.startswith(("up", "process")) else M + name, "values": values}
            for name, values in series.items()
        ],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                "eval_time": "85m",
                "exp_samples": [{"labels": "{}", "value": float(fires)}],
            }
        ],
    }


def test_files_are_what_prometheus_takes() -> None:
    """Rules, and the configuration that names them."""
    promtool("check", "rules", ALERTS)
    promtool("check", "config", SCRAPE)


def test_each_alert_fires_and_is_silent(tmp_path: Path) -> None:
    """Every rule has both cases."""
    assert {rule["alert"] for rule in rules()} == {f"MiosaRouter{name}" for name in CASES}
    tests = [
        _test(f"MiosaRouter{name}", series, fires=fires)
        for name, both in CASES.items()
        for fires, series in zip((True, False), both, strict=True)
    ]
    file = tmp_path / "alerts.test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": tests}), encoding="utf-8")
    promtool("test", "rules", file)
