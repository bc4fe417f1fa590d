"""The metrics: what is counted, how it is exposed, and that no label is open."""

import json

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Exemplar

from router.domains.checks.pointing import CheckResult
from router.domains.checks.queue import DueKind
from router.gate.policy import VERDICTS
from router.observe.metric_table import BOUNDS, TABLE
from router.observe.metrics import OTHER, Metrics
from router.records.tenant_series import TenantSeries
from router.routes.chain import Level
from tests.support.ended import ended, route
from tests.support.request_records import ACME, GLOBEX

OPENMETRICS = "application/openmetrics-text"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(metrics: Metrics) -> Series:
    """Everything that is exposed: (name without the prefix, labels) to value."""
    found: Series = {}
    for family in parse_text(metrics.render("")[0].decode()):
        for sample in family.samples:
            found[sample.name.removeprefix("miosa_router_"), frozenset(sample.labels.items())] = sample.value
    return found


def one(metrics: Metrics, name: str, **labels: str) -> float:
    """The value of one series."""
    return series(metrics)[name, frozenset(labels.items())]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_names_are_unique_and_labels_closed() -> None:
    """One row per metric, each with a help text; each label has its set of values."""
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert all(row.help for row in TABLE)
    open_labels = {label for row in TABLE for label, values in row.labels.items() if not values}
    assert open_labels == {"version", "python", "tenant"}


def test_the_sets_are_those_of_the_code_that_uses_them() -> None:
    """The chain's levels and the gate's reasons are all there."""
    rows = {row.name: row.labels for row in TABLE}
    for name in ("exchanges", "exchange_seconds", "first_byte_seconds"):
        assert set(rows[name]["level"]) == {str(level) for level in Level}
    assert set(rows["asks"]["reason"]) == {*VERDICTS, "method_not_allowed"}
    assert set(rows["domain_checks"]["type"]) == {str(kind) for kind in DueKind}
    assert set(rows["domain_checks"]["result"]) == {*map(str, CheckResult), "gone", "lost"}


def test_a_histogram_without_labels_begins_at_0(metrics: Metrics) -> None:
    """So that its first observation is seen as an increase, and a dashboard shows none rather than nothing."""
    assert one(metrics, "loop_lag_seconds_count") == 0
    assert one(metrics, "change_seconds_bucket", le="+Inf") == 0


def test_exchanges_are_counted_by_level_status_and_ending(metrics: Metrics) -> None:
    """One series per combination that occurred."""
    exact = route(level=Level.EXACT)
    metrics.exchange([ended(), ended(status=204), ended(status=502, ending="BD", route=exact)])
    metrics.exchange([ended(), ended(status=0, ending="CR", route=None)])
    assert one(metrics, "exchanges_total", level="platform", status="2xx", ending="--") == 3
    assert one(metrics, "exchanges_total", level="exact", status="5xx", ending="BD") == 1
    assert one(metrics, "exchanges_total", level="none", status="none", ending="CR") == 1


def test_words_outside_their_set_become_other(metrics: Metrics) -> None:
    """A bug of ours makes no new label value, and is not hidden."""
    metrics.exchange([ended(status=777, ending="zz"), ended(status=601, ending="yy", route=route(source="cloud"))])
    metrics.count("asks", "because")
    metrics.count("asks", "therefore")
    assert one(metrics, "exchanges_total", level="platform", status=OTHER, ending=OTHER) == 2
    assert one(metrics, "resolutions_total", source=OTHER) == 1
    assert one(metrics, "asks_total", reason=OTHER) == 2


def test_bytes_and_retries_add_up(metrics: Metrics) -> None:
    """The first try is no retry, nor is none at all."""
    metrics.exchange([ended(received=10, sent=1, tries=0), ended(received=5, sent=2, tries=1), ended(sent=4, tries=4)])
    assert one(metrics, "received_bytes_total") == 15
    assert one(metrics, "sent_bytes_total") == 7
    assert one(metrics, "retries_total") == 3


def test_resolutions_by_source(metrics: Metrics) -> None:
    """An exchange that came to no host resolved nothing."""
    stale = route(source="stale")
    metrics.exchange([ended(), ended(looked_up=False), ended(route=stale, looked_up=False), ended(route=None)])
    (sources,) = (row.labels["source"] for row in TABLE if row.name == "resolutions")
    counted = {source: one(metrics, "resolutions_total", source=source) for source in sources}
    assert counted == {"process": 1, "sql": 1, "redis": 0, "memory": 0, "stale": 1, "none": 0}


