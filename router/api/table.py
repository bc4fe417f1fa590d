"""The table of operations: all that are served and documented, found by path and method."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from router.api.models import UUID
from router.api.operations import Auth, BoundOperation, Handlers, Operation
from router.api.parsing import parse_segment
from router.api.responses import Renderer
from router.audit.actions import route_action


class Served:
    """One row of the table, ready to serve."""

    __slots__ = ("action", "event", "handler", "operation", "render")

    def __init__(self, bound: BoundOperation) -> None:
        self.operation = bound.operation
        self.handler = bound.handler
        renderer = Renderer(bound.operation)
        self.render = renderer.render
        self.event = renderer.event
        row = bound.operation
        self.action = route_action(row.method, row.path) if row.mutates and row.auth is not Auth.NONE else None


@dataclass(frozen=True, slots=True)
class Match:
    """What a path means: the rows by method, and the texts in its places."""

    methods: Mapping[str, Served]
    places: Mapping[str, str]

    @property
    def internal(self) -> bool:
        """Whether the path is the platform's."""
        return any(served.operation.auth is Auth.INTERNAL for served in self.methods.values())

    @property
    def allow(self) -> str:
        """The value of an Allow header."""
        return ", ".join(sorted({*self.methods, "HEAD"} if "GET" in self.methods else self.methods))


class Table:
    """All rows. Paths are compared segment by segment; where two fit, the one with the earlier literal wins."""

    def __init__(self, handlers: Iterable[Handlers]) -> None:
        self._paths: dict[tuple[str, ...], dict[str, Served]] = {}
        for each in handlers:
            for bound in each.operations():
                self._add(bound)
        _check_shapes(self._paths)
        self._by_length: dict[int, list[tuple[str, ...]]] = {}
        for segments in sorted(self._paths, key=lambda parts: [part.startswith("{") for part in parts]):
            self._by_length.setdefault(len(segments), []).append(segments)

    def __iter__(self) -> Iterator[Operation]:
        for methods in self._paths.values():
            for served in methods.values():
                yield served.operation

    def _add(self, bound: BoundOperation) -> None:
        row = bound.operation
        methods = self._paths.setdefault(tuple(row.path.split("/")[1:]), {})
        if row.method in methods:
            raise ValueError(f"{row.method} {row.path} is declared twice")
        methods[row.method] = Served(bound)

    def match(self, path: str) -> Match | None:
        """What a raw path means; None where no operation has it, or a placeholder's value is not valid."""
        raw = path.split("/")[1:]
        for segments in self._by_length.get(len(raw), ()):
            places = _places(segments, raw)
            if places is not None:
                return Match(self._paths[segments], places)
        return None


def _check_shapes(paths: Iterable[tuple[str, ...]]) -> None:
    """Refuse `/x/{id}` beside `/x/{name}`: only one of them would ever be found."""
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    for segments in paths:
        shape = tuple("{}" if segment.startswith("{") else segment for segment in segments)
        other = seen.setdefault(shape, segments)
        if other != segments:
            raise ValueError(f"/{'/'.join(segments)} and /{'/'.join(other)} are the same path")


def _places(segments: tuple[str, ...], raw: list[str]) -> dict[str, str] | None:
    places = {}
    for segment, given in zip(segments, raw, strict=True):
        if not segment.startswith("{"):
            if segment != given:
                return None
            continue
        name, _, kind = segment[1:-1].partition(":")
        text = parse_segment(given)
        if not text or (kind != "text" and UUID.fullmatch(text) is None):
            return None
        places[name] = text if kind == "text" else text.lower()
    return places
