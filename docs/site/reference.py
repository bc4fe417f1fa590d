"""The pages that are made from the code: error codes, metrics, endings, events; the command line and the API have files of
their own."""

import re

from docs.site import api, cli
from docs.site.sources import ROOT
from router.certificates.findings import REFUSALS, REMARKS
from router.observe.endings import COMBINATIONS
from router.observe.metric_table import PREFIX, TABLE
from router.pages import reference as errors
from router.pages.reference.page import Meaning

_EVENT = re.compile(r"`([a-z_]+\.[a-z_]+)`")
_WHO = {
    "C": "the client",
    "c": "the client, by a timeout",
    "B": "the backend",
    "b": "the backend, by a timeout",
    "E": "the edge",
}
_PHASE = {
    "R": "its request's head is read",
    "A": "its host is looked up and admitted",
    "W": "its resource is woken",
    "Q": "it waits for a place",
    "D": "its backend is dialled",
    "H": "its request is sent and the response's head is awaited",
    "B": "the bodies flow",
    "T": "it is a tunnel",
}


def pages() -> dict[str, str]:
    """Their paths in the site, and their text."""
    return {
        "reference/errors.md": error_codes(),
        "reference/metrics.md": metrics(),
        "reference/endings.md": endings(),
        "reference/events.md": events(),
        "reference/cli.md": cli.page(),
        **api.pages(),
    }


def error_codes() -> str:
    """Every code that an answer can carry."""
    introduction = (
        "# Error codes\n\n"
        "Every error of the router has a code: in the JSON as `error.code`, in the header `X-Miosa-Error`, and at the end of its "
        "page. `docs_url` of each error leads to the paragraph of its code, on a page that the router serves itself: `/errors` "
        "on the login host and `/docs/errors` on the API's listener. Set [`docs_url`](../settings.md) to lead to this page instead.\n\n"
        "A `reason` tells apart what has the same code and needs another remedy.\n"
    )
    parts = [introduction]
    for code in errors.codes():
        parts.append(f"## `{code.code}` {{ #{code.code} }}\n")
        for meaning in code.meanings:
            parts += _meaning(meaning, several=len(code.meanings) > 1)
        if code.others:
            others = ", ".join(f'<code id="{other}">{other}</code>' for other in code.others)
            parts.append(f"The same, with the record that is missing: {others}.\n")
    parts.append(
        "## Codes of a diagnosis { #diagnoses }\n\nFindings of `GET …/diagnose` and `miosa-router domains diagnose`.\n"
    )
    for name, found in errors.DIAGNOSES.items():
        parts.append(f"### `{name}` {{ #{name} }}\n\n{found.meaning} **To do:** {found.remedy}\n")
    parts.append(
        "## Findings about a certificate { #certificate-findings }\n\nWhat `error.findings` of `certificate_refused` has, and the "
        "findings of a certificate that is taken. Words in braces stand for what the finding names.\n"
    )
    for title, table in (("It is refused", REFUSALS), ("It is taken all the same", REMARKS)):
        parts.append(f"### {title}\n\n| code | message |\n|---|---|")
        parts += [f"| `{name}` | {_cell(text)} |" for name, text in table.items()]
        parts.append("")
    return "\n".join(parts)


def _meaning(meaning: Meaning, *, several: bool) -> list[str]:
    found = [f"**On {meaning.surface}**\n" if several else ""]
    proxy = f" · `Proxy-Status` `{meaning.proxy_error}`" if meaning.proxy_error else ""
    found.append(f"Status **{meaning.status}** · caused by {meaning.fault} · retry: {meaning.retry}{proxy}\n")
    for reason, _, message in meaning.messages:
        found.append(f"- `reason` `{reason}`: {message}" if reason else f"> {message}\n")
    found.append(f"\n**Why:** {meaning.entry.why}\n")
    found += [f"- **{who}:** {what}" for who, what in meaning.advice]
    return [*found, ""]


def metrics() -> str:
    """The table of metrics."""
    rows = [
        f"| `{PREFIX}{row.name}{'_total' if row.kind == 'counter' else ''}`<br>{row.kind} | {_labels(row.labels)} | {_cell(row.help)} |"
        for row in TABLE
    ]
    return (
        "# Metrics\n\n`/metrics` of the admin listener has these, in Prometheus's format. Labels have closed sets of values: never a "
        "host, an id or what else visitors and customers choose. The [runbook](../runbook.md#metrics-and-alerts) says which to alert on, and the "
        "[endings](endings.md) are explained on a page of their own.\n\n| metric and type | labels | what it says |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _labels(labels: object) -> str:
    found = []
    for name, values in dict(labels).items():  # type: ignore[call-overload]
        many = len(values) > 8
        found.append(f"`{name}`: {len(values)} values" if many else f"`{name}`: {', '.join(values) or 'any'}")
    return "; ".join(found) or "none"


def endings() -> str:
    """The two letters of each access line."""
    rows = [f"| `{ending}` | {_ended(ending)} | {_cell(text)} |" for ending, text in COMBINATIONS.items()]
    return (
        "# Endings\n\nTwo letters on every access line, on each request record and in the label `ending` of `exchanges_total`: who ended an "
        "exchange, and in which phase. A capital acted, a small letter let a time limit pass. The "
        "[runbook](../runbook.md#how-to-read-an-ending) says what to do about them.\n\n| ending | who, and when | what happened |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _ended(ending: str) -> str:
    return "nobody" if ending == "--" else f"{_WHO[ending[0]]}, while {_PHASE[ending[1]]}"


def events() -> str:
    """Every event, one a line, from the table of docs/webhooks.md, which a test compares with the code."""
    text = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
    table = text.partition("| type | happened |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = []
    for line in table.splitlines():
        types, _, happened = line.strip("| ").partition(" | ")
        happened = re.sub(r"\(([a-z-]+\.md)", r"(../\1", happened)
        kinds = _EVENT.findall(types)
        shared = (
            f" (of {' and '.join(f'`{kind}`' for kind in kinds)}, in this order)"
            if len(kinds) > 1 and ";" in happened
            else ""
        )
        rows += [f'| <code id="{kind}">{kind}</code> | {happened}{shared} |' for kind in kinds]
    return (
        "# Events\n\nWhat is in `GET /api/v1/events`, and what [webhooks](../webhooks.md) deliver. Where several events share a description, it names "
        "them in their order. `data` never has a secret.\n\n| type | happened |\n|---|---|\n" + "\n".join(rows) + "\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