def test_histograms(metrics: Metrics) -> None:
    """A duration counts in its bucket and all above; the bound belongs to the bucket."""
    durations = (0.0005, 0.001, 0.0011, 0.3, 1000.0)
    metrics.exchange([ended(started=0.0, first_byte=0.0, ended=seconds) for seconds in durations])
    buckets = {bound: one(metrics, "exchange_seconds_bucket", level="platform", le=str(bound)) for bound in BOUNDS}
    assert (buckets[0.001], buckets[0.0025], buckets[0.25], buckets[0.5], buckets[300.0]) == (2, 3, 3, 4, 4)
    assert one(metrics, "exchange_seconds_bucket", level="platform", le="+Inf") == 5
    assert one(metrics, "exchange_seconds_count", level="platform") == 5
    assert one(metrics, "exchange_seconds_sum", level="platform") == pytest.approx(sum(durations))
    assert ("first_byte_seconds_count", frozenset({("level", "platform")})) not in series(metrics)


def test_first_bytes_count_where_there_was_one(metrics: Metrics) -> None:
    """From the start of the exchange."""
    metrics.exchange([ended(started=1.0, first_byte=1.04, ended=2.0), ended(first_byte=0.0)])
    assert one(metrics, "first_byte_seconds_count", level="platform") == 1
    assert one(metrics, "first_byte_seconds_sum", level="platform") == pytest.approx(0.04)


def test_tunnels_are_in_no_histogram(metrics: Metrics) -> None:
    """How long people keep a WebSocket open says nothing about speed; they count as exchanges."""
    metrics.exchange([ended(tunnel=True, status=101)])
    assert one(metrics, "exchanges_total", level="platform", status="1xx", ending="--") == 1
    assert ("exchange_seconds_count", frozenset({("level", "platform")})) not in series(metrics)


def test_counters_with_one_label_start_at_zero(metrics: Metrics) -> None:
    """So that the first failure is an increase that an alert can see."""
    assert one(metrics, "backend_errors_total", reason="dial_refused") == 0
    metrics.count("backend_errors", "dial_refused")
    assert one(metrics, "backend_errors_total", reason="dial_refused") == 1
    assert one(metrics, "asks_total", reason="issued") == 0


def test_gauges_are_read_at_each_scrape(metrics: Metrics) -> None:
    """A number, or one per value of the label; a gauge that nobody offers is not exposed."""
    opened = [1]
    metrics.gauge("client_connections", lambda: len(opened))
    metrics.gauge("backend_connections", lambda: {"idle": 3, "busy": len(opened), "lost": 1})
    assert one(metrics, "client_connections") == 1
    opened.append(2)
    assert one(metrics, "client_connections") == 2
    assert one(metrics, "backend_connections", state="idle") == 3
    assert one(metrics, "backend_connections", state="busy") == 2
    assert one(metrics, "backend_connections", state=OTHER) == 1
    assert ("tunnels", frozenset[tuple[str, str]]()) not in series(metrics)


def test_only_what_is_in_the_table_exists(metrics: Metrics) -> None:
    """Wiring a name that is not there fails at once."""
    with pytest.raises(KeyError):
        metrics.gauge("exchanges", lambda: 1)
    with pytest.raises(KeyError):
        metrics.gauge("absent", lambda: 1)
    with pytest.raises(KeyError):
        metrics.count("tunnels")


def test_the_build_and_the_process_are_described(metrics: Metrics) -> None:
    """What runs, and what it uses."""
    names = {name for name, _ in series(metrics)}
    assert {"build_info", "process_resident_memory_bytes", "process_open_fds"} <= names


def test_a_worker_is_a_label_on_all_of_its_own() -> None:
    """Where there are several processes, their series differ."""
    metrics = Metrics(worker=2)
    metrics.gauge("tunnels", lambda: 0)
    metrics.exchange([ended()])
    ours = [labels for name, labels in series(metrics) if not name.startswith(("process_", "python_"))]
    assert ours
    assert all(("worker", "2") in labels for labels in ours)


