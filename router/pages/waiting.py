"""The page that waits in a browser while a resource is woken, and the event stream that tells it how far that has come.

The stream comes from the edge, under the preview's own host, so that it passes whatever lets the page pass. It is of no use
to anybody else: each event has one of `Stage`, and what the page shows.

    data: {"stage": "queued", "text": "Third in line …"}
    data: {"stage": "failed", "code": "wake_refused", "heading": "Asleep", "text": "…"}

Without a script the page loads itself again every few seconds.
"""

import enum
import json
from typing import Final, NamedTuple

from router.errors import Problem
from router.pages import wording

PATH: Final = "/.well-known/miosa/wake"
"""Where the stream is, on each host of a resource that is being woken."""

HEARTBEAT: Final = b":\n\n"
"""Keeps what is between us and the browser from taking the stream for dead."""

_RETRY: Final = 2000  # milliseconds until a browser asks anew, where the stream has broken off


class Stage(enum.Enum):
    """How far it has come; in this order."""

    ASKED = "asked"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    OPEN = "open"


class Progress(NamedTuple):
    """A stage, and the place in the queue where there is one."""

    stage: Stage
    place: int | None = None

    @property
    def text(self) -> str:
        """What the page says of it."""
        if self.stage is Stage.QUEUED and self.place is not None:
            return (
                "It is the next in line: others are woken at this moment."
                if self.place == 1
                else f"It is number {self.place} in line: others are woken first."
            )
        return _TEXTS[self.stage]


_TEXTS: Final = {
    Stage.ASKED: "The platform has been asked to wake it.",
    Stage.QUEUED: "It is in line: others are woken first.",
    Stage.STARTING: "It is starting.",
    Stage.RUNNING: "It runs. Its program is not listening yet.",
    Stage.OPEN: "It is here.",
}

# The rungs of the page's ladder, and the stage from which each is passed.
STEPS: Final = (
    ("asked", "Asked for"),
    ("starting", "Starting"),
    ("running", "Running"),
    ("open", "Listening"),
)

HEADING: Final = "Waking up"
TEXT: Final = "This preview was not running. It is being started, and opens here by itself."
TEXT_AFTER_A_FORM: Final = (
    "This preview was not running, and is being started. What you have just sent was not sent on, and was not kept: send it "
    "again once the preview is there."
)


def event(progress: Progress) -> bytes:
    """One event of the stream."""
    return _data({"stage": progress.stage.value, "text": progress.text})


def first_event(progress: Progress) -> bytes:
    """The one that a stream begins with."""
    return b"retry: %d\n" % _RETRY + event(progress)


def last_event(problem: Problem) -> bytes:
    """It could not be woken: nothing follows."""
    return _data(
        {
            "stage": "failed",
            "code": problem.code,
            "heading": wording.heading(problem, None),
            "text": problem.message,
        }
    )


def _data(value: dict[str, str]) -> bytes:
    return b"data: " + json.dumps(value).encode("ascii") + b"\n\n"
