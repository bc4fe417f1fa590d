"""A tiny resource that uses everything the framework offers: books on a shelf."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from router import errors
from router.api.models import Body, Exact, Flag, Id, Instant, Integer, Metadata, Name, Out, Paging, Port, Query
from router.api.operations import Auth, Bare, Call, Counted, Data, Handlers, Paged, Rate, operation
from router.api.principal import Access, Principal
from router.base.ids import new_id
from router.errors import RouterError, StoreUnavailableError

TENANT, OTHER_TENANT = new_id(), new_id()
WORKSPACE, PROJECT = new_id(), new_id()

PRINCIPALS = {
    "platform": Principal("key:platform", Access.PLATFORM, TENANT),
    "tenant": Principal("key:tenant", Access.TENANT, TENANT),
    "other-tenant": Principal("key:other", Access.TENANT, OTHER_TENANT),
    "workspace": Principal("key:workspace", Access.WORKSPACE, TENANT, WORKSPACE),
    "project": Principal("key:project", Access.PROJECT, TENANT, WORKSPACE, PROJECT),
}


class Author(Body):
    name: Name
    born: Integer | None = None


class NewBook(Body):
    title: Name
    pages: Annotated[int, Field(ge=1, le=100_000)] | None = None
    isbn: Annotated[str, Field(pattern=r"^[0-9-]{10,17}$")] | None = None
    lent: bool = False
    shelf_id: Id | None = None
    tags: Annotated[list[Name], Field(max_length=3)] = Field(default_factory=list)
    author: Author | None = None
    port: Port | None = None
    metadata: Metadata = Field(default_factory=dict)


class BookChanges(Exact):
    title: Name | None = None
    lent: bool | None = None
    author: Author | None = None


class BookFilter(Paging):
    lent: Flag | None = None
    shelf_id: Id | None = None


class Search(Query):
    q: Annotated[str, Field(min_length=1, max_length=50)]


class Book(Out):
    id: str
    title: str
    lent: bool
    created_at: Instant


class Removed(Out):
    deleted: bool


@dataclass(frozen=True, slots=True)
class Stored:
    id: str
    title: str
    lent: bool
    created_at: datetime


class ShelfApi(Handlers):
    """`made` counts what the handlers did; `gate` holds `create` back while it is closed."""

    tag = "Books"

    def __init__(self) -> None:
        self.books: dict[str, Stored] = {}
        self.made = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    @operation("GET", "/books", "List books")
    async def list(self, call: Call[None, BookFilter]) -> Paged[Book]:
        found = [book for book in self.books.values() if call.query.lent in {None, book.lent}]
        window = call.query.window
        shown = found[window.offset : window.offset + window.limit]
        return Paged([Book.model_validate(book) for book in shown], len(found))

    @operation("GET", "/books/all", "List books with their number alone")
    async def all(self, call: Call[None, Paging]) -> Counted[Book]:
        return Counted([Book.model_validate(book) for book in self.books.values()], len(self.books))

    @operation("POST", "/books", "Add a book", status=201, also=(200,), problems=(errors.CONFLICT,))
    async def create(self, call: Call[NewBook]) -> Data[Book]:
        """Put a book on the shelf. One with a title that is there already is answered with 200."""
        self.made += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        for book in self.books.values():
            if book.title == call.body.title:
                return Data(Book.model_validate(book), 200)
        book = Stored(new_id(), call.body.title, call.body.lent, datetime(2026, 5, 17, 10, tzinfo=UTC))
        self.books[book.id] = book
        return Data(Book.model_validate(book))

    @operation("GET", "/books/{id}", "Get a book")
    async def get(self, call: Call) -> Data[Book]:
        book = self.books.get(call.ids["id"])
        if book is None:
            raise RouterError(errors.NOT_FOUND, "book not found")
        return Data(Book.model_validate(book))

    @operation("PATCH", "/books/{id}", "Change a book", problems=(errors.CONFLICT,))
    async def change(self, call: Call[BookChanges]) -> Data[dict[str, object]]:
        return Data(call.body.given())

    @operation("DELETE", "/books/{id}", "Remove a book")
    async def remove(self, call: Call) -> Bare[Removed]:
        self.books.pop(call.ids["id"], None)
        self.made += 1
        return Bare(Removed(deleted=True))

    @operation("PUT", "/books/{id}/labels/{label:text}", "Label a book")
    async def label(self, call: Call) -> Data[str]:
        return Data(call.ids["label"])

    @operation("GET", "/search", "Search")
    async def search(self, call: Call[None, Search]) -> Data[str]:
        return Data(call.query.q)

    @operation("POST", "/shelves", "Add a shelf", access=Access.TENANT)
    async def shelf(self, call: Call) -> Data[str]:
        return Data(call.principal.id)

    @operation("POST", "/sessions", "Sign in", rate=Rate.AUTH)
    async def session(self, call: Call) -> Data[str]:
        return Data(call.principal.id)

    @operation("GET", "/broken", "Fails as programs fail")
    async def broken(self, call: Call) -> Data[str]:
        raise ZeroDivisionError("the secret is 42")

    @operation("GET", "/unreachable", "Fails as stores fail")
    async def unreachable(self, call: Call) -> Data[str]:
        raise StoreUnavailableError("database at 10.1.2.3 is down")


class PublicApi(Handlers):
    tag = "Public"
    auth = Auth.NONE

    @operation("GET", "/status", "Whether we are up")
    async def status(self, call: Call) -> Data[str]:
        return Data("up")


class InnerApi(Handlers):
    tag = "Inner"
    prefix = "/internal/v1"
    auth = Auth.INTERNAL

    @operation("PUT", "/things/{id}", "Put a thing")
    async def put(self, call: Call) -> Data[str]:
        return Data(call.ids["id"])
