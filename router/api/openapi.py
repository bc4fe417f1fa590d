"""The table as an OpenAPI 3.1 document: every operation, its models, and each status that it can respond with."""

from collections import defaultdict
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter

from router.api.not_found import nouns_of
from router.api.operations import Auth, Bare, Counted, Download, EventStream, Operation, Paged, Resolved, Spread, Text
from router.api.streams import EVENTS
from router.errors import NOT_FOUND, VALIDATION_FAILED, Problem
from router.observe.exposition import OPENMETRICS, PLAIN

Schema = dict[str, Any]

TITLE = "MIOSA router API"

_REFS = "#/components/schemas/{model}"
_SECURITY: dict[Auth, list[Schema]] = {
    Auth.KEY: [{"apiKey": []}],
    Auth.INTERNAL: [{"internalToken": []}],
    Auth.NONE: [],
}
_NO_NUL = "^[^\\u0000]*$"

_TEXT: Schema = {"type": "string", "pattern": _NO_NUL}
_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "request_id", "docs_url"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "request_id": {"type": "string", "description": "Quote it when you contact support."},
                "docs_url": {"type": "string", "description": "The page that explains the code."},
                "fields": {
                    "type": "object",
                    "description": "What is wrong with which field of the request.",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
                "claim": {
                    "type": "object",
                    "description": "Where a name is another tenant's: which `records` show that it is yours, until "
                    "`expires_at`. Send the same request again once they are there, or wait: they are looked for.",
                },
                "existing": {"type": "object", "description": "What is in the way, where the caller may use it."},
            },
        }
    },
}

_PAGE: Schema = {
    "type": "object",
    "required": ["page", "page_size", "total"],
    "properties": {
        "page": {"type": "integer", "minimum": 1},
        "page_size": {"type": "integer", "minimum": 1, "maximum": 100},
        "total": {"type": "integer", "minimum": 0},
        "next_cursor": {
            "type": ["string", "null"],
            "description": "There where the list takes a `cursor`: that of the next page, null behind the last one.",
        },
    },
}

_HEADERS: dict[str, Schema] = {
    "X-Request-ID": {"description": "The request's id, yours where you sent one.", "schema": {"type": "string"}},
    "RateLimit-Limit": {"description": "Requests per minute.", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "Requests left in this minute.", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "Seconds until the minute ends.", "schema": {"type": "integer"}},
    "Idempotent-Replayed": {
        "description": "`true` where this is the stored answer of an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}},
}

# Not listed with each operation's parameters: a tool that makes up requests from their schemas would send one key with
# many different requests, which is an error by design. `x-idempotency-key` says which operations take it.
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A UUID of your making. Sent again within 24 hours with the same request, the first answer comes "
    "back and nothing is done twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
}

# Not listed either: made up values are refused, by design.
_TENANT: Schema = {
    "name": "X-MIOSA-Tenant",
    "in": "header",
    "required": False,
    "description": "The id or the slug of the organization to work for. A key of the platform reaches that one alone "
    "then (404 `tenant_not_found` where there is none); with any other key it must be the key's own (403). What is neither "
    "is 400 `invalid_tenant`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 80, "pattern": "^[A-Za-z0-9][A-Za-z0-9-]*$"},
}


def document(endpoints: Iterable[Operation], *, version: str) -> Schema:
    """The document. Deterministic: the same table gives the same text."""
    rows = list(endpoints)
    inputs, outputs, components = _schemas(rows)
    paths: dict[str, Schema] = defaultdict(dict)
    for row in rows:
        path = row.path.replace(":text}", "}")
        paths[path][row.method.lower()] = _operation(row, inputs, outputs)
    for schema in components.values():
        _set_choices_aside(schema)
        _free_values(schema)
        _forbid_nul(schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": version,
            "description": "Workspaces, projects, sandboxes, computers, deployments and their domains. Operations with "
            "`x-idempotency-key` take the header Idempotency-Key, all of /api/v1 the header X-MIOSA-Tenant.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(row.tag for row in rows)],
        "paths": dict(paths),
        "components": {
            "schemas": {**dict(sorted(components.items())), "Error": _ERROR},
            "headers": _HEADERS,
            "parameters": {"IdempotencyKey": _IDEMPOTENCY_KEY, "Tenant": _TENANT},
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key (`msk_…`) or a JWT."},
                "internalToken": {"type": "http", "scheme": "bearer", "description": "The platform's internal token."},
            },
        },
    }


def _schemas(rows: list[Operation]) -> tuple[dict[Any, Schema], dict[int, Schema], dict[str, Schema]]:
    """Schemas of bodies by model, of responses by row number, and the components both refer to."""
    asked: list[Any] = [(row.body, "validation", TypeAdapter(row.body)) for row in rows if row.body is not None]
    asked += [(number, "serialization", TypeAdapter(row.item)) for number, row in enumerate(rows)]
    found, rest = TypeAdapter.json_schemas(asked, ref_template=_REFS)
    inputs = {key: schema for (key, mode), schema in found.items() if mode == "validation"}
    outputs = {key: schema for (key, mode), schema in found.items() if mode == "serialization"}
    by_row = {id(row): outputs[number] for number, row in enumerate(rows)}
    return inputs, by_row, rest.get("$defs", {})


