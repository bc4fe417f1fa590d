"""`doctor`: what is wrong with the installation, in one sentence for each finding."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from router.cli.options import AsJson, Config
from router.cli.output import hanging, show, width
from router.cli.run_command import command_settings, reported

if TYPE_CHECKING:
    from router.cli.checks.finding import Report

_LEVELS = ("error", "warning", "unknown")  # the worst first
_OK = "ok"


def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Check the installation: a sentence for each finding. Exit status 1 where there is an error, 0 for warnings."""
    from router.base.clock import SystemClock
    from router.cli.checks import examine

    with reported(as_json):
        reports = asyncio.run(examine(command_settings(config), SystemClock()))
        document = as_document(reports)
        show(document, as_json, lambda: _text(document, width()))
    if document["errors"]:
        raise typer.Exit(1)


def as_document(reports: "Mapping[str, Report]") -> dict[str, Any]:
    """The reports as JSON has them, the worst findings first."""
    findings = [
        {
            "check": name,
            "level": one.level.value,
            "code": one.code,
            "message": one.sentence,
            "what": one.what,
            "why": one.why,
            "next": one.then,
        }
        for name, report in reports.items()
        for one in report.findings
    ]
    findings.sort(key=lambda one: _LEVELS.index(one["level"]))
    worst: dict[str, str] = {}
    for one in findings:
        worst.setdefault(one["check"], one["level"])
    counts = {level: sum(one["level"] == level for one in findings) for level in _LEVELS}
    return {
        "errors": counts["error"],
        "warnings": counts["warning"],
        "unknown": counts["unknown"],
        "findings": findings,
        "checks": [
            {"check": name, "result": worst.get(name, _OK), "seen": None if name in worst else report.seen}
            for name, report in reports.items()
        ],
    }


def finding_lines(findings: list[dict[str, Any]], columns: int | None) -> list[str]:
    """A sentence for each, with its level and check before it."""
    return [hanging(f"{one['level']:<8} {one['check']:<13} ", one["message"], columns) for one in findings]


def _text(document: Mapping[str, Any], columns: int | None) -> str:
    lines = finding_lines(document["findings"], columns)
    fine = [one for one in document["checks"] if one["result"] == _OK]
    lines += [hanging(f"{_OK:<8} {one['check']:<13} ", one["seen"], columns) for one in fine]
    counts = [f"errors: {document['errors']}", f"warnings: {document['warnings']}", f"unknown: {document['unknown']}"]
    lines.append(f"{', '.join(counts)}, checks without a finding: {len(fine)} of {len(document['checks'])}")
    return "\n".join(lines)
