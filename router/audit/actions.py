"""What an act is called: a noun and what was done to it, made from the method and the path of its route.

`POST /sandboxes/{id}/previews` is `preview.create`, `POST …/domains/{domain_id}/verify` is `custom_domain.verify`: the last literal
part of the path is the noun, or, where it says what is done, the one before. A new route has its action by itself; the whole table is in
docs/audit-log.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Nouns as entries have them, by the part of a path. What isn't here is the part in the singular.
_NOUNS: Final[Mapping[str, str]] = {
    "api-keys": "api_key",
    "batch": "endpoint",
    "certificate": "certificate",
    "custom-domains": "custom_domain",
    "deliveries": "webhook_delivery",
    "domains": "custom_domain",
    "env": "env_variable",
    "password": "preview_password",
    "ports": "preview",
    "preview-token": "preview_token",
    "sandboxes": "sandbox",
    "share": "share_link",
    "shares": "share_link",
    "tokens": "preview_token",
    "trusted-issuers": "trusted_issuer",
}
# Parts of paths that say what is done to what stands before them.
_VERBS: Final[Mapping[str, str]] = {
    "check": "check",
    "csr": "request",
    "deploy": "deploy",
    "expose": "expose",
    "move": "move",
    "promote": "promote",
    "publish": "publish",
    "redeploy": "redeploy",
    "replay": "replay",
    "rollback": "roll_back",
    "rotate": "rotate",
    "stop": "stop",
    "test": "test",
    "verify": "verify",
}
_METHODS: Final[Mapping[str, str]] = {"POST": "create", "PUT": "set", "PATCH": "update", "DELETE": "delete"}
# Where another word than the method's is meant.
_WORDS: Final[Mapping[str, str]] = {
    "api_key.delete": "api_key.revoke",
    "block.delete": "block.lift",
    "endpoint.create": "endpoint.set",
    "env_variable.create": "env_variable.set",
    "preview_token.delete": "preview_token.revoke",
    "session.delete": "session.end",
    "share_link.delete": "share_link.revoke",
}
# Things that are known by what they belong to.
_ONE_OF_EACH: Final = frozenset(
    {
        "branding",
        "certificate",
        "env_variable",
        "login",
        "preview_domain",
        "preview_password",
        "tenant",
        "workspace_settings",
    }
)
_PLACE: Final = re.compile(r"\{([a-z_]+)(:text)?\}")


@dataclass(frozen=True, slots=True)
class RouteAction:
    """`id_place`: the place of the path with the thing's id, or the id of what it is the only one of; None where the route makes it.
    `name_place`: the place with its name. `of_tenant`: the tenant has just one."""

    action: str
    id_place: str | None
    name_place: str | None
    of_tenant: bool


def route_action(method: str, path: str) -> RouteAction:
    """The action of a route that is no GET."""
    parts = [part for part in path.split("/") if part][2:]  # without /api/v1
    literals = [number for number, part in enumerate(parts) if not part.startswith("{")]
    verb = _VERBS.get(parts[literals[-1]]) if len(literals) > 1 else None
    at = literals[-1 if verb is None else -2]
    noun = _noun(parts[at])
    if parts[at] == "settings":
        noun = f"{_noun(parts[literals[-2]])}_settings"
    action = f"{noun}.{verb or _METHODS[method]}"
    own = _PLACE.fullmatch(parts[at + 1]) if at + 1 < len(parts) else None
    named = own is not None and bool(own[2]) and not own[1].endswith("_id")  # an id that is no UUID is one all the same
    id_place = own[1] if own is not None and not named else None
    name_place = own[1] if own is not None and named else None
    if id_place is None and (noun in _ONE_OF_EACH or (noun, method) == ("share_link", "DELETE")):
        outer = next((found for part in reversed(parts[:at]) if (found := _PLACE.fullmatch(part))), None)
        if outer is not None and outer[2]:
            name_place = name_place or outer[1]
        elif outer is not None:
            id_place = outer[1]
    of_tenant = parts[0] == "tenant" and id_place is None and noun in _ONE_OF_EACH
    return RouteAction(_WORDS.get(action, action), id_place, name_place, of_tenant)


def _noun(part: str) -> str:
    return _NOUNS.get(part) or part.removesuffix("s").replace("-", "_")
