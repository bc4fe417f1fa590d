"""How an operation (a method on a path, as OpenAPI has it) is declared: once, by a decorator, with the types of its
handler. That declaration serves it and documents it, so the two cannot disagree.

    class WorkspacesApi(Handlers):
        tag = "Workspaces"

        @operation("POST", "/workspaces", "Create a workspace", status=201, problems=(WORKSPACE_NAME_EXISTS,))
        async def create(self, call: Call[CreateWorkspace]) -> Data[Workspace]:
            ...

`Call[Body, Query]` says what is read and checked before the handler runs; the type that it returns says what is sent:
`Data[T]` `{"data": T}`, `Bare[T]` T itself, `Spread[T]` both at once, `Resolved[T]` `{"data": T}` with `"reused": true`
where it existed, `Paged[T]` `{"data": [T], "page": {…}}`, `Counted[T]` `{"data": [T], "total": N}`, `EventStream[T]` events with T, `Text` a text in a format of its own,
`Download[T]` a file of many T that is sent while it is read. A `{name}` in a path
is a UUID (anything else there is 404), `{name:text}` any text.
"""

import dataclasses
import enum
import inspect
import re
import typing
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import TypeVar as DefaultingTypeVar

from router import errors
from router.api.principal import Access, Principal
from router.errors import Problem

T = TypeVar("T")
B = DefaultingTypeVar("B", default=None)
Q = DefaultingTypeVar("Q", default=None)
Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])

SAFE_METHODS = frozenset({"GET", "HEAD"})

_PLACE = re.compile(r"\{([a-z_]+)(:text)?\}")


class Auth(enum.Enum):
    """Who may call."""

    KEY = "a key or a token of a tenant"
    INTERNAL = "the platform, with the internal token"
    NONE = "anybody"


class Rate(enum.Enum):
    """Which of the rates an operation counts against."""

    GENERAL = "general"
    AUTH = "auth"
    METRICS = "metrics"
    NONE = "none"  # every caller gets the same, from memory


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """One request, read and checked. `ids` holds the path's places; `body` and `query` are the declared models; `last_event_id` is
    what a client that listens again has heard last, `accept` its Accept header, `client` the address that it comes from; `browser`
    is the cookie of the console's login, which only operations for anybody are told."""

    principal: Principal
    ids: Mapping[str, str]
    body: B
    query: Q
    request_id: str
    last_event_id: str = ""
    accept: str = ""
    client: str = "unknown"
    browser: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Data(Generic[T]):
    """`{"data": item}`. `status` None is the operation's own.

    `kept` is what a replayed Idempotency-Key is sent in the place of an item with a secret that is shown once.
    """

    item: T
    status: int | None = None
    kept: T | None = None


@dataclass(frozen=True, slots=True)
class Bare(Generic[T]):
    """The item itself, for the few pages that show a response without an envelope."""

    item: T
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Spread(Generic[T]):
    """`{"data": item}` with the item's own fields beside it, where the official client looks for them there."""

    item: T
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """What was asked for: new, with the operation's status, or `reused`, with 200 and `"reused": true` beside it."""

    item: T
    reused: bool


@dataclass(frozen=True, slots=True)
class Paged(Generic[T]):
    """One page of a list, with the pagination object; `next_cursor` goes into it where the query takes a cursor."""

    items: Sequence[T]
    total: int
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Counted(Generic[T]):
    """One page of a list, with `total` alone, for the pages that show a list so."""

    items: Sequence[T]
    total: int


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One event of a stream. A client that comes back with its `id` gets those after it."""

    id: str
    name: str
    item: T


@dataclass(frozen=True, slots=True)
class EventStream(Generic[T]):
    """Events for as long as the client listens (text/event-stream). `events` gives None where there was nothing for a moment; it
    is closed at the end. `check` raises RouterError where the caller may listen no longer."""

    events: AsyncGenerator[Event[T] | None, None]
    check: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Text:
    """A text in a format that other programs know, with its content type."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Download(Generic[T]):
    """A file that is sent piece by piece, as `parts` gives them; it is closed at the end. T is what one line of it has."""

    content_type: str
    name: str
    parts: AsyncGenerator[bytes, None]


