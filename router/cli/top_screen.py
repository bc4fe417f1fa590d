"""The screen of `top` as lines of text, each with how it is shown. Nothing here prints."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from router.cli.output import fitted, printable

Line = tuple[str, str]
"""A text and its style: `head` of a table, `good`, `bad`, or none."""

_NONE: Final = "-"
_LEAST_ROWS: Final = 4  # of a table, its head included
_WIDE: Final = 150  # columns, from which on two tables stand beside each other
_RATES: Final = ("req/s", "err/s", "p50 ms", "p99 ms", "out/s")


def lines_of(found: Mapping[str, Any], columns: int | None, rows: int, trouble: str = "") -> list[Line]:
    """At most so many lines of so many columns; None cuts none. `trouble` is why the numbers are old."""
    lines = [*_head(found, trouble), *_workers(found, rows)]
    left = rows - len(lines) - 1
    hosts = [("HOST", [(one["host"] or "(hosts that lead nowhere, and others)", one) for one in found["hosts"]])]
    resources = [("RESOURCE", [(f"{one['slug']}  {one['resource_id']}", one) for one in found["resources"]])]
    if left >= _LEAST_ROWS:
        lines.append(("", ""))
        if columns is not None and columns >= _WIDE:
            half = (columns - 2) // 2
            lines += _beside(_table(*hosts[0], half, left), _table(*resources[0], half, left), half)
        elif left < 2 * _LEAST_ROWS + 1:
            lines += _table(*hosts[0], columns, left)
        else:
            for_hosts = min(len(found["hosts"]) + 1, left - 1 - min(left // 2, max(2, len(found["resources"]) + 1)))
            lines += _table(*hosts[0], columns, for_hosts)
            lines.append(("", ""))
            lines += _table(*resources[0], columns, left - for_hosts - 1)
    return [(fitted("", text, "", columns), style) for text, style in lines[:rows]]


def _head(found: Mapping[str, Any], trouble: str) -> list[Line]:
    total, silent = found["total"], found["silent"]
    clock = datetime.fromtimestamp(found["at"], UTC).strftime("%H:%M:%S")
    seconds = found["seconds"]
    span = f"last {seconds} s" if seconds else "counting begins"
    title = f"miosa-router {found['version']} on {found['node']}  {clock} UTC  {span}"
    lines: list[Line] = [(title, "head")]
    if trouble:
        lines.append((f"no answer: {trouble}", "bad"))
    if silent:
        lines.append((f"{silent} workers do not answer: their numbers are missing", "bad"))
    errors, requests = total["errors_per_second"], total["requests_per_second"]
    share = f" ({100 * errors / requests:.1f} %)" if errors and requests else ""
    lines.append(
        (
            (
                f"requests   {_rate(requests)}/s, p50 {_ms(total['p50_ms'])} ms, p99 {_ms(total['p99_ms'])} ms,"
                f" 4xx {_rate(total['client_errors_per_second'])}/s"
            ),
            "",
        )
    )
    lines.append((f"errors     {_rate(errors)}/s{share}", "bad" if errors else "good"))
    lines.append(
        (
            (
                f"open       {total.get('client_connections', 0)} connections,"
                f" {total.get('exchanges_in_flight', 0)} exchanges, of them {total.get('tunnels', 0)} tunnels;"
                f" {total.get('requests_waiting', 0)} wait, {total.get('requests_held', 0)} held"
            ),
            "",
        )
    )
    hits = total["cache_hit_share"]
    cache = _NONE if hits is None else f"{100 * hits:.1f} %"
    lines.append(
        (
            (
                f"bytes      {_bytes(total['bytes_in_per_second'])}/s in, {_bytes(total['bytes_out_per_second'])}/s out;"
                f" hosts known from memory {cache}"
            ),
            "",
        )
    )
    lines += [_stores(found["stores"]), _certificates(found["certificates"]), _refusals(found["refusals"])]
    return lines


def _stores(stores: Mapping[str, bool | None]) -> Line:
    words = {True: "answers", False: "DOES NOT ANSWER", None: "none or unknown"}
    text = ", ".join(f"{name} {words[usable]}" for name, usable in stores.items())
    return f"stores     {text}", "bad" if False in stores.values() else "good"


def _certificates(found: Mapping[str, int | None]) -> Line:
    if found["expiring"] is None:
        return "certs      not known", ""
    counts = {state: number for state, number in found.items() if number and state != "in_flight"}
    text = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in counts.items())
    named = " (`miosa-router status` names them)" if counts else "none near its end, expired or failed"
    return f"certs      {text}{named}, {found['in_flight'] or 0} being requested", "bad" if counts else "good"


def _refusals(refusals: Sequence[Mapping[str, Any]]) -> Line:
    text = ", ".join(f"{one['code']} {_rate(one['per_second'])}/s" for one in refusals)
    return f"refused    {text or 'nothing'}", ""


def _workers(found: Mapping[str, Any], rows: int) -> list[Line]:
    """A line for each, where there are several and room."""
    workers = found["workers"]
    if len(workers) < 2:
        return []
    room = max(1, rows // 3)
    lines: list[Line] = [("", ""), (_columns(*_RATES) + "  WORKER", "head")]
    for one in workers[:room]:
        beside = f"{one['worker']}  {one.get('client_connections', 0)} connections, {one.get('tunnels', 0)} tunnels"
        lines.append((f"{_numbers(one)}  {beside}", "bad" if one["errors_per_second"] else ""))
    if len(workers) > room:
        lines.append((f"and {len(workers) - room} more", ""))
    return lines


def _table(title: str, named: Sequence[tuple[str, Mapping[str, Any]]], columns: int | None, rows: int) -> list[Line]:
    lines: list[Line] = [(_columns(*_RATES) + f"  {title}", "head")]
    for name, one in named[: max(0, rows - 1)]:
        lines.append((fitted(_numbers(one) + "  ", name, "", columns), "bad" if one["errors_per_second"] else ""))
    if not named:
        lines.append(("     none", ""))
    return lines


def _beside(left: Sequence[Line], right: Sequence[Line], half: int) -> list[Line]:
    lines: list[Line] = []
    for at in range(max(len(left), len(right))):
        text, style = left[at] if at < len(left) else ("", "")
        other, others = right[at] if at < len(right) else ("", "")
        lines.append((f"{printable(text):<{half}}  {other}", style if style == others else style or others))
    return lines


def _numbers(one: Mapping[str, Any]) -> str:
    return _columns(
        _rate(one["requests_per_second"]),
        _rate(one["errors_per_second"]),
        _ms(one["p50_ms"]),
        _ms(one["p99_ms"]),
        _bytes(one["bytes_out_per_second"]),
    )


def _columns(*texts: str) -> str:
    return " ".join(f"{text:>7}" for text in texts)


def _rate(number: float) -> str:
    return (
        f"{number:,.0f}"
        if number >= 100 or number == int(number)
        else f"{number:.1f}"
        if number >= 1
        else f"{number:.2f}"
    )


def _ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return _NONE
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:.0f}"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
