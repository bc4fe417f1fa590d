"""schemathesis reads /openapi.json of a running node and asks everything that the document allows, and what it doesn't:
no answer is a 500, and each one is what the document says, under every check that there is.

The node has a tenant with one of everything, whose ids the requests use, as made-up ones would only ever be 404; DNS
has what each of its domains must have, and the node checks none by itself, so that domains can be verified on request; a
program listens, so that it can be published.
"""

import asyncio
import json
import re
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from router.base.clock import SystemClock
from router.domains.lookup import RecordType
from router.node.record_keeping import open_kept
from router.node.services import open_services
from router.settings import load
from tests.support.backends import Backend, Visit
from tests.support.calls import NAMING, kinds_of
from tests.support.holdings import Holder, Holdings, fill, mark_project, mark_tenant, mark_workspace
from tests.support.nameserver import NameServer
from tests.support.processes import BIN, Process
from tests.support.router import Router
from tests.support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

SEED = "20261122"
EXAMPLES = "8"  # that are drawn for each operation, beside those that are enumerated
WITHIN = 600.0  # seconds; about 50 on a machine that has nothing else to do

# Statuses of right requests beside those that schemathesis knows of: what is wrong with them a schema can't say, because
# it depends on what exists.
ALSO_RIGHT = {
    # 422 is what the pages of workspaces and projects say of a slug that is taken.
    "POST /api/v1/workspaces": "422",
    "PATCH /api/v1/workspaces/{id}": "422",
    "POST /api/v1/projects": "422",
    "PATCH /api/v1/projects/{id}": "422",
    "POST /api/v1/projects/{id}/move": "422",
    # A default size must fit the largest size, one of which may have been stored before.
    "PUT /api/v1/workspaces/{id}/settings": "422",
    # The scope of a key names a workspace or a project, which must exist.
    "POST /api/v1/api-keys": "422",
    # Selectors may contradict each other, and a workspace has caps.
    "POST /api/v1/sandboxes": "422",
    "POST /api/v1/computers": "422",
    "POST /api/v1/computers/{id}/move": "422",
    "POST /api/v1/deployments/{id}/move": "422",
    "POST /api/v1/deployments": "422",
    "POST /api/v1/projects/{id}/deployments": "422",
    # The page of verification: 422 while the record is missing.
    "POST /api/v1/computers/{id}/domains/{domain_id}/verify": "422",
    "POST /api/v1/deployments/{id}/domains/{domain_id}/verify": "422",
    "POST /api/v1/custom-domains/{id}/verify": "422",
    # What expires does so later than now, by one of two fields; networks are written as such.
    "POST /api/v1/sandboxes/{id}/previews": "422",
    "PATCH /api/v1/sandboxes/{id}/previews/{preview_id}": "422",
    "POST /api/v1/sandboxes/{id}/previews/{preview_id}/tokens": "422",
    "POST /api/v1/computers/{id}/ports": "422",
    "POST /api/v1/computers/{id}/ports/{port}/tokens": "422",
    "PATCH /api/v1/computers/{id}/ports/{port}": "422",
    # A webhook's URL must be one that may be called, its project one of its workspace.
    "POST /api/v1/webhooks": "422",
    "PATCH /api/v1/webhooks/{id}": "422",
    # A log drain's URL must be one that may be called, by its kind.
    "POST /api/v1/log-drains": "422",
    "PATCH /api/v1/log-drains/{id}": "422",
    # An issuer's URL must be one that may be asked, its claims must say whose pipelines are meant.
    "POST /api/v1/tenant/trusted-issuers": "422",
    "PATCH /api/v1/tenant/trusted-issuers/{id}": "422",
    # A provider must be at a public address, and somebody may come in, or anyone.
    "PUT /api/v1/tenant/login": "422",
    # A text must be a certificate, for the domain.
    "PUT /api/v1/custom-domains/{id}/certificate": "422",
    "PUT /api/v1/tenant/preview-domain/certificate": "422",
    "PUT /api/v1/workspaces/{id}/preview-domain/certificate": "422",
    "PUT /api/v1/projects/{id}/preview-domain/certificate": "422",
    # A host must be under the preview domain.
    "GET /api/v1/tenant/preview-domain/diagnose": "422",
    "GET /api/v1/workspaces/{id}/preview-domain/diagnose": "422",
    "GET /api/v1/projects/{id}/preview-domain/diagnose": "422",
    # A sandbox may have no default port.
    "POST /api/v1/deployments/{id}/publish": "422",
    "POST /api/v1/sandboxes/{id}/deploy": "422",
    # The platform names tenants and workspaces that must exist, and addresses that must be allowed.
    "PUT /internal/v1/resources/{id}": "422",
    "PUT /internal/v1/endpoints/{resource_id}": "422",
    # What is blocked must be a host name, or a resource or tenant that exists, as its kind says.
    "POST /internal/v1/blocks": "422",
}
_TEXT = {"type": "string", "pattern": "^[^\\u0000]*$"}
_ANY = {"$ref": "#/components/schemas/Json"}
ANY_JSON = {
    "anyOf": [
        *({"type": name} for name in ("null", "boolean", "number")),
        _TEXT,
        {"type": "array", "items": _ANY},
        {"type": "object", "propertyNames": _TEXT, "additionalProperties": _ANY},
    ]
}
_RIGHT = ["2xx", "3xx", "401", "403", "404", "409", "429", "5xx"]  # 5xx is another check's

