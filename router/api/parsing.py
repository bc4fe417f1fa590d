"""From a request's bytes to checked values: the body, the query, the places of the path.

A value that no store can hold (a text with NUL or half a surrogate pair, the number 1e999) is a wrong field (422), not
a wrong request: JSON can spell it, so the response names the field.

A body is parsed once, by `json`: pydantic's own parser refuses lone surrogates and unknown fields without saying where,
and knows no 5.0 that is 5. pydantic then validates the values.
"""

import asyncio
import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp.web import BaseRequest, RequestPayloadError
from pydantic import AliasChoices, BaseModel, ValidationError

from router import errors
from router.api.messages import INVALID, fields_of
from router.base.text import is_storable
from router.errors import RouterError

MAX_BODY = 10 * 1024 * 1024
MAX_DEPTH = 200  # objects and lists inside each other
BODY_TIME = 30.0  # seconds for a body to arrive
_MAX_PARAMETERS = 200


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete: no response can be sent."""


async def read_body(request: BaseRequest) -> bytes:
    """The whole body, decoded if it was compressed. Raises RouterError at once where it is too large or too slow."""
    if (request.content_length or 0) > MAX_BODY:
        raise RouterError(errors.API_PAYLOAD_TOO_LARGE)
    if not request.body_exists:
        return b""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIME):
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > MAX_BODY:
                    raise RouterError(errors.API_PAYLOAD_TOO_LARGE)
                chunks.append(chunk)
    except TimeoutError:
        raise RouterError(errors.REQUEST_TIMEOUT) from None
    except RequestPayloadError:  # chunks or compression that do not parse
        raise RouterError(errors.BAD_REQUEST) from None
    except ConnectionError as error:
        raise ClientGoneError(str(error)) from None
    return b"".join(chunks)


def parse_body(model: type[BaseModel], raw: bytes, content_type: str | None) -> BaseModel:
    """The body as its model. A request without a body counts as `{}`. Raises RouterError (400, 415, 422)."""
    if not raw:
        return _validate(model, {})
    if not _is_json(content_type):
        raise RouterError(errors.UNSUPPORTED_MEDIA_TYPE)
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_parse_float)
    except (ValueError, RecursionError):
        raise RouterError(errors.MALFORMED_JSON) from None
    if not isinstance(value, dict):
        raise RouterError(errors.VALIDATION_FAILED, fields={"body": ["must be an object"]})
    value = _known(model, value)
    wrong = {path: [INVALID] for path in _unstorable(value)}
    if wrong:
        raise RouterError(errors.VALIDATION_FAILED, fields=wrong)
    return _validate(model, value)


def _is_json(content_type: str | None) -> bool:
    media, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower().partition("charset=")[2].strip('"')
    return media.strip().lower() == "application/json" and charset in {"", "utf-8", "utf8"}


def _known(model: type[BaseModel], value: dict[str, Any]) -> dict[str, Any]:
    """What a model reads of an object, or refuses; a field that is ignored is not checked."""
    names = _names_of(model)
    if model.model_config.get("extra") == "forbid":
        return {name: _known_inside(names.get(name), inner) for name, inner in value.items()}
    return {name: _known_inside(inner, value[name]) for name, inner in names.items() if name in value}


def _known_inside(model: type[BaseModel] | None, value: Any) -> Any:
    if model is None:
        return value
    if isinstance(value, list):
        return [_known_inside(model, item) for item in value]
    return _known(model, value) if isinstance(value, dict) else value


@functools.cache
def _names_of(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """What a body's fields may be called, each with the model that is inside it."""
    names: dict[str, type[BaseModel] | None] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        inner = _model_in(field.annotation)
        names |= {choice: inner for choice in (name, *choices) if isinstance(choice, str)}
    return names


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in `Author`, `Author | None` or `list[Author]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is dict:  # its keys are the caller's
        return None
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _parse_float(text: str) -> float:
    """JSON has one kind of number: 5.0 is 5, also where a whole number is asked for (up to what a float is exact for)."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= 2**53 else number


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _validate(model: type[BaseModel], value: Mapping[str, Any]) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise RouterError(errors.VALIDATION_FAILED, fields=fields_of(error)) from None


def _unstorable(value: object) -> Iterator[str]:
    """The dotted path of each value that JSON can spell and no store can hold, `body` for the object itself.

    Raises RouterError MALFORMED_JSON where it is nested deeper than MAX_DEPTH.
    """
    todo: list[tuple[object, str, int]] = [(value, "", 0)]
    while todo:
        item, where, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise RouterError(errors.MALFORMED_JSON)
        if (isinstance(item, str) and not is_storable(item)) or (isinstance(item, float) and not math.isfinite(item)):
            yield where
        elif isinstance(item, dict):
            if not all(is_storable(key) for key in item):
                yield where or "body"
            todo += [(inner, f"{where}.{key}" if where else key, depth + 1) for key, inner in item.items()]
        elif isinstance(item, list):
            todo += [(inner, f"{where}.{place}", depth + 1) for place, inner in enumerate(item)]


def parse_query(model: type[BaseModel], raw: str) -> BaseModel:
    """The query as its model; of a repeated parameter the last one counts. Raises RouterError (422)."""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:  # not UTF-8, or more parameters than any operation has
        raise RouterError(errors.VALIDATION_FAILED, fields={"query": [INVALID]}) from None
    values: dict[str, Any] = dict(pairs)
    wrong = {name: [INVALID] for name, value in pairs if name in model.model_fields and not is_storable(value)}
    if wrong:
        raise RouterError(errors.VALIDATION_FAILED, fields=wrong)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RouterError(errors.VALIDATION_FAILED, fields=fields_of(error)) from None


def parse_segment(raw: str) -> str | None:
    """One segment of a path, percent-decoded; None where it is not text."""
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if is_storable(text) else None


def fingerprint(method: str, target: str, raw: bytes) -> str:
    """What makes two requests the same one, for Idempotency-Key: method, path with query, body."""
    digest = hashlib.sha256(f"{method} {target}\n".encode())
    digest.update(raw)
    return digest.hexdigest()
