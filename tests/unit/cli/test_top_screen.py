"""The screen of `top`: it fits, whatever the terminal's size, and says what is wrong."""

from typing import Any

import pytest

from router.cli.top_screen import lines_of


def rates(requests: float, errors: float = 0.0, p50: float | None = 1.5) -> dict[str, Any]:
    return {
        "requests_per_second": requests,
        "errors_per_second": errors,
        "client_errors_per_second": 0.0,
        "bytes_in_per_second": 0.0,
        "bytes_out_per_second": 123_456.0,
        "p50_ms": p50,
        "p99_ms": p50,
    }


def found(hosts: int = 30, workers: int = 2, **changes: Any) -> dict[str, Any]:
    """An answer of the node."""
    opened = {"client_connections": 6, "exchanges_in_flight": 3, "tunnels": 2}
    values: dict[str, Any] = {
        "node": "edge-1",
        "version": "1.0.0",
        "at": 1_700_000_010.0,
        "seconds": 5,
        "total": {**rates(1234.5, 2.0), **opened, "cache_hit_share": 0.995},
        "workers": [{"worker": number, **rates(10.0), **opened} for number in range(1, workers + 1)],
        "silent": 0,
        "hosts": [{"host": f"shop{number}.{'long-' * 20}example.com", **rates(5.0)} for number in range(hosts)],
        "resources": [
            {
                "resource_id": "0d9f4c52-8f0e-4c53-9a0c-0f2f6f6f3c11",
                "slug": f"shop{number}",
                "tenant_id": "t",
                **rates(1.0),
            }
            for number in range(hosts)
        ],
        "refusals": [{"code": "host_not_found", "per_second": 0.4}],
        "stores": {"database": True, "redis": None, "bus": None},
        "certificates": {"expiring": 2, "expired": 0, "failed": 0, "rate_limited": 0, "in_flight": 0},
    }
    return values | changes


@pytest.mark.parametrize("columns", [20, 40, 80, 120, 150, 300])
@pytest.mark.parametrize("rows", [1, 5, 14, 24, 40, 100])
@pytest.mark.parametrize(("hosts", "workers"), [(0, 0), (1, 1), (30, 2), (100, 64)])
def test_it_fits(columns: int, rows: int, hosts: int, workers: int) -> None:
    lines = lines_of(found(hosts, workers), columns, rows)
    assert len(lines) <= rows
    assert max(len(text) for text, _ in lines) <= columns
    assert {style for _, style in lines} <= {"", "head", "good", "bad"}


def test_what_stands_there() -> None:
    text = "\n".join(text for text, _ in lines_of(found(), 80, 24))
    assert "miosa-router 1.0.0 on edge-1  22:13:30 UTC  last 5 s" in text
    assert "requests   1,234/s, p50 1.5 ms, p99 1.5 ms, 4xx 0/s" in text
    assert "errors     2/s (0.2 %)" in text
    assert "open       6 connections, 3 exchanges, of them 2 tunnels; 0 wait, 0 held" in text
    assert "hosts known from memory 99.5 %" in text
    assert "refused    host_not_found 0.40/s" in text
    assert "certs      2 expiring (`miosa-router status` names them)" in text
    assert "HOST" in text
    assert "RESOURCE" in text


def test_what_is_wrong_is_said() -> None:
    stores = {"database": False, "redis": True, "bus": True}
    lines = dict(lines_of(found(silent=1, stores=stores), None, 60, "no node answers"))
    assert lines["no answer: no node answers"] == "bad"
    assert lines["1 workers do not answer: their numbers are missing"] == "bad"
    assert lines["stores     database DOES NOT ANSWER, redis answers, bus answers"] == "bad"


def test_nothing_for_a_terminal_to_obey() -> None:
    hosts = [{"host": "a\x1b[2J", **rates(1.0)}]
    assert not any("\x1b" in text for text, _ in lines_of(found(hosts=0) | {"hosts": hosts}, 80, 24))