# What may never succeed here, because fields of its body must fit each other, or its path, or what was there before.
NEVER = {
    "POST /api/v1/custom-domains",
    "PUT /api/v1/custom-domains/{id}/certificate",
    "PUT /api/v1/tenant/preview-domain/certificate",
    "PUT /api/v1/workspaces/{id}/preview-domain/certificate",
    "PUT /api/v1/projects/{id}/preview-domain/certificate",
    "POST /api/v1/deployments/{id}/domains",
    "POST /api/v1/deployments/{id}/publish",
    "POST /api/v1/deployments/{id}/rollback",
    "DELETE /api/v1/projects/{id}",
    "DELETE /api/v1/workspaces/{id}",
    "PUT /internal/v1/endpoints/{resource_id}",
    "PUT /internal/v1/resources/{id}",
}

# What other fields of bodies have to say for the request to succeed.
WORDS = {
    "address": "127.0.0.1",
    "block kind": "host",
    "environment": "production",
    "issuer": "https://login.example.com",
    "kind": "sandbox",
    "subject": "blocked.example",
    "tenant_id": "",
    "url": "https://hooks.example.com/in",
}

# Deletions take from stocks of their own, so that the others find what they need: things inside others from one whose
# others stay.
_SPARE = {"DELETE /internal/v1/resources/{id}": "inner", "DELETE /internal/v1/endpoints/{resource_id}": "last"}
_VERIFIES = (
    "/verify"  # as a check does, so that what was checked can't be verified any more: it takes domains of its own
)


@dataclass(frozen=True, slots=True)
class Node:
    """A running router, what its tenant has, several times over, and who may ask."""

    router: Router
    stocks: Mapping[str, Holdings]
    bearers: Mapping[str, str]

    @property
    def document_url(self) -> str:
        return f"http://127.0.0.1:{self.router.api_port}/openapi.json"


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async def hello(visit: Visit) -> None:
        await visit.answer(b"hello")

    unlimited = {f"rates__{rate}": 1_000_000 for rate in ("workspace", "auth", "anonymous")}
    async with AsyncExitStack() as stack:
        dns = await stack.enter_async_context(NameServer())
        dns.put("*", RecordType.CNAME, "proxy.miosa.ai")
        program = await stack.enter_async_context(Backend(hello))
        router = Router(
            tmp_path,
            dns_servers=dns.server,
            checks__background=False,
            limits__publish_check=0.5,
            secrets_key=f"{SEED:0>64}",
            **unlimited,
        )
        await asyncio.to_thread(stack.enter_context, router)
        stocks = {}
        settings = load(environ=router.environment)
        kept = open_kept(settings, SystemClock())
        stack.push_async_callback(kept.close)
        async with open_services(settings, secrets=True) as services:
            services.log_drains._kept = kept  # which commands have no need of
            tenant = await mark_tenant(services, "zcompany")
            for name in ("own", "spare", "inner", "last"):
                workspace = await mark_workspace(services, tenant, f"zclinic{name}")
                project = await mark_project(services, workspace, f"zsite{name}")
                held = await fill(services, Holder(f"zsite{name}", tenant, workspace, project), program.port)
                for kind in ("domain", "computer's domain", "deployment's domain"):
                    record, *_ = (await services.custom_domains.get(held.ids[kind])).required_records
                    dns.put(record.fqdn, RecordType.CNAME, record.expected)
                stocks[name] = held
            _, key = await services.keys.create(tenant.id)
            await services.publishing.close()
        yield Node(router, stocks, {"apiKey": key, "internalToken": router.token})


