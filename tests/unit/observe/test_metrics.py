"""The metrics: what is counted, how it is exposed, and that no label is open."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from router.domains.checks.pointing import CheckResult
from router.domains.checks.queue import DueKind
from router.gate.policy import VERDICTS
from router.observe.metric_table import TABLE
from router.observe.metrics import BOUNDS, OTHER, Metrics
from router.routes.chain import Level
from tests.support.ended import ended, route

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
    assert open_labels == {"version", "python"}


def test_the_sets_are_those_of_the_code_that_uses_them() -> None:
    """The chain's levels and the gate's reasons are all there."""
    rows = {row.name: row.labels for row in TABLE}
    for name in ("exchanges", "exchange_seconds", "first_byte_seconds"):
        assert set(rows[name]["level"]) == {str(level) for level in Level}
    assert set(rows["asks"]["reason"]) == {*VERDICTS, "method_not_allowed"}
    assert set(rows["domain_checks"]["type"]) == {str(kind) for kind in DueKind}
    assert set(rows["domain_checks"]["result"]) == {*map(str, CheckResult), "gone", "lost"}


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
