"""From what a handler returns, or a problem, to an HTTP response: the envelopes, and the one renderer of errors."""

import json
from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any

from aiohttp.web import Response
from pydantic import TypeAdapter

from router.api.cursors import CursorPaging
from router.api.models import Paging
from router.api.operations import (
    Bare,
    Counted,
    Download,
    Event,
    EventStream,
    HandlerResponse,
    Operation,
    Paged,
    Resolved,
    Spread,
    Text,
)
from router.errors import RouterError

JSON = "application/json"

# Responses are about one customer's resources: no cache may keep them, no browser may guess their type.
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "miosa-router"}


class Renderer:
    """Turns what the handler of one operation returns into JSON."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        """Made for the first response."""
        item = self._operation.item
        lists = self._operation.response in {Paged, Counted}
        return TypeAdapter(list[item] if lists else item)  # type: ignore[valid-type]

    def event(self, event: Event[Any]) -> bytes:
        """One event of a stream, as the HTML standard has them (§9.2.6)."""
        data = self._adapter.dump_json(event.item)
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode("ascii"), event.name.encode("ascii"), data)

    def render(self, response: HandlerResponse, query: Any) -> tuple[int, bytes]:
        """The status and the body of a response."""
        if isinstance(response, Paged | Counted):
            rest: dict[str, Any] = {"total": response.total}
            if isinstance(response, Paged):
                paging = query if isinstance(query, Paging) else Paging()
                rest = {"page": {"page": paging.page, "page_size": paging.size, "total": response.total}}
                if isinstance(paging, CursorPaging):
                    rest["page"]["next_cursor"] = response.next_cursor
            items = self._adapter.dump_json(list(response.items))
            return self._operation.status, b'{"data":' + items + b"," + json.dumps(rest).encode()[1:]
        if isinstance(response, EventStream | Text | Download):
            raise TypeError("a stream and a text are sent, not rendered")
        body = self._adapter.dump_json(response.item)
        if isinstance(response, Resolved):
            if response.reused:
                return HTTPStatus.OK, b'{"data":' + body + b',"reused":true}'
            return self._operation.status, b'{"data":' + body + b"}"
        status = response.status if response.status is not None else self._operation.status
        if isinstance(response, Spread):
            return status, b'{"data":' + body + b"," + body[1:]
        return status, body if isinstance(response, Bare) else b'{"data":' + body + b"}"


def respond(status: int, body: bytes, headers: Mapping[str, str]) -> Response:
    """A response with a JSON body."""
    return Response(status=status, body=body, content_type=JSON, charset="utf-8", headers={**HEADERS, **headers})


def problem_body(error: RouterError, request_id: str, docs_url: str) -> bytes:
    """`{"error": {"code", "message", "request_id", "docs_url"}}`, with `fields` where a request's fields were wrong.
    `docs_url` is the page that explains the codes.

    Programs show the message alone, so a request's wrong fields are named in it too.
    """
    message = error.message
    if error.fields and message == error.problem.message:
        message = "; ".join(f"{name} {words}" for name, found in error.fields.items() for words in found)
    shown: dict[str, Any] = {"code": error.code, "message": message, "request_id": request_id}
    shown["docs_url"] = f"{docs_url}#{error.code}"
    if error.fields:
        shown["fields"] = error.fields
    shown |= error.beside
    return json.dumps({"error": shown}, ensure_ascii=False).encode("utf-8", errors="replace")
