"""The bench: us and others on the same work in one run, interleaved. `python -m bench.run --quick`

The figure is the proxy's CPU time per unit of work, user and system of all its processes: it holds from run to run on a
shared machine, and throughput follows from it. Proxies have one core to themselves, load and backends the other. Ours
runs as `serve` with everything on: access log to a file, metrics, limits, deadlines, Redis. Tables, plots and the goals
go to `bench/results/`. Whoever cannot start is shown as missing, and a scenario that fails says so; the rest goes on.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from bench.goals import GOALS
from bench.latency import steady_rate
from bench.many_hosts import zipf
from bench.plot import bars
from bench.private import private
from bench.resting import SCENARIOS as RESTING
from bench.results import FIGURES, Results, as_markdown, machine, rows_of
from bench.scenarios import SCENARIOS as OTHERS
from bench.scenarios import Bench, Scenario
from bench.stage import OURS, Stage
from bench.visiting import SCENARIOS as VISITORS

SCENARIOS: dict[str, Scenario] = {
    **VISITORS,
    **OTHERS,
    "zipf": zipf,
    "steady": steady_rate,
    **RESTING,
    "private": private,
}
_FOLDER = Path(__file__).with_name("results")
_QUICK = ("visitors", "get-32", "1m-down")
_QUICK_PEERS = frozenset((OURS, "nginx", "nginx+lua", "haproxy", "caddy"))


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def _run(bench: Bench, names: list[str], folder: Path) -> None:
    """Run the scenarios, and write what there is after each: a run that is ended leaves what it has."""
    for name in names:
        _say(name)
        try:
            SCENARIOS[name](bench)
        except Exception as error:  # noqa: BLE001 - one scenario's fault is shown, and costs no other its figures
            traceback.print_exc()
            table = bench.results.table(name, name, "request")
            table.notes.append(f"Failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
        _write(bench.results, folder)


def _write(results: Results, folder: Path) -> str:
    """Write all forms of the results; the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    goals = [goal.judge(results) for goal in GOALS]
    (folder / "results.json").write_text(results.as_json(goals))
    parts = [
        "# What was measured",
        "",
        f"{results.rounds} interleaved rounds after a warm-up: median (least–greatest).",
    ]
    parts += ["", *(f"- {what}: {words}" for what, words in results.machine.items())]
    parts += [f"- {name}: {version}" for name, version in results.versions.items()]
    parts += [f"- {name} is missing: {why}" for name, why in results.missing.items()]
    parts += ["", "## Goals", "", "| | goal | figure | |", "|---|---:|---:|---|"]
    parts += [f"| {row['goal']} | {row['bound']} | {row['figure']} | {row['met']} |" for row in goals]
    for table in results.tables.values():
        parts += ["", f"## {table.title}", "", *(note + "\n" for note in table.notes)]
        if not table.values:
            continue
        parts.append(as_markdown(rows_of(table, OURS)))
        figure = table.figures()[0]
        picture = bars(table, figure, FIGURES[figure].format(unit=table.unit), OURS)
        if picture is not None:
            (folder / f"{table.name}.svg").write_text(picture)
            parts += ["", f"![{table.title}]({table.name}.svg)"]
    text = "\n".join(parts) + "\n"
    (folder / "results.md").write_text(text)
    return text


def main() -> int:
    """Run the bench; the exit status."""
    options = argparse.ArgumentParser(description="CPU time per unit of work, ours against others in one run.")
    options.add_argument("--quick", action="store_true", help="a few scenarios and peers, within a minute")
    options.add_argument("--only", action="append", choices=sorted(SCENARIOS), help="this scenario; may be repeated")
    options.add_argument("--peer", action="append", help="ours and this one only; may be repeated")
    options.add_argument("--rounds", type=int)
    options.add_argument("--seconds", type=int, default=1, help="of a round's load, of one contestant")
    options.add_argument("--minutes", type=float, default=0.0, help="of the steady rate, for ours and nginx in turns")
    options.add_argument("--results", type=Path, help="where to write them (full run: bench/results)")
    chosen = options.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed; on Debian: apt-get install wrk", file=sys.stderr)
        return 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    names = chosen.only or (list(_QUICK) if chosen.quick else list(SCENARIOS))
    peers = frozenset((OURS, *chosen.peer)) if chosen.peer else _QUICK_PEERS if chosen.quick else None
    rounds = chosen.rounds or (1 if chosen.quick else 5)
    whole = not chosen.quick and not chosen.only
    folder = chosen.results or (_FOLDER if whole else Path(tempfile.mkdtemp(prefix="miosa-bench-results-")))
    with tempfile.TemporaryDirectory(prefix="miosa-bench-") as name:
        before = machine()
        with Stage(Path(name), peers) as stage:
            results = Results(before, stage.versions, stage.missing, rounds)
            _run(Bench(stage, results, rounds, chosen.seconds, minutes=chosen.minutes), names, folder)
    print(_write(results, folder))
    _say(f"written to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
