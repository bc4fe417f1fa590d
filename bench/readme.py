"""Put the figures of the last whole run into README's table, between two marks: `python -m bench.readme`"""

import json
from pathlib import Path
from typing import Any

from bench.stage import OURS

BEGIN, END = "<!-- made by `python -m bench.readme` -->\n", "<!-- end of what is made -->\n"
_ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).with_name("results") / "results.json"
_PROXIES = {
    OURS: OURS,
    "nginx": "nginx",
    "nginx+lua": "nginx with Lua",
    "haproxy": "haproxy",
    "caddy": "Caddy",
    "aiohttp": "an aiohttp proxy",
}
# What a scenario is called in the table, and what it is.
_SCENARIOS = {
    "visitors": (
        "visitors",
        "*Visitors* are 300 hosts in Zipf order, no two heads alike, cookies of 0.1–1.5 KB and responses of 1–20 KB that differ.",
    ),
    "get-32": ("equal heads", "*Equal heads*, a small GET again and again, are the best case."),
}


def table(results: dict[str, Any]) -> str:
    """The table with what it shows, of those scenarios that were measured."""
    found = [name for name in _SCENARIOS if results["scenarios"].get(name, {}).get("contestants")]
    headings = [
        f"{_SCENARIOS[name][0]}: {figure}" for name in found for figure in ("CPU µs per request", "requests per second")
    ]
    lines = [" ".join(_SCENARIOS[name][1] for name in found), ""]
    lines += [f"| proxy | {' | '.join(headings)} |", "|---" + "|---:" * len(headings) + "|"]
    for proxy, shown in _PROXIES.items():
        cells = [shown]
        for name in found:
            figures = results["scenarios"][name]["contestants"].get(proxy, {})
            for figure, form in (("cpu", "{:.1f}"), ("rate", "{:,.0f}")):
                cells.append(form.format(figures[figure]["median"]) if figure in figures else "–")
        if set(cells[1:]) != {"–"}:
            marked = [f"**{cell}**" for cell in cells] if proxy == OURS else cells
            lines.append(f"| {' | '.join(marked)} |")
    return "\n".join([*lines, "", ""])  # without an empty line the mark would be one more row


def put(text: str, made: str) -> str:
    """`text` with `made` between the marks. Raises ValueError where it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the marks of the bench's table are missing")
    return before + begin + made + end + after


def main() -> None:
    file = _ROOT / "README.md"
    made = table(json.loads(RESULTS.read_text(encoding="utf-8")))
    file.write_text(put(file.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main()
