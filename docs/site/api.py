"""The pages of the REST API, from its OpenAPI document: one for each tag, and one for the objects that they share."""

import re
from collections import defaultdict
from importlib.metadata import version
from typing import Any

from router.api.openapi import document
from router.api.table import Table
from router.base.clock import ManualClock
from router.node.rest import handlers_of
from router.settings import Settings

FOLDER = "reference/api/"
Schema = dict[str, Any]

_REF = "#/components/schemas/"


class _AnyService:
    """Stands for all services: the table of operations is made without any that works."""

    def __getattr__(self, name: str) -> "_AnyService":
        return self


def openapi() -> Schema:
    """The document that `/openapi.json` serves."""
    handlers = handlers_of(_AnyService(), Settings(), _AnyService(), ManualClock(), _AnyService(), _AnyService())  # type: ignore[arg-type]
    return dict(document(Table(handlers), version=version("miosa-router")))


def pages() -> dict[str, str]:
    """Their paths in the site, and their text."""
    whole = openapi()
    by_tag: dict[str, list[tuple[str, str, Schema]]] = defaultdict(list)
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append((method.upper(), path, operation))
    found = {
        f"{FOLDER}{_slug(tag)}.md": _tag_page(tag, operations, whole["components"]["schemas"])
        for tag, operations in by_tag.items()
    }
    found[f"{FOLDER}objects.md"] = _objects(whole["components"]["schemas"])
    found[f"{FOLDER}index.md"] = _index(by_tag)
    return found


def _index(by_tag: dict[str, list[tuple[str, str, Schema]]]) -> str:
    introduction = (
        "# API\n\nThe REST API is under `/api/v1`, with an API key as `Authorization: Bearer`; the platform's own part is under "
        "`/internal/v1`, with `internal_token`. A running router has the same as `/openapi.json`, and as pages to try it at `/docs`.\n\n"
        "Conventions:\n\n- Bodies are JSON. Single records are in `data`, lists in `data` with `page` or `total`.\n"
        '- Errors are `{"error": {"code", "message", "request_id", "docs_url"}}`; [every code](../errors.md) has a paragraph.\n'
        "- `Idempotency-Key` makes a request safe to repeat; `X-MIOSA-Tenant` says for which organization a platform's key acts.\n"
        "- `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` say how many requests are left.\n"
    )
    parts = [introduction]
    for tag, operations in by_tag.items():
        parts.append(f"\n## {tag}\n\n| operation | what it does |\n|---|---|")
        parts += [
            f"| [`{method} {path}`]({_slug(tag)}.md#{operation['operationId']}) | {_text(operation['summary'])} |"
            for method, path, operation in operations
        ]
    return "\n".join(parts) + "\n"


def _tag_page(tag: str, operations: list[tuple[str, str, Schema]], schemas: Schema) -> str:
    parts = [f"# {tag}\n"]
    for method, path, operation in operations:
        parts.append(
            f"## {_text(operation['summary'])} {{ #{operation['operationId']} }}\n\n```http\n{method} {path}\n```\n"
        )
        if operation.get("description"):
            parts.append(f"{_text(operation['description'])}\n")
        if operation["security"] != [{"apiKey": []}]:
            names = [name for one in operation["security"] for name in one]
            parts.append(f"Needs {'the internal token' if names else 'no key'}.\n")
        if operation.get("parameters"):
            parts.append("| parameter | in | type | meaning |\n|---|---|---|---|")
            parts += [_parameter(one) for one in operation["parameters"]]
            parts.append("")
        body = operation.get("requestBody")
        if body is not None:
            parts += ["**Body**\n", *_fields(_whole(body["content"]["application/json"]["schema"], schemas), ""), ""]
        parts.append("| status | answer |\n|---|---|")
        parts += [_response(status, one) for status, one in operation["responses"].items()]
        parts.append("")
    return "\n".join(parts)


def _whole(schema: Schema, schemas: Schema) -> Schema:
    """What it refers to, so that a body's fields stand with its operation."""
    return dict(schemas[schema["$ref"].removeprefix(_REF)]) if "$ref" in schema else schema


def _parameter(one: Schema) -> str:
    name = f"`{one['name']}`{' (required)' if one.get('required') and one['in'] != 'path' else ''}"
    return f"| {name} | {one['in']} | {_type(one['schema'], '')} | {_text(one.get('description', ''))} |"


def _response(status: str, one: Schema) -> str:
    text = re.sub(r"`([A-Za-z_]+)`(?=[,:])", r"[`\1`](../errors.md#\1)", _text(one["description"]))
    schema = next(iter(one.get("content", {}).values()), {}).get("schema", {})
    shown = "" if schema.get("$ref", "").endswith("/Error") or not schema else f": {_type(schema, '')}"
    return f"| {status} | {text}{shown} |"


def _objects(schemas: dict[str, Schema]) -> str:
    parts = ["# Objects\n\nWhat bodies and responses are made of.\n"]
    for name, schema in schemas.items():
        parts += [f"## {name} {{ #{_anchor(name)} }}\n", *_fields(schema, "objects"), ""]
    return "\n".join(parts)


def _fields(schema: Schema, page: str) -> list[str]:
    """A table of an object's fields; of anything else its type."""
    said = [f"{_text(schema['description'])}\n"] if schema.get("description") else []
    if "properties" not in schema:
        return [*said, _type(schema, page)]
    required = set(schema.get("required", ()))
    rows = [
        f"| `{name}`{' (required)' if name in required else ''} | {_type(one, page)} | {_text(one.get('description', ''))} |"
        for name, one in schema["properties"].items()
    ]
    return [*said, "| field | type | meaning |\n|---|---|---|", *rows]


def _type(schema: Schema, page: str) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return f"[{name}]({'' if page == 'objects' else 'objects.md'}#{_anchor(name)})"
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            word = " and " if choice == "allOf" else " or "
            return word.join(_type(one, page) for one in schema[choice])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any JSON")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), page)}"
    if kind == "object" and "properties" in schema:
        inner = ", ".join(f"`{name}`: {_type(one, page)}" for name, one in schema["properties"].items())
        return f"object ({inner})"
    return f"{kind}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    found = [schema["format"]] if "format" in schema else []
    found += [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return f" ({', '.join(found)})" if found else ""


_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "length at least",
    "maxLength": "length at most",
    "maxItems": "items at most",
}


def _slug(tag: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", tag.lower()).strip("-")


def _anchor(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
