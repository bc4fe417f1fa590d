"""/tenant/login and /tenant/sessions: set, shown without the secret, removed; who has signed in, and how that ends."""

import pytest

from router.base.clock import ManualClock
from router.base.key_scopes import KeyScope
from router.node.services import Services
from router.tenancy.sessions import Session
from tests.support.accounts import Account
from tests.support.api import ApiClient

pytestmark = pytest.mark.asyncio

LOGIN, SESSIONS = "/api/v1/tenant/login", "/api/v1/tenant/sessions"
SECRET = "s3cr3t-of-the-client"
BODY = {
    "issuer": "https://login.example.com",
    "client_id": "previews",
    "client_secret": SECRET,
    "email_domains": ["Example.COM"],
}


async def sign_in(services: Services, account: Account, name: str) -> Session:
    login = await services.logins.get(account.tenant.id)
    started = await services.sessions.start(login, subject=name, email=f"{name}@example.com", groups=())
    assert started is not None
    return started[0]


async def test_a_login(api: ApiClient, acme: Account) -> None:
    """None at first; once it is set it is shown without its secret, with what the provider has to know; then it is gone."""
    answer = await api("GET", LOGIN)
    assert (answer.status, answer.code) == (404, "not_found")
    answer = await api("PUT", LOGIN, json=BODY)
    assert answer.status == 200
    shown = answer.json["data"]
    assert shown == {
        "issuer": "https://login.example.com",
        "client_id": "previews",
        "has_secret": True,
        "email_domains": ["example.com"],
        "groups": [],
        "groups_claim": "groups",
        "anyone": False,
        "session_hours": 12,
        "console": None,
        "redirect_uri": f"https://login.miosa.app/callback/{acme.tenant.id}",
        "created_at": shown["created_at"],
        "updated_at": shown["updated_at"],
    }
    answer = await api("PUT", LOGIN, json={**BODY, "client_secret": None, "session_hours": 1})
    assert (answer.status, answer.json["data"]["session_hours"]) == (200, 1)
    answer = await api("GET", LOGIN)
    assert answer.json["data"]["has_secret"] is True
    assert SECRET.encode() not in answer.body
    answer = await api("DELETE", LOGIN)
    assert (answer.status, answer.json) == (200, {"deleted": True})
    assert (await api("DELETE", LOGIN)).status == 404
    assert (await api("GET", LOGIN)).status == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"issuer": "http://login.example.com"}, "issuer"),
        ({"issuer": None}, "issuer"),
        ({"client_id": ""}, "client_id"),
        ({"client_secret": None}, "client_secret"),
        ({"email_domains": []}, "email_domains"),
        ({"email_domains": "example.com"}, "email_domains"),
        ({"anyone": True}, "anyone"),
        ({"anyone": "yes"}, "anyone"),
        ({"session_hours": 13}, "session_hours"),
        ({"groups": [" "]}, "groups"),
        ({"console": {"role": "owner"}}, "console"),
        ({"console": {"role": "read", "groups": [" "]}}, "console"),
        ({"console": {"role": "read"}, "anyone": True, "email_domains": []}, "console"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_is_wrong(api: ApiClient, changes: dict[str, object], field: str) -> None:
    """It is said of its field, and the secret is not repeated."""
    answer = await api("PUT", LOGIN, json={**BODY, **changes})
    assert answer.status == 422
    assert [name.partition(".")[0] for name in answer.fields] == [field]
    assert SECRET.encode() not in answer.body


async def test_a_narrower_key_may_not(api: ApiClient, services: Services, acme: Account) -> None:
    """A login is the whole tenant's, and so are its sessions."""
    workspace = await services.workspaces.default(acme.tenant.id)
    _, key = await services.keys.create(acme.tenant.id, scope=KeyScope.WORKSPACE, scope_id=workspace.id)
    for method, path in (("GET", LOGIN), ("PUT", LOGIN), ("DELETE", LOGIN), ("GET", SESSIONS), ("DELETE", SESSIONS)):
        answer = await api(method, path, key=key, **({"json": BODY} if method == "PUT" else {}))
        assert (answer.status, answer.code) == (403, "forbidden")


async def test_sessions(api: ApiClient, services: Services, acme: Account, globex: Account, clock: ManualClock) -> None:
    """Those of the caller's tenant that go on, page by page; one ends, and then all do. Another tenant's are not found."""
    for account in (acme, globex):
        await api("PUT", LOGIN, json=BODY, key=account.key)
    made = []
    for name in ("ada", "bob", "cy"):
        clock.advance(1)
        made.append(await sign_in(services, acme, name))
    foreign = await sign_in(services, globex, "eve")
    await services.sessions.note_uses({made[2].id: clock.now()})
    page = (await api("GET", f"{SESSIONS}?limit=2")).json
    assert [one["subject"] for one in page["data"]] == ["cy", "bob"]
    assert page["data"][0].keys() == {
        *("id", "subject", "email", "groups", "created_at", "last_used_at", "expires_at", "console_role"),
    }
    assert (page["data"][0]["email"], page["data"][1]["last_used_at"]) == ("cy@example.com", None)
    assert page["data"][0]["last_used_at"] is not None
    page = (await api("GET", f"{SESSIONS}?limit=2&cursor={page['page']['next_cursor']}")).json
    assert ([one["subject"] for one in page["data"]], page["page"]["next_cursor"]) == (["ada"], None)
    for unknown in (foreign.id, "ses_none", "x"):
        answer = await api("DELETE", f"{SESSIONS}/{unknown}")
        assert (answer.status, answer.code) == (404, "session_not_found")
    for _ in range(2):
        answer = await api("DELETE", f"{SESSIONS}/{made[0].id}")
        assert (answer.status, answer.json["data"]["id"]) == (200, made[0].id)
    assert (await api("DELETE", SESSIONS)).json == {"data": {"ended": 2}}
    assert (await api("GET", SESSIONS)).json["data"] == []
    assert len((await api("GET", SESSIONS, key=globex.key)).json["data"]) == 1
