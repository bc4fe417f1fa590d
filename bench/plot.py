"""Bars as SVG, written by hand: a picture of some rectangles needs no library."""

from html import escape

from bench.results import Table, number

_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TOP = 760, 150, 110, 20, 8, 56
_OURS, _OTHERS, _SPREAD, _INK = "#c2410c", "#94a3b8", "#334155", "#0f172a"


def bars(table: Table, figure: str, label: str, ours: str) -> str | None:
    """One bar per contestant: the median, with a line from the least to the greatest value. None without values."""
    rows = [(name, found[figure]) for name, found in table.values.items() if found.get(figure)]
    if not rows:
        return None
    rows.sort(key=lambda row: table.median(row[0], figure) or 0)
    most = max(max(values) for _, values in rows)
    scale = (_WIDTH - _LEFT - _RIGHT) / (most or 1)
    height = _TOP + len(rows) * (_BAR + _GAP) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold" fill="{_INK}">{escape(table.title)}</text>',
        f'<text x="12" y="41" fill="{_SPREAD}">{escape(label)}, median; the line is the spread of the rounds</text>',
    ]
    for place, (name, values) in enumerate(rows):
        y = _TOP + place * (_BAR + _GAP)
        median = table.median(name, figure) or 0
        colour = _OURS if ours in name else _OTHERS
        low, high = _LEFT + min(values) * scale, _LEFT + max(values) * scale
        middle = y + _BAR / 2
        parts += [
            f'<text x="{_LEFT - 8}" y="{middle + 5}" text-anchor="end" fill="{_INK}">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{median * scale:.1f}" height="{_BAR}" fill="{colour}"/>',
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{_SPREAD}" stroke-width="2"/>',
            f'<text x="{high + 6:.1f}" y="{middle + 5}" fill="{_INK}">{number(median)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