HandlerResponse = (
    Data[Any]
    | Bare[Any]
    | Spread[Any]
    | Resolved[Any]
    | Paged[Any]
    | Counted[Any]
    | EventStream[Any]
    | Text
    | Download[Any]
)
_RESPONSES = (Data, Bare, Spread, Resolved, Paged, Counted, EventStream, Download)


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table: what the decorator was told and what the handler's types say."""

    method: str
    path: str
    summary: str
    description: str
    status: int
    also: tuple[int, ...]
    problems: tuple[Problem, ...]
    access: Access
    rate: Rate
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    response: type[HandlerResponse]
    item: Any
    places: Mapping[str, bool] = field(default_factory=dict)
    max_age: int | None = None
    for_readers: bool = False
    one_transaction: bool = False
    auth: Auth = Auth.KEY
    tag: str = ""
    name: str = ""

    @property
    def mutates(self) -> bool:
        """Whether it takes an Idempotency-Key."""
        return self.method not in SAFE_METHODS

    def all_problems(self) -> tuple[Problem, ...]:
        """Its own problems and those that come with what it takes; each once."""
        found = [*self.problems]
        if self.auth is not Auth.NONE:
            found.append(errors.UNAUTHORIZED)
        if self.auth is Auth.KEY:
            found += [errors.FORBIDDEN, errors.RATE_LIMITED]
        if self.auth is Auth.NONE and self.rate is not Rate.NONE:
            found.append(errors.RATE_LIMITED)
        if self.places or self.auth is Auth.INTERNAL:
            found.append(errors.NOT_FOUND)
        if self.mutates:
            found += [errors.API_PAYLOAD_TOO_LARGE, errors.REQUEST_TIMEOUT]
        if self.mutates and self.auth is not Auth.NONE:
            found += [
                errors.INVALID_IDEMPOTENCY_KEY,
                errors.IDEMPOTENCY_IN_PROGRESS,
                errors.IDEMPOTENCY_KEY_REUSED,
            ]
        if self.body is not None:
            found += [errors.MALFORMED_JSON, errors.UNSUPPORTED_MEDIA_TYPE]
        if self.body is not None or self.query is not None:
            found.append(errors.VALIDATION_FAILED)
        found += [errors.INTERNAL_ERROR, errors.UNAVAILABLE]
        return tuple(dict.fromkeys(found))


def operation(
    method: str,
    path: str,
    summary: str,
    *,
    status: int = 200,
    also: tuple[int, ...] = (),
    problems: tuple[Problem, ...] = (),
    access: Access = Access.PROJECT,
    rate: Rate = Rate.GENERAL,
    max_age: int | None = None,
    for_readers: bool = False,
    one_transaction: bool = False,
) -> Callable[[Handler], Handler]:
    """Declare a method of `Handlers` as an operation.

    `also` lists further statuses of success, `problems` what the handler may raise, `access` the narrowest key that
    may call it, `max_age` for how many seconds anybody may keep a response; none may be kept otherwise, `for_readers` that whoever only reads may
    call it though its method is not safe, `one_transaction` that the handler waits for nothing but the store, or commits before it
    does (`transactions.commit_ambient`): then its Idempotency-Key, its change and its response are stored at once or not at
    all; one that only reads does so as of one instant. The handler's docstring is its description.
    """

    def declare(handler: Handler) -> Handler:
        hints = typing.get_type_hints(handler)
        body, query = _reads(hints["call"])
        response, item = _sends(hints["return"])
        row = Operation(
            method=method,
            path=path,
            summary=summary,
            description=inspect.getdoc(handler) or "",
            status=status,
            also=also,
            problems=problems,
            access=access,
            rate=rate,
            max_age=max_age,
            for_readers=for_readers,
            one_transaction=one_transaction,
            body=body,
            query=query,
            response=response,
            item=item,
            name=handler.__name__,
        )
        handler.__operation__ = row  # type: ignore[attr-defined]  # read by Handlers.operations
        return handler

    return declare


def _reads(hint: Any) -> tuple[type[BaseModel] | None, type[BaseModel] | None]:
    if get_origin(hint) is not Call and hint is not Call:
        raise TypeError("the parameter `call` of a handler is a Call")
    body, query = (*get_args(hint), None, None)[:2]
    return _model(body), _model(query)


def _model(hint: Any) -> type[BaseModel] | None:
    return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None


def _sends(hint: Any) -> tuple[type[HandlerResponse], Any]:
    if hint is Text:
        return Text, str
    origin = get_origin(hint)
    if origin not in _RESPONSES:
        raise TypeError(f"a handler returns one of {', '.join(kind.__name__ for kind in _RESPONSES)}")
    return origin, get_args(hint)[0]


@dataclass(frozen=True, slots=True)
class BoundOperation:
    """An operation with the method that serves it."""

    operation: Operation
    handler: Callable[[Call[Any, Any]], Awaitable[HandlerResponse]]


class Handlers:
    """The operations on one noun, and what they share. Subclasses take what they need by keyword in `__init__`."""

    tag: ClassVar[str]
    prefix: ClassVar[str] = "/api/v1"
    auth: ClassVar[Auth] = Auth.KEY

    def operations(self) -> list[BoundOperation]:
        """Its operations, in the order of their declaration."""
        found = []
        for name, member in vars(type(self)).items():
            row: Operation | None = getattr(member, "__operation__", None)
            if row is not None:
                path = self.prefix + row.path
                places = {match[1]: match[2] is None for match in _PLACE.finditer(path)}
                whole = dataclasses.replace(row, path=path, places=places, tag=self.tag, auth=self.auth)
                found.append(BoundOperation(whole, getattr(self, name)))
        return found
