"""Certificates that customers bring, as the API has them: for a custom domain and for a preview domain of each scope."""

import io
import json
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from router.base.clock import ManualClock
from router.base.ids import new_id
from router.domains.custom import CustomDomain
from router.node.services import Services
from router.routes.records import Kind
from router.tenancy.ownership import Ownership
from tests.support.accounts import Account
from tests.support.api import Answered, ApiClient
from tests.support.database import on_both, rows
from tests.support.signer import bundle_of, key_pem, pem, root, rsa_key, self_signed

pytestmark = pytest.mark.asyncio

HOST, ZONE = "shop.example.com", "zone.example.org"
WILDCARDS = [f"*.{ZONE}", f"*.sandbox.{ZONE}"]
TENANT = "/api/v1/tenant/preview-domain"
MB = 1024 * 1024


@pytest_asyncio.fixture
async def domain(services: Services, acme: Account) -> CustomDomain:
    into = Ownership(project_id=acme.project.id)
    desk = await services.resources.create(Kind.COMPUTER, acme.tenant.id, ownership=into, slug="desk", default_port=80)
    return await services.custom_domains.register(desk.id, HOST)


def path_of(domain: CustomDomain) -> str:
    return f"/api/v1/custom-domains/{domain.id}/certificate"


async def upload(api: ApiClient, path: str, bundle: tuple[str, str | None], **options: Any) -> Answered:
    body = {"certificate": bundle[0]} | ({} if bundle[1] is None else {"private_key": bundle[1]})
    return await api("PUT", path, json=body, **options)


async def own_zone(api: ApiClient, base: str, zone: str = ZONE, **options: Any) -> str:
    """Set a preview domain; the path of its certificate."""
    assert (await api("PUT", base, json={"preview_domain": zone}, **options)).status == 200
    return f"{base}/certificate"


