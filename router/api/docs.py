"""The pages beside the table: `/openapi.json`, and `/docs`, which shows it to people without any outside asset."""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from aiohttp.web import Response
from jinja2 import Environment, StrictUndefined

from router.api.answers import HEADERS
from router.api.listener import Page

_STYLE = resources.files("router.api").joinpath("docs.css").read_text("utf-8")
_TEMPLATE = resources.files("router.api").joinpath("docs.html").read_text("utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def pages(document: Mapping[str, Any]) -> dict[str, Page]:
    """The pages of an OpenAPI document, by path."""
    as_json = json.dumps(document, ensure_ascii=False, indent=1).encode()
    as_html = _render(document).encode()
    return {
        "/openapi.json": lambda _: _page(as_json, "application/json"),
        "/docs": lambda _: _page(as_html, "text/html"),
    }


def _page(body: bytes, content_type: str) -> Response:
    headers = {**HEADERS, "Content-Security-Policy": _POLICY}
    return Response(body=body, content_type=content_type, charset="utf-8", headers=headers)


def _render(document: Mapping[str, Any]) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["example"] = lambda schema: json.dumps(_example(schema, document), indent=2)
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            shown = {"method": method.upper(), "path": path, **operation}
            groups.setdefault(operation["tags"][0], []).append(shown)
    return environment.from_string(_TEMPLATE).render(info=document["info"], groups=groups, style=_STYLE)


def _example(schema: Mapping[str, Any], document: Mapping[str, Any], depth: int = 0) -> Any:
    """What a value of that schema looks like: its example, its default, or its type as a word."""
    if depth > 8:
        return "…"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _example(document["components"]["schemas"][name], document, depth + 1)
    if "examples" in schema:
        return schema["examples"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _example(schema[choice][0], document, depth + 1)
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return [_example(schema.get("items", {}), document, depth + 1)]
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        return {name: _example(inner, document, depth + 1) for name, inner in properties.items()}
    return schema.get("default") or schema.get("format") or schema.get("type", "any")
