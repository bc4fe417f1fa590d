"""Writes docs/retention.md from router/store/retention.py: `make docs`. A unit test says when the page is out of date."""

import sys
from datetime import timedelta

from router.store.retention import RETENTION, Bounded, Elsewhere, Pruned

INTRODUCTION = """\
# What is kept for how long

Made from `router/store/retention.py` by `make docs`; don't edit it here.

The job `prune` runs once an hour, on one node of the fleet. It deletes what is older than the time below, at most 500 rows per
transaction, so no other writer waits long; a run ends after nine minutes at the latest, and the next one goes on where it stopped.
The log says how many rows of which table went (`old rows deleted`). The job deletes nothing while the clock may be wrong, and of
the tables that are marked so no more than `prune_share` of their rows at once: see the RUNBOOK, "A wrong clock". Settings
are explained in [settings.md](settings.md).
"""


def page() -> str:
    """The whole page."""
    pruned = [one for one in RETENTION.values() if isinstance(one, Pruned)]
    parts = [
        INTRODUCTION,
        "## Deleted by the job `prune`\n",
        "| table | what | kept for | `prune_share` |",
        "|---|---|---|---|",
    ]
    parts += [f"| `{one.table.name}` | {one.rows} | {_kept(one)} | {'yes' if one.history else ''} |" for one in pruned]
    parts += ["\n## Deleted by other jobs\n", "| table | by | kept for |", "|---|---|---|"]
    for table, one in RETENTION.items():
        if isinstance(one, Elsewhere):
            parts.append(f"| `{table}` | {one.by} | {one.kept} |")
    parts += ["\n## Tables that do not grow with time or traffic\n", "| table | why |", "|---|---|"]
    parts += [f"| `{table}` | {one.why} |" for table, one in RETENTION.items() if isinstance(one, Bounded)]
    return "\n".join(parts) + "\n"


def _kept(one: Pruned) -> str:
    if isinstance(one.kept, timedelta):
        return _words(one.kept)
    return f"`{one.kept}`" if " " not in one.kept else one.kept


def _words(period: timedelta) -> str:
    if not period:
        return "until it ends"
    return "a day" if period.days == 1 else f"{period.days} days"


if __name__ == "__main__":
    sys.stdout.write(page())
