"""What is not there, in the words of the conventions page; and what no text may do."""

from typing import Any

import pytest

from router.base.ids import new_id
from tests.support.accounts import Account
from tests.support.api import ApiClient
from tests.support.database import on_both

pytestmark = pytest.mark.asyncio

HALVES = ("\\ud800", "\\udfff", "a\\ud83d", "\\u0000")


@on_both
@pytest.mark.parametrize(
    ("method", "path", "noun"),
    [
        ("GET", "/sandboxes/{id}", "sandbox"),
        ("DELETE", "/sandboxes/{id}", "sandbox"),
        ("POST", "/sandboxes/{id}/expose", "sandbox"),
        ("GET", "/computers/{id}", "computer"),
        ("GET", "/computers/{id}/ports", "computer"),
        ("GET", "/deployments/{id}", "deployment"),
        ("POST", "/deployments/{id}/stop", "deployment"),
        ("GET", "/projects/{id}", "project"),
        ("GET", "/projects/{id}/summary", "project"),
        ("GET", "/custom-domains/{id}", "domain"),
        ("GET", "/api-keys/{id}", "key"),
        ("POST", "/api-keys/{id}/rotate", "key"),
        ("GET", "/webhooks/{id}", "webhook"),
        ("GET", "/events/{id}", "event"),
    ],
)
async def test_by_id(api: ApiClient, acme: Account, method: str, path: str, noun: str) -> None:
    """The code is the noun's, the message names the id."""
    missing = new_id()
    answer = await api(method, f"/api/v1{path.format(id=missing)}", json={} if method == "POST" else None)
    where = {"key": "organization", "webhook": "organization", "event": "organization"}.get(noun, "workspace")
    assert (answer.status, answer.code) == (404, f"{noun}_not_found")
    assert answer.json["error"]["message"] == f"No {noun} with id {missing} exists in this {where}."


@on_both
async def test_inside_and_by_name(api: ApiClient, acme: Account) -> None:
    """The innermost thing that is not there is the one that is named; so is one in a body."""
    missing = new_id()
    made = (await api("POST", "/api/v1/deployments", json={"name": "Site"})).json["data"]
    for path, code, named in (
        (f"/deployments/{made['id']}/versions/{missing}", "version_not_found", missing),
        (f"/deployments/{missing}/versions/{new_id()}", "deployment_not_found", missing),
        ("/sandboxes/by-name/nobody", "sandbox_not_found", "sandbox not found"),
        (f"/workspaces/{missing}", "workspace_not_found", "workspace not found"),
    ):
        answer = await api("GET", f"/api/v1{path}")
        assert (answer.status, answer.code, named in answer.json["error"]["message"]) == (404, code, True)
    body = {"source_sandbox_id": missing}
    answer = await api("POST", f"/api/v1/deployments/{made['id']}/publish", json=body)
    assert (answer.code, missing in answer.json["error"]["message"]) == ("sandbox_not_found", True)


async def test_replayed(api: ApiClient, acme: Account) -> None:
    """An answer that is kept for its Idempotency-Key says the same."""
    path, headers = f"/api/v1/deployments/{new_id()}/stop", {"Idempotency-Key": "a"}
    first, again = [await api("POST", path, headers=headers) for _ in range(2)]
    assert first.code == again.code == "deployment_not_found"
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    "selectors",
    [
        ("id", "slug"),
        ("id", "external"),
        ("slug", "external"),
        ("external", "slug"),
        ("id", "new slug"),
    ],
)
@pytest.mark.parametrize("path", ["sandboxes", "computers", "deployments", "projects"])
async def test_selectors_that_contradict_each_other(
    api: ApiClient, acme: Account, path: str, selectors: tuple[str, str]
) -> None:
    """One names Acme's clinic, the other another workspace: nothing is made, and a field is named."""
    other = (await api("POST", "/api/v1/workspaces", json={"name": "Other", "external_workspace_id": "other"})).json[
        "data"
    ]
    ours = {
        "id": {"workspace_id": acme.workspace.id},
        "slug": {"workspace_slug": acme.workspace.slug},
        "external": {"external_workspace_id": acme.workspace.external_workspace_id},
    }
    theirs = {
        "slug": {"workspace_slug": other["slug"]},
        "external": {"external_workspace_id": "other"},
        "new slug": {"workspace_slug": "never-seen"},
    }
    body: dict[str, Any] = {"name": "Thing", **ours[selectors[0]], **theirs[selectors[1]]}
    answer = await api("POST", f"/api/v1/{path}", json=body)
    assert (answer.status, answer.code) == (422, "VALIDATION_FAILED")
    assert set(answer.fields) <= {"workspace_id", "workspace_slug", "external_workspace_id"}
    listed = await api("GET", f"/api/v1/{path}", params={"workspace_id": other["id"]})
    assert [item for item in listed.json["data"] if item["name"] == "Thing"] == []
    agreeing = {"name": "Thing", **ours["id"], **ours["slug"], **ours["external"]}
    assert (await api("POST", f"/api/v1/{path}", json=agreeing)).status == 201
    attributed = {"name": "Another", **ours["id"], "external_workspace_id": "nobodys"}
    assert (await api("POST", f"/api/v1/{path}", json=attributed)).status == 201


async def test_half_a_character_anywhere(api: ApiClient, acme: Account) -> None:
    """In a body, a query, a path or a header: never a 500."""
    for half in HALVES:
        for path, body in (
            ("POST /api/v1/sandboxes", f'{{"name": "{half}"}}'),
            ("POST /api/v1/sandboxes", f'{{"metadata": {{"{half}": 1}}}}'),
            ("POST /api/v1/sandboxes", f'{{"metadata": {{"a": ["{half}"]}}}}'),
            ("POST /api/v1/webhooks", f'{{"url": "https://{half}.example/", "events": ["{half}"]}}'),
            ("POST /api/v1/custom-domains", f'{{"domain": "{half}.example.com", "computer_id": "{new_id()}"}}'),
            ("PUT /api/v1/tenant/preview-domain", f'{{"preview_domain": "{half}"}}'),
            ("PATCH /api/v1/tenant", f'{{"{half}": "x"}}'),
        ):
            method, _, where = path.partition(" ")
            for headers in ({}, {"Idempotency-Key": f"{half}{path}".replace(" ", "")}):
                sent = {"Content-Type": "application/json", **headers}
                answer = await api(method, where, data=body.encode(), headers=sent)
                assert 400 <= answer.status < 500, (path, body, answer.body)
    odd = [b"\xff", b"\xed\xa0\x80", "\u00e9".encode(), b"\xc3", b"%ED%A0%80", b"%FF", b"%00", b"\x80\x81"]
    names = (b"Authorization", b"X-MIOSA-Tenant", b"Idempotency-Key", b"X-Request-ID", b"X-Forwarded-For", b"Origin")
    for text in odd:
        lines = [
            (b"GET /api/v1/sandboxes?name=%b", b""),
            (b"GET /api/v1/sandboxes/by-name/%b", b""),
            *((b"POST /api/v1/sandboxes", b"%b: " % name + text + b"\r\n") for name in names),
            (b"GET /api/v1/sandboxes", b"Authorization: Bearer " + text + b"." + text + b"." + text + b"\r\n"),
        ]
        for line, header in lines:
            key = b"" if header.startswith(b"Authorization") else f"Authorization: Bearer {acme.key}\r\n".encode()
            answer = await api.raw(
                line.replace(b"%b", text) + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + key + header + b"\r\n"
            )
            assert answer.split(b" ", 2)[1][:1] in b"24", (line, header, answer)
