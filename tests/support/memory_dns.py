"""The in-memory twins of DNS, which passes the same contract tests, and of whoever answers for a host."""

from collections.abc import Sequence
from typing import Any

from router.domains.checks.challenge import Fetched
from router.domains.lookup import Answer, Outcome, Question, RecordType, ServerAnswer

_MOST_ALIASES = 8


class MemoryLookup:
    """A Lookup whose records are put in by hand. `asked` keeps the questions."""

    def __init__(self) -> None:
        self._names: dict[str, dict[RecordType, tuple[str, ...]]] = {}
        self._failing: dict[str, Answer] = {}
        self._differing: dict[Question, tuple[ServerAnswer, ...]] = {}
        self.asked: list[Question] = []

    def put(self, name: str, record_type: RecordType, *values: str) -> None:
        """Set the records of a name. `*.zone` is a wildcard, as in RFC 4592. No values: none of this type."""
        of_name = self._names.setdefault(name, {})
        of_name.pop(record_type, None)
        self._differing.pop(Question(name, record_type), None)
        if values:
            of_name[record_type] = tuple(sorted(values))

    def remove(self, name: str) -> None:
        """Forget a name."""
        self._names.pop(name, None)

    def fail(self, name: str, reason: str | None = "servfail", *errors: str) -> None:
        """From now on nothing is known of the name, for that reason; None mends it."""
        self._failing.pop(name, None)
        if reason is not None:
            self._failing[name] = Answer(Outcome.UNKNOWN, reason=reason, errors=errors)

    def differ(self, name: str, record_type: RecordType, *views: Sequence[str]) -> None:
        """From now on each server of the name has records of its own; a view without values is NODATA there."""
        self._differing[Question(name, record_type)] = tuple(
            ServerAnswer(
                f"ns{number}.example.net", record_type, Outcome.FOUND if view else Outcome.NODATA, tuple(sorted(view))
            )
            for number, view in enumerate(views, 1)
        )

    async def ask(
        self,
        questions: Sequence[Question],
        until: float,  # knows at once
        *,
        fresh: bool = False,  # remembers nothing
    ) -> Sequence[Answer]:
        self.asked += questions
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Answer:
        name = question.name
        aliases: list[str] = []
        while len(aliases) <= _MOST_ALIASES:
            passed = tuple(aliases)
            if name in self._failing:
                failing = self._failing[name]
                return Answer(Outcome.UNKNOWN, reason=failing.reason, errors=failing.errors, aliases=passed)
            for asked in (question.type, RecordType.CNAME):
                if differing := self._differing.get(Question(name, asked)):
                    return Answer(Outcome.PROPAGATING, aliases=passed, servers=differing)
            records = self._records_of(name)
            if records is None:
                return Answer(Outcome.NXDOMAIN, aliases=passed)
            if question.type in records:
                return Answer(Outcome.FOUND, records[question.type], aliases=passed)
            if RecordType.CNAME not in records:
                return Answer(Outcome.NODATA, aliases=passed)
            name = records[RecordType.CNAME][0]
            if name in (question.name, *aliases):
                return Answer(Outcome.UNKNOWN, reason="alias_loop", aliases=passed)
            aliases.append(name)
        return Answer(Outcome.UNKNOWN, reason="too_many_aliases", aliases=tuple(aliases[:_MOST_ALIASES]))

    def _records_of(self, name: str) -> dict[RecordType, tuple[str, ...]] | None:
        """A name's records; None where it does not exist.

        A name that has names below it exists, without records, and hides what a wildcard further up would give to it.
        """
        if name in self._names:
            return self._names[name]
        if self._has_below(name):
            return {}
        parent = name.partition(".")[2]
        while parent and parent not in self._names and not self._has_below(parent):
            parent = parent.partition(".")[2]
        return self._names.get(f"*.{parent}")

    def _has_below(self, name: str) -> bool:
        return any(other.endswith(f".{name}") for other in self._names)


class MemoryFetch:
    """A Fetch whose hosts are put in by hand; all others are silent. `asked` keeps the host and path of each request."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, bool], Fetched] = {}
        self.asked: list[tuple[str, str]] = []

    def put(
        self,
        host: str,
        status: int | None,
        body: str = "",
        reason: str | None = None,
        *,
        by_https: bool = False,
        **more: Any,
    ) -> None:
        """What the host answers from now on, whatever is asked."""
        self._answers[host, by_https] = Fetched(status, body.encode(), reason, **more)

    async def get(self, host: str, path: str, until: float, *, https: bool = False) -> Fetched:  # knows at once
        self.asked.append((host, path))
        return self._answers.get((host, https), Fetched(None, reason="timeout", https=https))