async def test_from_upload_to_removal(api: ApiClient, domain: CustomDomain) -> None:
    """What was uploaded is shown with its dates, names and what there is without it, and never with its key."""
    path = path_of(domain)
    empty = (await api("GET", path)).json["data"]
    assert empty == {
        "domain": HOST,
        "state": "none",
        "origin": "managed",
        "names": [],
        "issuer": None,
        "serial": None,
        "not_before": None,
        "not_after": None,
        "uploaded_at": None,
        "warnings": [],
        "request": None,
        "fallback": {"mode": "per_host", "ready": False},
    }
    chain, key = bundle_of(HOST, "www.example.org")
    made = await upload(api, path, (chain, key))
    assert made.status == 200
    leaf = x509.load_pem_x509_certificate(chain.encode())
    shown = made.json["data"]
    assert (
        shown
        | {
            "state": "active",
            "origin": "uploaded",
            "names": [HOST],
            "issuer": "Test Intermediate",
            "serial": f"{leaf.serial_number:x}",
            "not_after": leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        == shown
    )
    assert (await api("GET", path)).json["data"] == shown
    assert "PRIVATE" not in made.body.decode()
    assert (await api("DELETE", path)).json["data"] == empty
    assert (await api("DELETE", path)).status == 404
    kinds = [event["type"] for event in (await api("GET", "/api/v1/events?type=certificate.*")).json["data"]]
    assert sorted(kinds) == ["certificate.upload_removed", "certificate.uploaded"]


async def test_what_was_put_right_is_said(api: ApiClient, domain: CustomDomain) -> None:
    """A chain backwards, with its root, is taken with a warning for each."""
    top = root()
    middle = top.intermediate(days=(-2000, 2000))
    leaf = middle.sign((HOST,), days=(-1000, 1000))
    backwards = pem(top.certificate, middle.certificate, leaf.certificate)
    shown = (await upload(api, path_of(domain), (backwards, key_pem(leaf.key)))).json["data"]
    assert [one["code"] for one in shown["warnings"]] == ["order_corrected", "root_left_out"]
    assert all(one["message"] for one in shown["warnings"])


async def test_what_is_refused(api: ApiClient, domain: CustomDomain) -> None:
    """422 `certificate_refused` with a code, a field and a sentence for each reason; the message has the sentences too."""
    wrong = self_signed(HOST, (HOST,))
    answer = await upload(api, path_of(domain), (pem(wrong.certificate), key_pem(wrong.key)))
    assert (answer.status, answer.code) == (422, "certificate_refused")
    error = answer.json["error"]
    assert [(one["code"], one["field"]) for one in error["findings"]] == [("self_signed", "certificate")]
    assert error["message"] == error["findings"][0]["message"]
    assert error["fields"] == {"certificate": [error["message"]]}
    encrypted = key_pem(wrong.key, password=b"secret")
    answer = await upload(api, path_of(domain), (bundle_of(HOST)[0], encrypted))
    assert [(one["code"], one["field"]) for one in answer.json["error"]["findings"]] == [
        ("key_encrypted", "private_key")
    ]
    assert "openssl pkey" in answer.json["error"]["message"]


async def test_what_is_too_large(api: ApiClient, domain: CustomDomain) -> None:
    """4 MB are refused before they are parsed."""
    typed = {"Content-Type": "application/json"}
    for chain, key in (("A" * (4 * MB), None), (bundle_of(HOST)[0], "A" * (4 * MB))):
        body = io.BytesIO(json.dumps({"certificate": chain, "private_key": key}).encode())
        answer = await api("PUT", path_of(domain), data=body, headers=typed)
        assert answer.status == 422
        assert [one["code"] for one in answer.json["error"]["findings"]] == ["too_large"]


@on_both
async def test_no_copy_of_the_key(
    api: ApiClient, domain: CustomDomain, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the store, with what an Idempotency-Key keeps, nor the log has the key or a part of it, whether it was taken or refused."""
    chain, key = bundle_of(HOST)
    ill = key.replace("\n-----END", "!\n-----END")
    for number, body in enumerate(({"certificate": chain, "private_key": key}, {"certificate": chain, "private_key": ill},
                                   {"certificate": chain, "private_key": [key]})):  # fmt: skip
        options = {"json": body, "headers": {"Idempotency-Key": f"upload-{number}"}}
        first = await api("PUT", path_of(domain), **options)
        assert first.status == (200 if number == 0 else 422)
        again = await api("PUT", path_of(domain), **options)
        assert again.status == first.status
        lines = key.split("\n")[1:3]
        assert not any(line in first.body.decode() for line in lines), number
    tables = await rows(
        database,
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if database.startswith("sqlite")
        else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    )
    assert ("idempotency",) in tables or ("idempotency_keys",) in tables
    for (table,) in tables:
        held = str(await rows(database, f"SELECT * FROM {table}"))  # noqa: S608
        assert not any(line in held for line in lines), table
    logged = "".join(capsys.readouterr())
    assert "api request" in logged
    assert not any(line in logged for line in lines)


async def test_a_request_from_the_router(api: ApiClient, domain: CustomDomain) -> None:
    """The key is made here and stays here: the chain for the request is PUT without one. The same request is answered until then."""
    path = path_of(domain)
    made = await api("POST", f"{path}/csr", json={})
    assert (made.status, made.json["data"]["names"]) == (201, [HOST])
    csr = x509.load_pem_x509_csr(made.json["data"]["csr"].encode())
    again = await api("POST", f"{path}/csr")
    assert (again.status, again.json["reused"], again.json["data"]) == (200, True, made.json["data"])
    assert (await api("GET", path)).json["data"]["request"] == made.json["data"]

    class _Key:
        def public_key(self) -> Any:
            return csr.public_key()

    top = root().intermediate(days=(-2000, 2000))
    chain = pem(top.sign((HOST,), key=_Key(), days=(-1000, 1000)).certificate, top.certificate)
    shown = (await upload(api, path, (chain, None))).json["data"]
    assert (shown["state"], shown["request"]) == ("active", None)
    fresh = await api("POST", f"{path}/csr", json={"new_key": True})
    assert fresh.status == 201
    assert fresh.json["data"]["csr"] != made.json["data"]["csr"]


@pytest.mark.parametrize("scope", ["tenant", "workspace", "project"])
async def test_a_preview_domain_of_each_scope(api: ApiClient, acme: Account, scope: str) -> None:
    """The same four operations, for both wildcards or one."""
    base = {
        "tenant": TENANT,
        "workspace": f"/api/v1/workspaces/{acme.workspace.id}/preview-domain",
        "project": f"/api/v1/projects/{acme.project.id}/preview-domain",
    }[scope]
    for method in ("GET", "PUT", "DELETE"):
        nothing = await api(
            method, f"{base}/certificate", **({"json": {"certificate": "x"}} if method == "PUT" else {})
        )
        assert (nothing.status, "no preview domain of its own" in nothing.json["error"]["message"]) == (404, True)
    path = await own_zone(api, base)
    made = (await upload(api, path, bundle_of(*WILDCARDS))).json["data"]
    assert (made["domain"], made["names"], made["warnings"]) == (ZONE, WILDCARDS, [])
    partly = (await upload(api, path, bundle_of(WILDCARDS[1]))).json["data"]
    assert (partly["names"], [one["code"] for one in partly["warnings"]]) == (WILDCARDS[1:], ["covers_zone_partly"])
    assert (await api("POST", f"{path}/csr")).json["data"]["names"] == WILDCARDS
    assert (await api("DELETE", path)).json["data"]["state"] == "none"
    await upload(api, path, bundle_of(*WILDCARDS))
    assert (await api("DELETE", base)).status == 200
    assert (await own_zone(api, base)) == path
    again = (await api("GET", path)).json["data"]
    assert (again["state"], again["request"]) == ("none", None)


async def test_a_shared_zone_takes_a_key_that_reaches_all(api: ApiClient, acme: Account) -> None:
    """A project that names the organization's zone may look at its certificate, and not change it with a key of its own."""
    shared = await own_zone(api, TENANT)
    base = f"/api/v1/projects/{acme.project.id}/preview-domain"
    path = await own_zone(api, base, key=acme.project_key)
    await upload(api, shared, bundle_of(*WILDCARDS))
    assert (await api("GET", path, key=acme.project_key)).json["data"]["state"] == "active"
    for refused in (
        await upload(api, path, bundle_of(*WILDCARDS), key=acme.project_key),
        await api("DELETE", path, key=acme.project_key),
        await api("POST", f"{path}/csr", key=acme.project_key),
    ):
        assert refused.status == 403
        assert "a key that reaches all" in refused.json["error"]["message"]
    assert (await upload(api, path, bundle_of(*WILDCARDS))).status == 200
    await api("DELETE", TENANT)
    assert (await api("DELETE", path, key=acme.project_key)).status == 200


async def test_another_tenant_finds_nothing(
    api: ApiClient, domain: CustomDomain, globex: Account, acme: Account
) -> None:
    """Nor does a key of another place of the same tenant, as with every other record of a domain."""
    for method in ("GET", "PUT", "DELETE"):
        body: Any = {"json": {"certificate": "x"}} if method == "PUT" else {}
        assert (await api(method, path_of(domain), key=globex.key, **body)).status == 404
        unknown = f"/api/v1/custom-domains/{new_id()}/certificate"
        assert (await api(method, unknown, **body)).status == 404
        assert (await api(method, path_of(domain), key=acme.project_key, **body)).status != 403
    assert (await api("POST", f"{path_of(domain)}/csr", key=globex.key)).status == 404


async def test_it_ends(api: ApiClient, domain: CustomDomain, clock: ManualClock) -> None:
    """Within 30 days of its end it is `expiring`, then `expired`, when visitors get the router's own again."""
    top = root(now=clock.now()).intermediate(now=clock.now())
    leaf = top.sign((HOST,), days=(-1, 40), now=clock.now())
    bundle = pem(leaf.certificate, top.certificate), key_pem(leaf.key)
    seen = [(await upload(api, path_of(domain), bundle)).json["data"]]
    for days in (11, 30):
        clock.advance(days * 86400)
        seen.append((await api("GET", path_of(domain))).json["data"])
    assert [(one["state"], one["origin"]) for one in seen] == [
        ("active", "uploaded"),
        ("expiring", "uploaded"),
        ("expired", "managed"),
    ]
    assert [[one["code"] for one in data["warnings"]] for data in seen] == [[], ["ends_soon"], ["ended"]]
    late = await upload(api, path_of(domain), bundle)
    assert [one["code"] for one in late.json["error"]["findings"]] == ["expired"]


async def test_a_key_of_another_certificate(api: ApiClient, domain: CustomDomain) -> None:
    """The sentence has the two commands that show it."""
    answer = await upload(api, path_of(domain), (bundle_of(HOST)[0], key_pem(rsa_key())))
    assert [one["code"] for one in answer.json["error"]["findings"]] == ["key_mismatch"]
    assert json.dumps(answer.json).count("openssl") >= 2
