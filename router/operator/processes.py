"""One question to every process of a node: what operators' tools show is in the processes that carry traffic."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import getpid
from typing import Any, Protocol

Arguments = Mapping[str, Any]
Answer = Callable[[Arguments], Any]
OnEvent = Callable[[str, Arguments], bool]
Hear = Callable[[int, Arguments], object]


class Workers(Protocol):
    """The processes beside the control process: `node/ipc/control_side.py`. Tests have one of their own."""

    async def ask_operator(self, question: str, arguments: Arguments) -> tuple[Sequence[tuple[int, Any]], int]:
        """Each worker's number and answer, and how many gave none in time."""

    def on_operator_event(self, hear: Callable[[int, str, Arguments], object]) -> None:
        """Have `hear(number, event, about)` called with what workers report."""


class Answers:
    """What one process answers, by the name of the question. Arguments and answers are JSON values."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {"process": lambda _: {"pid": getpid()}}
        self.on_event: OnEvent = lambda _event, _about: False
        """Tells the control process of something; False where it does not read."""

    def add(self, question: str, answer: Answer) -> None:
        """Answer this question by calling `answer` with its arguments."""
        self._answers[question] = answer

    def emit(self, event: str, about: Arguments) -> bool:
        """Tell the node's operators' tools of something that one of them asked to hear of. False where nobody reads."""
        return self.on_event(event, about)

    def answer(self, question: str, arguments: Arguments) -> Any:
        """The answer; None where this process knows no such question, as the control process of several has no sessions."""
        found = self._answers.get(question)
        return None if found is None else found(arguments)


@dataclass(frozen=True, slots=True)
class ProcessAnswer:
    """What one process answered. `process` is 0 for the control process and for a node's only process, else the worker's number; a worker
    that leaves and its successor have the same."""

    process: int
    value: Any


@dataclass(frozen=True, slots=True)
class Asked(Iterable[ProcessAnswer]):
    """The answers of all processes. `silent` workers gave none in time."""

    answers: Sequence[ProcessAnswer]
    silent: int = 0

    def __iter__(self) -> Any:
        return iter(self.answers)


class Processes:
    """All processes of a node: this one, and `workers` where it has some."""

    def __init__(self, own: Answers, workers: Workers | None) -> None:
        self._own = own
        self._workers = workers
        self._hearers: dict[str, Hear] = {}
        own.on_event = lambda event, about: self._hear(0, event, about)
        if workers is not None:
            workers.on_operator_event(self._hear)

    def on(self, event: str, hear: Hear) -> None:
        """Have `hear(process, about)` called with what processes `emit` under this name."""
        self._hearers[event] = hear

    def _hear(self, process: int, event: str, about: Arguments) -> bool:
        hear = self._hearers.get(event)
        if hear is not None:
            hear(process, about)
        return hear is not None

    async def ask(self, question: str, **arguments: Any) -> Asked:
        """Ask every process. One that knows no such question is left out."""
        return await ask_all(self._own, self._workers, question, **arguments)


async def ask_all(own: Answers, workers: Workers | None, question: str, **arguments: Any) -> Asked:
    """As `Processes.ask`, for those who hear no events."""
    answers = [(0, own.answer(question, arguments))]
    silent = 0
    if workers is not None:
        others, silent = await workers.ask_operator(question, arguments)
        answers += others
    return Asked([ProcessAnswer(process, value) for process, value in answers if value is not None], silent)