def stock_of(operation: str) -> str:
    """From which of the stocks an operation takes."""
    if operation.endswith(_VERIFIES):
        return "last"
    if not operation.startswith("DELETE "):
        return "own"
    return _SPARE.get(operation) or ("inner" if operation.count("{") > 1 else "spare")


def named(path: str, operation: Any, document: Any) -> dict[str, str]:
    """Which parameters of an operation name a record, and of which kind, as schemathesis.toml calls them."""
    found = {f"path.{name}": kind for name, kind in kinds_of(path).items()}
    queried = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
    found |= {f"query.{name}": kind for name, kind in NAMING.items() if name in queried}
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = document["components"]["schemas"].get(content.get("schema", {}).get("$ref", "").rpartition("/")[2], {})
    if "x-oneOf" in body:  # which of them may be there, schemathesis would not look
        return found
    fields = NAMING | {name: name for name in WORDS}
    if path.startswith("/internal/v1/endpoints/"):
        fields.pop("version_id")  # of a deployment, and those of the path are sandboxes
    if path == "/internal/v1/blocks":
        fields["kind"] = "block kind"  # what is blocked, and elsewhere what a resource is
    return found | {f"body.{name}": kind for name, kind in fields.items() if name in body.get("properties", {})}


def configured(node: Node, document: Any, *, fixed: bool) -> str:
    """schemathesis.toml, with ids of the stocks: in paths always, or else most of the time, and then in bodies too."""
    lines = ["[cache]", "enabled = false"]
    for phase in ("coverage", "fuzzing"):  # else deletions would find the ids in answers
        lines += [f"[phases.{phase}.extra-data-sources]", "responses = false"]
    for scheme, bearer in node.bearers.items():
        lines += [f"[auth.openapi.{scheme}]", f"bearer = {json.dumps(bearer)}"]
    for name, held in node.stocks.items():
        for kind, value in {**held.ids, **WORDS, "tenant_id": held.holder.tenant.id}.items():
            lines += [f'[dictionaries."{name} {kind}"]', f"values = [{json.dumps(value)}]"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            label = f"{method.upper()} {path}"
            stock, settings = stock_of(label), []
            for parameter, kind in named(path, operation, document).items():
                if not fixed:
                    settings += [f'"{parameter}" = {{ dictionary = "{stock} {kind}", probability = 0.9 }}']
                elif parameter.startswith("path."):
                    settings += [f'"{parameter}" = {json.dumps(node.stocks[stock].ids[kind])}']
            if settings:
                settings.insert(0, "[operations.parameters]")
            if label in ALSO_RIGHT:
                statuses = json.dumps([*_RIGHT, ALSO_RIGHT[label]])
                settings += ["[operations.checks.positive_data_acceptance]", f"expected-statuses = {statuses}"]
            if label.endswith("/move"):  # 404 is about where to: a workspace or project that was made up
                settings += ["[operations.checks.ensure_resource_availability]", "enabled = false"]
            if settings:
                lines += ["[[operations]]", f"include-name = {json.dumps(label)}", *settings]
    return "\n".join(lines)


async def run(folder: Path, node: Node, config: str, *words: str) -> str:
    """What `st run` finds, as it says it; nothing where it finds nothing."""
    folder.mkdir()
    (folder / "schemathesis.toml").write_text(config)
    always = ["--checks", "all", "--seed", SEED, "--generation-database", "none", "--warnings", "off"]
    # A diagnosis alone may take 10 s, where DNS does not answer or the machine is busy.
    patience = [
        "--continue-on-failure",
        "--max-failures",
        "1000",
        "--request-timeout",
        "60",
        "--max-response-time",
        "60",
    ]
    (folder / "openapi.json").write_text(json.dumps(exact(document_of(node))))
    where = ["openapi.json", "--url", node.document_url.removesuffix("/openapi.json")]
    command = [BIN / "st", "--no-color", "run", *where, *always, *patience, *words]
    with Process(command, folder / "output", folder=folder) as process:
        await eventually(lambda: process.status is not None, "schemathesis is through", WITHIN)
        return process.output if process.status else ""


def never_succeeded(node: Node, document: Any) -> set[str]:
    """Operations that the node's log has no successful request for."""
    done = set()
    for line in node.router.process.output.splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        status = entry.get("status")  # null where the client left before there was one
        if isinstance(status, int) and status < 300 and "path" in entry:
            done.add((entry["method"], entry["path"]))
    missing = set()
    for path, methods in document["paths"].items():
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
        paths = {method for method, found in done if pattern.fullmatch(found)}
        missing |= {f"{method.upper()} {path}" for method in methods if method.upper() not in paths}
    return missing


def exact(schema: Any) -> Any:
    """With what the document leaves out because generators of clients stumble over it: which of several properties must
    be there, and that no text in a free value has a NUL."""
    if isinstance(schema, list):
        return [exact(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        name.removeprefix("x-") if name in {"x-anyOf", "x-oneOf"} else name: exact(inner)
        for name, inner in schema.items()
    }
    if found.get("additionalProperties") == {}:
        found["additionalProperties"] = {"$ref": "#/components/schemas/Json"}
    if "securitySchemes" in found:
        found["schemas"] = {**found["schemas"], "Json": ANY_JSON}
    return found


def document_of(node: Node) -> Any:
    """Without the live streams, whose answers have no end: `test_request_logs.py` reads those."""
    with urllib.request.urlopen(node.document_url, timeout=10) as answer:
        document = json.load(answer)
    document["paths"] = {path: item for path, item in document["paths"].items() if not path.endswith("/stream")}
    return document


async def test_a_few_requests_for_each_operation(node: Node, tmp_path: Path) -> None:
    """All checks find nothing in a few drawn requests; what takes minutes comes below."""
    config = configured(node, document_of(node), fixed=False)
    found = await run(tmp_path / "few", node, config, "--phases", "examples,fuzzing", "--max-examples", "2")
    assert not found, found


@pytest.mark.deep
@pytest.mark.timeout(WITHIN + 60)
async def test_everything_that_the_document_allows(node: Node, tmp_path: Path) -> None:
    """All phases of schemathesis with all checks find nothing, and every operation was seen to succeed."""
    document = document_of(node)
    fixed, drawn = configured(node, document, fixed=True), configured(node, document, fixed=False)
    first_half = "^/api/v1/[a-d]"

    async def the_rest() -> str:
        enumerated = await run(
            tmp_path / "2", node, fixed, "--phases", "examples,coverage", "--exclude-path-regex", first_half
        )
        phases = ["--phases", "fuzzing,stateful", "--max-examples", EXAMPLES]
        return enumerated + await run(tmp_path / "3", node, drawn, *phases)

    one = run(tmp_path / "1", node, fixed, "--phases", "examples,coverage", "--include-path-regex", first_half)
    found = "".join(await asyncio.gather(one, the_rest()))
    assert not found, found
    assert never_succeeded(node, document) <= NEVER
