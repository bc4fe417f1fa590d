"""A right request for any row of the route table, made of somebody's holdings. What has no entry here raises KeyError, so
that whoever adds an endpoint comes by and the tests that walk the table ask it too."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.api.not_found import NOUNS
from router.api.operations import Operation
from tests.support.holdings import Holdings
from tests.support.signer import bundle_of

_PLACE = re.compile(r"\{([a-z_]+)(:text)?\}")

# What stands in a place, by the segment before it: the API's own nouns, and those of the internal paths.
_PLACES = {
    **NOUNS,
    "blocks": "block",
    "by-name": "sandbox name",
    "endpoints": "registered",
    "resources": "registered",
    "tenants": "tenant",
}
_TOKENS = {"previews": "preview token", "ports": "port token"}
_HOLDERS = {"computers": "computer's domain", "deployments": "deployment's domain"}

# What fields that name a record hold, by the field.
NAMING = {
    "computer_id": "computer",
    "deployment_id": "deployment",
    "domain_id": "domain",
    "project_id": "project",
    "resource_id": "registered",
    "source_sandbox_id": "sandbox",
    "target_workspace_id": "workspace",
    "version_id": "version",
    "workspace_id": "workspace",
}


def _fresh(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:12]}"


_zones: dict[str, list[str]] = {}  # what each holder's bodies have set as preview domains


def _new_zone(held: Holdings) -> dict[str, Any]:
    zone = f"{_fresh('zone')}.example"
    _zones.setdefault(held.holder.tenant.id, []).append(zone)
    return {"preview_domain": zone}


def _certificate(held: Holdings) -> dict[str, Any]:
    """For every name that the holder may have by now."""
    marks = (held.holder.tenant.name, held.holder.workspace.name, held.holder.project.name)
    zones = [*(f"{mark.split()[0]}.example" for mark in marks), *_zones.get(held.holder.tenant.id, ())[-20:]]
    names = [name for zone in zones for name in (f"*.{zone}", f"*.sandbox.{zone}")]
    chain, key = bundle_of(f"*.{held.holder.mark}.test", *names)
    return {"certificate": chain, "private_key": key}


# A body for each model, that the endpoints which take it accept from the holder.
_BODIES: Mapping[str, Callable[[Holdings], dict[str, Any]]] = {
    "Batch": lambda held: {
        "endpoints": [{"resource_id": held.ids["registered"], "address": "127.0.0.1", "generation": "boot-8"}]
    },
    "CreateComputer": lambda _: {"name": "Another"},
    "CreateDeployment": lambda _: {"name": "Another"},
    "CreateIssuer": lambda _: {
        "name": "Another",
        "issuer": "https://ci.example.com",
        "audience": "https://previews.example.com",
        "claims": {"sub": "acme/*"},
    },
    "CreateKey": lambda _: {"name": "Another"},
    "CreateLogDrain": lambda _: {"name": "Another", "url": "https://logs.example.com/in"},
    "CreatePreview": lambda _: {"port": 9000},
    "CreatePreviewToken": lambda _: {"expires_in": 600, "scope": "read"},
    "CreateProject": lambda held: {"name": "Another", "workspace_id": held.ids["workspace"]},
    "CreateSandbox": lambda _: {"name": "Another"},
    "CreateShare": lambda _: {"once": True},
    "CreateToken": lambda _: {"name": "Another", "ttl_seconds": 600},
    "CreateWebhook": lambda _: {"url": "https://hooks.example.com/in", "event_types": ["domain.*"]},
    "CreateWorkspace": lambda _: {"name": _fresh("Another")},
    "DeploySandbox": lambda held: {"deployment_id": held.ids["deployment"]},
    "Expose": lambda _: {"port": 9001},
    "MoveDeployment": lambda held: {"workspace_id": held.ids["workspace"]},
    "MoveComputer": lambda held: {"workspace_id": held.ids["workspace"]},
    "MoveProject": lambda held: {"target_workspace_id": held.ids["workspace"]},
    "PatchComputer": lambda _: {"name": "Renamed"},
    "PatchDeployment": lambda _: {"name": "Renamed"},
    "PatchIssuer": lambda _: {"name": "Renamed"},
    "PatchKey": lambda _: {"name": "Renamed"},
    "PatchLogDrain": lambda _: {"name": "Renamed"},
    "PatchDomain": lambda _: {"redirect_policy": "www_to_apex"},
    "PatchPreview": lambda _: {"name": "Renamed"},
    "PatchProject": lambda _: {"name": "Renamed"},
    "PatchResource": lambda _: {"suspended": False},
    "PatchSandbox": lambda _: {"name": "Renamed"},
    "PatchTenant": lambda _: {"name": "Renamed"},
    "PatchWebhook": lambda _: {"description": "Renamed"},
    "PatchWorkspace": lambda _: {"name": "Renamed"},
    "PostCertificateRequest": lambda _: {"new_key": True},
    "Promote": lambda _: {},
    "Publish": lambda held: {"source_sandbox_id": held.ids["sandbox"]},
    "PutBranding": lambda _: {"branding": {"product_name": "Renamed"}},
    "PostReplay": lambda _: {"headers": {"X-Miosa-Preview-Token": "mpt_token"}},
    "PutCapture": lambda _: {"duration_seconds": 600},
    "PutCertificate": _certificate,
    "PutBlock": lambda _: {"kind": "host", "subject": f"{_fresh('bad')}.example", "reason": "abuse"},
    "PutEndpoint": lambda _: {"address": "127.0.0.1", "generation": "boot-9"},
    "PutLogin": lambda _: (
        {"issuer": "https://login.example.com", "client_id": _fresh("client"), "client_secret": "s3cr3t"}
        | {"anyone": True}
    ),
    "PostSession": lambda _: {"code": "c" * 43},
    "PutPassword": lambda _: {"password": "another password"},
    "PutPreviewDomain": _new_zone,
    "PutResource": lambda held: {
        "kind": "sandbox",
        "slug": f"{held.holder.mark}-unit",
        "tenant_id": held.holder.tenant.id,
        "workspace_id": held.ids["workspace"],
        "project_id": held.ids["project"],
    },
    "PutSettings": lambda _: {"max_computers": 50},
    "RegisterDomain": lambda _: {"domain": f"{_fresh('app')}.example"},
    "RegisterFlat": lambda held: {"domain": f"{_fresh('app')}.example", "deployment_id": held.ids["deployment"]},
    "RegisterWithRedirect": lambda _: {"domain": f"{_fresh('app')}.example"},
    "RollBack": lambda held: {"version_id": held.ids["older version"]},
    "SharePreview": lambda _: {"ttl_seconds": 600},
    "SetEnv": lambda _: {"env": {"ANOTHER": "value"}},
}


# What a query has to say, by its model.
_PARAMS: Mapping[str, Callable[[Holdings], dict[str, str]]] = {
    "ExplainQuery": lambda held: {"host": f"{held.holder.mark}-box.miosa.app"},
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request that may be sent."""

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """As an ApiClient takes them."""
        found: dict[str, Any] = {}
        if self.json is not None:
            found["json"] = self.json
        if self.params:
            found["params"] = self.params
        return found