def test_the_scraper_chooses_the_format(metrics: Metrics) -> None:
    """OpenMetrics for whom asks for it, else the text format; both parse."""
    metrics.exchange([ended()])
    metrics.gauge("backend_connections", lambda: {"idle": 3})
    text, content_type = metrics.render("*/*")
    assert content_type.startswith("text/plain; version=0.0.4")
    assert list(parse_text(text.decode()))
    text, content_type = metrics.render("application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert list(parse_openmetrics(text.decode()))


def test_histogram_series_whose_level_is_unknown_are_one(metrics: Metrics) -> None:
    """Two words outside the set do not make two equal series."""
    for level in ("new", "newer"):
        found = route()
        object.__setattr__(found.decision, "level", level)
        metrics.exchange([ended(route=found)])
    assert one(metrics, "exchange_seconds_count", level=OTHER) == 2


def test_a_histogram_may_have_no_label(metrics: Metrics) -> None:
    """One series of buckets, and the sum."""
    for seconds in (0.002, 0.02, 0.2):
        metrics.observe("change_seconds", seconds)
    assert one(metrics, "change_seconds_bucket", le="0.025") == 2
    assert one(metrics, "change_seconds_count") == 3
    assert one(metrics, "change_seconds_sum") == pytest.approx(0.222)
    with pytest.raises(KeyError):
        metrics.observe("no_such_histogram", 1.0)


def openmetrics(text: bytes) -> dict[tuple[str, str, str], Exemplar]:
    """The exemplars of an exposition, by sample without the prefix, level and bucket."""
    return {
        (sample.name.removeprefix("miosa_router_"), sample.labels["level"], sample.labels["le"]): sample.exemplar
        for family in parse_openmetrics(text.decode())
        for sample in family.samples
        if sample.exemplar
    }


TRACED = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_buckets_have_examples_where_openmetrics_is_asked_for(metrics: Metrics) -> None:
    """The slowest request of a batch and the last one, with the request's id, the trace's, and the time; a newer one replaces the
    older. The text format knows none."""
    metrics.epoch(lambda: 1_700_000_000.0)
    quick = {"first_byte": 0.0, "ended": 10.004}
    metrics.exchange(
        [ended(**quick), ended(id=b"slow", traceparent=TRACED), ended(**quick), ended(id=b"last", **quick)]
    )
    found = openmetrics(metrics.render(OPENMETRICS)[0])
    assert set(found) == {
        ("exchange_seconds_bucket", "platform", "0.25"),
        ("first_byte_seconds_bucket", "platform", "0.1"),
        ("exchange_seconds_bucket", "platform", "0.005"),
    }
    slow = found["exchange_seconds_bucket", "platform", "0.25"]
    assert slow.labels == {"request_id": "slow", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    assert (slow.value, float(slow.timestamp)) == (0.25, 1_700_000_010.25)
    assert found["exchange_seconds_bucket", "platform", "0.005"].labels == {"request_id": "last"}
    metrics.exchange([ended(id=b"slower")])
    found = openmetrics(metrics.render(OPENMETRICS)[0])
    assert found["exchange_seconds_bucket", "platform", "0.25"].labels == {"request_id": "slower"}
    assert b"request_id" not in metrics.render("")[0]


def test_examples_are_bounded(metrics: Metrics) -> None:
    """One for each bucket; an id that is too long for OpenMetrics has none, and tunnels have none."""
    for number in range(1000):
        metrics.exchange([ended(id=b"%d" % number, ended=10.0 + number)])
    assert len(metrics._exemplars) <= 2 * (len(BOUNDS) + 1)
    other = Metrics()
    other.exchange([ended(id=b"x" * 128), ended(tunnel=True)])
    assert openmetrics(other.render(OPENMETRICS)[0]) == {}


def test_examples_of_workers_are_joined() -> None:
    """Where they are asked for: a process of an older version knows none."""
    control, worker = Metrics(0), Metrics(1)
    worker.exchange([ended(id=b"of-worker")])
    assert all(len(sample) == 3 for family in worker.figures() for sample in family[4])
    figures = json.loads(json.dumps(worker.figures(exemplars=True)))
    found = openmetrics(control.render(OPENMETRICS, [figures])[0])
    assert found["exchange_seconds_bucket", "platform", "0.25"].labels == {"request_id": "of-worker"}
    assert b"request_id" not in control.render("", [worker.figures()])[0]


def test_tenants_that_are_shown(metrics: Metrics) -> None:
    """Only with a setting; each metric has one series for each."""
    assert not [name for name, _ in series(metrics) if name.startswith("tenant_")]
    counted = TenantSeries([ACME.bytes], 0)
    counted.add(ACME.bytes, 1, 10, error=True, client_error=False)
    counted.add(GLOBEX.bytes, 2, 20, error=False, client_error=True)
    metrics.tenants(counted.read)
    assert one(metrics, "tenant_request_errors_total", tenant=str(ACME)) == 1
    assert one(metrics, "tenant_sent_bytes_total", tenant="_other") == 20
    assert sum(name == "tenant_requests_total" for name, _ in series(metrics)) == 2
