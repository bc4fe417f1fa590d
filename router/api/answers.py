"""From an answer or a problem to a response: the envelopes, and the one renderer of the API's errors."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp.web import Response
from pydantic import TypeAdapter

from router.api.cursors import CursorPaging
from router.api.endpoint import Answer, Bare, Counted, Endpoint, Paged, Resolved, Spread
from router.api.models import Paging
from router.errors import RouterError

JSON = "application/json"

# Answers are about somebody's resources: no cache keeps them, no browser guesses at them.
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "miosa-router"}


class Renderer:
    """Turns the answers of one endpoint into JSON."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        lists = endpoint.answer in {Paged, Counted}
        self._adapter: TypeAdapter[Any] = TypeAdapter(list[endpoint.item] if lists else endpoint.item)  # type: ignore[name-defined]

    def render(self, answer: Answer, query: Any) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        if isinstance(answer, Paged | Counted):
            rest: dict[str, Any] = {"total": answer.total}
            if isinstance(answer, Paged):
                paging = query if isinstance(query, Paging) else Paging()
                rest = {"page": {"page": paging.page, "page_size": paging.size, "total": answer.total}}
                if isinstance(paging, CursorPaging):
                    rest["page"]["next_cursor"] = answer.next_cursor
            items = self._adapter.dump_json(list(answer.items))
            return self._endpoint.status, b'{"data":' + items + b"," + json.dumps(rest).encode()[1:]
        body = self._adapter.dump_json(answer.item)
        if isinstance(answer, Resolved):
            if answer.reused:
                return HTTPStatus.OK, b'{"data":' + body + b',"reused":true}'
            return self._endpoint.status, b'{"data":' + body + b"}"
        status = answer.status if answer.status is not None else self._endpoint.status
        if isinstance(answer, Spread):
            return status, b'{"data":' + body + b"," + body[1:]
        return status, body if isinstance(answer, Bare) else b'{"data":' + body + b"}"


def respond(status: int, body: bytes, headers: Mapping[str, str]) -> Response:
    """A response with a JSON body."""
    return Response(status=status, body=body, content_type=JSON, charset="utf-8", headers={**HEADERS, **headers})


def problem_body(error: RouterError, request_id: str) -> bytes:
    """`{"error": {"code", "message", "request_id"}}`, with `fields` where a request's fields were wrong.

    Programs show the message alone, so a request's wrong fields are named in it too.
    """
    message = error.message
    if error.fields and message == error.problem.message:
        message = "; ".join(f"{name} {words}" for name, found in error.fields.items() for words in found)
    shown: dict[str, Any] = {"code": error.problem.code, "message": message, "request_id": request_id}
    if error.fields:
        shown["fields"] = error.fields
    shown |= error.beside
    return json.dumps({"error": shown}, ensure_ascii=False).encode("utf-8", errors="replace")
