"""The 404 of a record, as the conventions page has it: code `sandbox_not_found`, and a message that names the id.

Services say what they did not find ("sandbox not found"); which id was asked for stands in the request. The response is
the same whether another tenant has that record or it never was.
"""

import itertools
import re
from typing import Any

from router import errors
from router.api.operations import Call, Operation
from router.errors import RouterError

_SAID = re.compile(r"([a-z]+(?: [a-z]+)?) not found")
_PLACE = re.compile(r"\{([a-z_]+)(?::text)?\}")

# What a placeholder of a path stands for, by the segment before it.
NOUNS = {
    "api-keys": "key",
    "audit-log": "entry",
    "builds": "build",
    "by-name": "sandbox",
    "computers": "computer",
    "custom-domains": "domain",
    "deliveries": "delivery",
    "deployments": "deployment",
    "domains": "domain",
    "env": "variable",
    "events": "event",
    "ports": "port",
    "log-drains": "drain",
    "previews": "preview",
    "projects": "project",
    "releases": "release",
    "request-logs": "request log",
    "sandboxes": "sandbox",
    "sessions": "session",
    "shares": "share",
    "tokens": "token",
    "trusted-issuers": "issuer",
    "versions": "version",
    "webhooks": "webhook",
    "workspaces": "workspace",
}
# Where each is looked for; what is not here, in the organization.
_WITHIN = {
    "build": "deployment",
    "computer": "workspace",
    "delivery": "webhook",
    "deployment": "workspace",
    "domain": "workspace",
    "port": "computer",
    "preview": "sandbox",
    "project": "workspace",
    "release": "deployment",
    "sandbox": "workspace",
    "share": "sandbox",
    "token": "preview",
    "variable": "deployment",
    "version": "deployment",
}


def with_id(error: RouterError, row: Operation, call: Call[Any, Any]) -> RouterError:
    """The error, with a code of its own and the id where it says that something was not found."""
    said = _SAID.fullmatch(error.message) if error.problem is errors.NOT_FOUND else None
    if said is None:
        return error
    noun = said[1]
    code = f"{noun.replace(' ', '_')}_not_found"
    asked = _asked(noun, row, call)
    if asked is None or noun == "workspace":  # whose page has these very words
        return RouterError(error.problem, error.message, code=code)
    words = f"No {noun} with id {asked} exists in this {_WITHIN.get(noun, 'organization')}."
    return RouterError(error.problem, words, code=code)


def nouns_of(row: Operation) -> list[str]:
    """What stands in the places of a row's path."""
    segments = row.path.split("/")
    return [
        noun
        for before, segment in itertools.pairwise(segments)
        if _PLACE.fullmatch(segment) and (noun := NOUNS.get(before)) is not None
    ]


def _asked(noun: str, row: Operation, call: Call[Any, Any]) -> str | None:
    """The id that was asked for, in the path, in the body or in the query; None where it was asked for by another name."""
    segments = row.path.split("/")
    for before, segment in itertools.pairwise(segments):
        place = _PLACE.fullmatch(segment)
        if place is not None and NOUNS.get(before) == noun:
            return call.ids[place[1]] if row.places[place[1]] else None
    for part in (call.body, call.query):
        for name in type(part).model_fields if part is not None else ():
            value = getattr(part, name)
            if name.removeprefix("source_").removeprefix("target_") == f"{noun}_id" and isinstance(value, str):
                return value
    return None
