"""A tenant's metrics as text."""

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_plain

from router.records.counters import BOUNDS, Counters
from router.records.exposition import LABELS, OWNER_LABELS, TABLE, Shown, render
from tests.support.request_records import ACME, SHOP

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
COUNTERS = Counters(ACME.bytes, SHOP.bytes, 9, 2, 1, 70, 900, 1_500_000, (3, *[0] * (len(BOUNDS) - 1), 5))
SHOWN = (
    Shown(COUNTERS, str(SHOP), "deployment", "shop", "w", "p"),
    Shown(COUNTERS._replace(requests=4)),
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text; version=x; escaping=no\tsuch",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
def test_both_formats_say_the_same(accept: str, content_type: str) -> None:
    """Each is read by its parser; whatever else an Accept header says is not repeated."""
    body, found = render(SHOWN, accept)
    assert found == content_type
    read = read_openmetrics if "openmetrics" in content_type else read_plain
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in read(body.decode())
        for sample in family.samples
    }
    mine = ("deployment", str(SHOP), "shop")
    values = {name: value for (name, *labels), value in samples.items() if sorted(labels) == sorted(mine)}
    assert values == {
        "miosa_requests_total": 9,
        "miosa_request_errors_total": 2,
        "miosa_request_client_errors_total": 1,
        "miosa_received_bytes_total": 70,
        "miosa_sent_bytes_total": 900,
        "miosa_request_duration_seconds_count": 8,
        "miosa_request_duration_seconds_sum": 1.5,
    }
    assert samples["miosa_requests_total", "_other", "_other", "_other"] == 4


def test_the_page_has_every_metric() -> None:
    """docs/metrics.md names each with what it says, its labels and the buckets."""
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(miosa_(?!router_)\w+)` \| (.*) \|$", page, re.MULTILINE))
    ends = {"counter": "_total", "histogram": "", "info": ""}
    assert rows == {row.name + ends[row.kind]: f"{row.kind} | {row.help}" for row in TABLE}
    assert all(f"`{label}`" in page for label in (*LABELS, *OWNER_LABELS))
    assert ", ".join(f"{bound:g}" for bound in BOUNDS) in page