def kinds_of(path: str) -> dict[str, str]:
    """What stands in each place of a path as the table or the document has it, by the place's name."""
    segments = path.split("/")
    kinds = {}
    for number, segment in enumerate(segments):
        place = _PLACE.fullmatch(segment)
        if place is not None:
            before = segments[number - 1]
            around = segments[number - 3] if number > 2 else ""
            kind = _HOLDERS[around] if before == "domains" else _PLACES[before]
            if before == "tokens":
                kind = _TOKENS[around]
            kinds[place[1]] = "sandbox port" if (around, before) == ("sandboxes", "ports") else kind
    return kinds


def path_of(row: Operation, first: Holdings, later: Holdings) -> str:
    """The row's path with the ids of `first` in its first place and of `later` in those behind it."""
    path, held = row.path, first
    for kind in kinds_of(row.path).values():
        path = _PLACE.sub(held.ids[kind].replace(" ", "%20"), path, count=1)
        held = later
    return path


def body_of(row: Operation, held: Holdings) -> dict[str, Any] | None:
    """A body that the row takes from the holder; None where it takes none."""
    return _BODIES[row.body.__name__](held) if row.body is not None else None


def request_of(row: Operation, held: Holdings) -> Request:
    """The holder's own request."""
    params = _PARAMS[row.query.__name__](held) if row.query is not None and row.query.__name__ in _PARAMS else {}
    return Request(row.method, path_of(row, held, held), body_of(row, held), params)
