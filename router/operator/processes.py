"""One question to every process of a node: what operators' tools show is in the processes that carry traffic."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import getpid
from typing import Any

Arguments = Mapping[str, Any]
Answer = Callable[[Arguments], Any]
AskWorkers = Callable[[str, Arguments], Awaitable[tuple[Sequence[tuple[int, Any]], int]]]


class Answers:
    """What one process answers, by the name of the question. Arguments and answers are JSON values."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {"process": lambda _: {"pid": getpid()}}

    def add(self, question: str, answer: Answer) -> None:
        """Answer this question by calling `answer` with its arguments."""
        self._answers[question] = answer

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
    """All processes of a node: this one, and the workers where `ask_workers` asks some."""

    def __init__(self, own: Answers, ask_workers: AskWorkers | None) -> None:
        self._own = own
        self._ask_workers = ask_workers

    async def ask(self, question: str, **arguments: Any) -> Asked:
        """Ask every process. One that knows no such question is left out."""
        answers = [(0, self._own.answer(question, arguments))]
        silent = 0
        if self._ask_workers is not None:
            others, silent = await self._ask_workers(question, arguments)
            answers += others
        return Asked([ProcessAnswer(process, value) for process, value in answers if value is not None], silent)