def _operation(row: Operation, inputs: dict[Any, Schema], outputs: dict[int, Schema]) -> Schema:
    operation: Schema = {
        "operationId": f"{row.tag.lower().replace(' ', '_')}_{row.name}",
        "tags": [row.tag],
        "summary": row.summary,
        "security": _SECURITY[row.auth],
        "parameters": _parameters(row),
        "responses": _responses(row, outputs[id(row)]),
    }
    if row.description:
        operation["description"] = row.description
    if row.mutates and row.auth is not Auth.NONE:
        operation["x-idempotency-key"] = {"$ref": "#/components/parameters/IdempotencyKey"}
    if row.body is not None:
        operation["requestBody"] = {
            "required": any(field.is_required() for field in row.body.model_fields.values()),
            "content": {"application/json": {"schema": inputs[row.body]}},
        }
    return operation


def _parameters(row: Operation) -> list[Schema]:
    found: list[Schema] = []
    for name, is_id in row.places.items():
        schema: Schema = {"type": "string", "format": "uuid"} if is_id else {"type": "string", "minLength": 1}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    if row.query is not None:
        whole = row.query.model_json_schema(mode="validation")
        properties = _inlined(whole["properties"], whole.get("$defs", {}))
        for name, schema in properties.items():
            shown = {"name": name, "in": "query", "required": name in whole.get("required", ()), "schema": schema}
            description = schema.pop("description", None)
            if description:
                shown["description"] = description
            found.append(shown)
    for parameter in found:
        _forbid_nul(parameter["schema"])
    return found


def _inlined(schema: Any, definitions: Schema) -> Any:
    """With what it refers to in its place: a parameter is no component that others could refer to."""
    if isinstance(schema, list):
        return [_inlined(inner, definitions) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    own = {name: _inlined(inner, definitions) for name, inner in schema.items() if name != "$ref"}
    if "$ref" in schema:
        own = {**_inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions), **own}
    return own


def _responses(row: Operation, item: Schema) -> Schema:
    found: Schema = {}
    for status in (row.status, *row.also):
        found[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": _shown_headers(row, success=True),
            "content": {kind: {"schema": _envelope(row, item)} for kind in _content_types(row)},
        }
    by_status: dict[int, list[Problem]] = defaultdict(list)
    for problem in row.all_problems():
        by_status[problem.status].append(problem)
    for status, problems in sorted(by_status.items()):
        headers = _shown_headers(row, success=False)
        if any(problem.retry_after is not None or problem.status == 429 for problem in problems):
            headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
        found[str(status)] = {
            "description": "; ".join(_explained(problem, row) for problem in problems),
            "headers": headers,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
    if VALIDATION_FAILED.status in by_status and VALIDATION_FAILED in by_status[VALIDATION_FAILED.status]:
        found["422"]["description"] += " `error.fields` names them."
    return found


def _content_types(row: Operation) -> tuple[str, ...]:
    if row.response is Download:
        return ("application/x-ndjson", "text/csv")
    if row.response is Text:
        return PLAIN, OPENMETRICS
    return (EVENTS if row.response is EventStream else "application/json",)


def _explained(problem: Problem, row: Operation) -> str:
    codes = [f"{noun}_not_found" for noun in nouns_of(row)] if problem is NOT_FOUND and row.auth is Auth.KEY else []
    return f"{', '.join(f'`{code}`' for code in (*codes, problem.code))}: {problem.message}"


def _shown_headers(row: Operation, *, success: bool) -> Schema:
    names = ["X-Request-ID"]
    if success and row.auth is not Auth.INTERNAL:
        names += ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
    if success and row.mutates:
        names.append("Idempotent-Replayed")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _envelope(row: Operation, item: Schema) -> Schema:
    if row.response in {
        Bare,
        EventStream,
        Text,
        Download,
    }:  # of a stream, what is in the `data` of its events; of a file, a line
        return item
    properties: Schema = {"data": item}
    if row.response is Spread:
        return {"allOf": [item, {"type": "object", "required": ["data"], "properties": properties}]}
    if row.response is Resolved:
        reused = {"type": "boolean", "description": "There, and true, where it existed already."}
        return {"type": "object", "required": ["data"], "properties": {**properties, "reused": reused}}
    if row.response in {Paged, Counted}:
        properties["data"] = {"type": "array", "items": item}
    if row.response is Paged:
        properties["page"] = _PAGE
    if row.response is Counted:
        properties["total"] = {"type": "integer", "minimum": 0}
    return {"type": "object", "required": list(properties), "properties": properties}


def _set_choices_aside(schema: Schema) -> None:
    """Generators of clients that find a choice beside the properties of an object forget the properties. Which of them
    must be there is in the object's description; programs that want it exact find it under `x-anyOf` and `x-oneOf`."""
    if "properties" in schema:
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                schema[f"x-{choice}"] = schema.pop(choice)


def _free_values(schema: Any) -> None:
    """Say of every free object what its values may be: any JSON. That no text in it has a NUL either could only be said by
    a schema that refers to itself, and generators of clients leave out whatever uses one."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" and schema.get("additionalProperties") is True:
            schema |= {"additionalProperties": {}, "propertyNames": _TEXT}
        for inner in schema.values():
            _free_values(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _free_values(inner)


def _forbid_nul(schema: Any) -> None:
    """Say of every free text that it has no NUL character: none is taken and none is sent."""
    if isinstance(schema, dict):
        if schema.get("type") == "string" and not schema.keys() & {"pattern", "format", "enum", "const"}:
            schema["pattern"] = _NO_NUL
        for inner in schema.values():
            _forbid_nul(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _forbid_nul(inner)
