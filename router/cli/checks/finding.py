"""What a check of an installation finds."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field


class Level(enum.StrEnum):
    """`unknown`: it could not be found out, which is neither fine nor wrong."""

    ERROR = "error"
    WARNING = "warning"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is so, why that matters, and what to do next. `code` is for programs."""

    level: Level
    code: str
    what: str
    why: str
    then: str

    @property
    def sentence(self) -> str:
        first = self.what.partition(" ")[0]
        what = (
            self.what if "." in first or "`" in first else self.what[0].upper() + self.what[1:]
        )  # a name stays as it is
        return f"{what}, {self.why}: {self.then}."


@dataclass(frozen=True, slots=True)
class Report:
    """What one check found, and in a few words what it saw where that was fine."""

    findings: Sequence[Finding] = field(default=())
    seen: str = ""


def error(code: str, what: str, why: str, then: str) -> Finding:
    return Finding(Level.ERROR, code, what, why, then)


def warning(code: str, what: str, why: str, then: str) -> Finding:
    return Finding(Level.WARNING, code, what, why, then)


def unknown(code: str, what: str, why: str, then: str) -> Finding:
    return Finding(Level.UNKNOWN, code, what, why, then)
