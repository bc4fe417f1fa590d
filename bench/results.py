"""What was measured: values by scenario, contestant and figure, and where they are written."""

import json
import platform
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# What a figure is called in the table, in the order of its columns.
FIGURES = {
    "cpu": "CPU µs per {unit}",
    "rate": "{unit}s per second",
    "behind": "of it the proxy behind Caddy, µs",
    "p50": "p50 ms",
    "p99": "p99 ms",
    "p99.9": "p99.9 ms",
    "memory": "KiB each",
    "rss": "RSS MiB",
    "ratio": "two workers ÷ one",
    "share": "% of a core",
    "ready": "seconds",
    "later": "a minute later ÷ before",
}


@dataclass
class Table:
    """One scenario's figures: the values of all rounds by contestant and figure."""

    name: str
    title: str
    unit: str
    notes: list[str] = field(default_factory=list)
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    def add(self, contestant: str, figure: str, value: float) -> None:
        self.values.setdefault(contestant, {}).setdefault(figure, []).append(value)

    def fail(self, contestant: str, count: int) -> None:
        self.failed[contestant] = self.failed.get(contestant, 0) + count

    def median(self, contestant: str, figure: str) -> float | None:
        values = self.values.get(contestant, {}).get(figure)
        return statistics.median(values) if values else None

    def figures(self) -> list[str]:
        return [name for name in FIGURES if any(name in figures for figures in self.values.values())]


@dataclass
class Results:
    """All tables of a run, and what it ran on."""

    machine: dict[str, str]
    versions: dict[str, str]
    missing: dict[str, str]
    rounds: int
    tables: dict[str, Table] = field(default_factory=dict)

    def table(self, name: str, title: str, unit: str) -> Table:
        return self.tables.setdefault(name, Table(name, title, unit))

    def median(self, scenario: str, contestant: str, figure: str) -> float | None:
        table = self.tables.get(scenario)
        return None if table is None else table.median(contestant, figure)

    def as_json(self, goals: list[Any]) -> str:
        scenarios = {
            table.name: {
                "title": table.title,
                "unit": table.unit,
                "notes": table.notes,
                "failed": table.failed,
                "contestants": {
                    name: {figure: _summary(values) for figure, values in figures.items()}
                    for name, figures in table.values.items()
                },
            }
            for table in self.tables.values()
        }
        whole = {
            "machine": self.machine,
            "versions": self.versions,
            "missing": self.missing,
            "rounds": self.rounds,
            "goals": goals,
            "scenarios": scenarios,
        }
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _summary(values: list[float]) -> dict[str, Any]:
    rounded = [round(value, 4) for value in values]
    return {
        "median": round(statistics.median(values), 4),
        "min": min(rounded),
        "max": max(rounded),
        "values": rounded,
    }


def machine() -> dict[str, str]:
    """What this runs on."""
    processor, memory = "unknown", "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            memory = f"{int(line.split()[1]) / 2**20:.0f} GiB"
    cores = Path("/proc/cpuinfo").read_text().count("processor\t:")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{processor}, {cores} cores seen",
        "memory": memory,
        "kernel": platform.release(),
        "load before": Path("/proc/loadavg").read_text().split()[0],
    }


def number(value: float) -> str:
    """Short, with what matters."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def rows_of(table: Table, against: str) -> Iterator[list[str]]:
    """The table's rows of text, the heading first; the last column compares CPU time with that of `against`."""
    figures = table.figures()
    compares = "cpu" in figures
    heading = ["", *(FIGURES[name].format(unit=table.unit) for name in figures)]
    yield [*heading, "÷ ours"] if compares else heading
    ours = table.median(against, "cpu")
    for name, found in table.values.items():
        row = [name]
        for figure in figures:
            values = found.get(figure)
            if not values:
                row.append("–")
                continue
            text = number(statistics.median(values))
            if figure != "rate" and len(values) > 1:
                text += f" ({number(min(values))}–{number(max(values))})"
            row.append(text)
        if compares:
            cpu = table.median(name, "cpu")
            row.append("–" if cpu is None or not ours else f"{cpu / ours:.2f}")
        if table.failed.get(name):
            row[0] += f" ({table.failed[name]} failed)"
        yield row


def as_markdown(rows: Iterator[list[str]]) -> str:
    """Rows as a Markdown table, numbers to the right."""
    heading, *others = rows
    lines = [f"| {' | '.join(heading)} |", "|---" + "|---:" * (len(heading) - 1) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in others]
    return "\n".join(lines)
