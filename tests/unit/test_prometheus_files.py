"""Alerts and dashboards name metrics, labels and values that exist, and what a person needs to act."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.observe.metric_table import PREFIX, TABLE, Row
from tests.support.prometheus import DASHBOARDS, DEPLOY, queries, rules

RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8")
ANCHORS = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", RUNBOOK)}
OF_PROCESSES = ("process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_cpu_seconds_total")
OF_PROMETHEUS = {"instance", "worker", "job", "le"}

each_board = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)


def _expressions() -> Iterator[tuple[str, str]]:
    """What names the expression, and it."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    yield from queries().items()


def _row(name: str) -> Row:
    """Of what a metric is called when it is exposed."""
    for row in TABLE:
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}[row.kind]
        if name.removeprefix(PREFIX) in {row.name + end for end in ends}:
            return row
    raise AssertionError(f"no metric {name}")


@pytest.mark.parametrize(("where", "expression"), [pytest.param(*one, id=one[0]) for one in _expressions()])
def test_metrics_and_labels_exist(where: str, expression: str) -> None:
    """A rule for a label that is never there would never fire."""
    found = re.findall(r"\b(miosa_router_\w+|process_\w+|up)\b(?:\{([^}]*)\})?", expression)
    assert found, where
    labels = set(OF_PROMETHEUS)
    for name, selectors in found:
        row = _row(name) if name.startswith(PREFIX) else None
        assert row is not None or name == "up" or name in OF_PROCESSES, name
        labels |= set(row.labels if row else ())
        for label, values in re.findall(r'(\w+)[=!]~?"([^"]*)"', selectors):
            if label in OF_PROMETHEUS:
                continue
            assert row is not None, name
            assert label in row.labels, f"{name}: {label}"
            for value in values.split("|"):
                assert any(re.fullmatch(value, known) for known in row.labels[label]), f"{name}: {label}={value}"
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= labels, grouped


def test_no_label_is_prometheus_own() -> None:
    """It would be called exported_job there, and a rule by (job) would take all jobs for one."""
    assert not {label for row in TABLE for label in row.labels} & OF_PROMETHEUS


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_says_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    """How urgent it is, what is wrong, what to do, and a part of the runbook that is there."""
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    said = rule["annotations"]
    assert said.keys() == {"summary", "description", "runbook_url"}
    assert said["summary"].endswith((".", "?"))
    assert said["description"].endswith((".", "?"))
    page, _, anchor = said["runbook_url"].partition("#")
    assert page == "RUNBOOK.md"
    assert anchor in ANCHORS


def test_there_are_two_boards() -> None:
    """One for traffic, one for certificates and domains."""
    assert [file.stem for file in DASHBOARDS] == ["certificates", "traffic"]


def test_boards_are_those_of_the_tables() -> None:
    """After an edit of boards.py, run it."""
    written = runpy.run_path(str(DEPLOY / "grafana" / "boards.py"))["files"]()
    assert {path: path.read_text(encoding="utf-8") for path in written} == written


@each_board
def test_each_panel_can_be_read(file: Path) -> None:
    """It has a title, a sentence, a unit, a legend, and the Prometheus that was chosen; nothing is fetched from outside."""
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"https?://", text)
    board = json.loads(text)
    assert {one["name"] for one in board["templating"]["list"]} == {"datasource", "instance"}
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["legendFormat"] for target in panel["targets"])


@each_board
def test_panels_lie_side_by_side(file: Path) -> None:
    """None over another, none beyond the grid's 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not taken & cells, panel["title"]
        taken |= cells
