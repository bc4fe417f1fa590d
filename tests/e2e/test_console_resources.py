"""The console's pages of sandboxes, computers and deployments, by the keyboard alone; what each act does is asked of the API."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.console import Bench, bench_of

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

HOSTILE = "<img src=x onerror=document.title='owned'>"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with bench_of(tmp_path_factory.mktemp("console")) as bench:
        yield bench


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def program() -> AsyncIterator[int]:
    """The port of a program that answers, so that what is published passes its check."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the check only connects
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_lists_that_are_empty(bench: Bench) -> None:
    """Each kind says what it is for, and how one is made."""
    await bench.log_in()
    await bench.go("/resources", "Resources")
    await bench.says("No sandboxes yet", "main h2")
    await bench.check_page("resources-empty")
    await bench.activate("Deployments 0")
    await bench.says("No deployments yet", "main h2")


async def test_a_sandbox(bench: Bench, program: int) -> None:
    """Its name is text; its port is exposed, closed to strangers, shared, given a token and a password, and closed."""
    customer = bench.customer
    sandbox = bench.router.register(customer.tenant_id, "web-one", program, name=HOSTILE)
    path = f"/sandboxes/{sandbox}"
    await bench.log_in()
    await bench.go("/resources", "Resources")
    await bench.says("web-one", "main td")
    await bench.check_page("resources", widths=(360, 1440, 3840))
    await bench.tab_to("State")
    await bench.press("ArrowDown")
    await bench.says("No sandboxes in this state", "main h2")
    await bench.press("ArrowDown", 2)
    await bench.says("running", "main td .badge")
    await bench.activate(HOSTILE)
    await bench.shows(HOSTILE)
    assert await bench.tab.evaluate("document.querySelector('main img') === null && document.title !== 'owned'")
    await bench.says("No port has settings of its own", "main h2")
    await bench.check_page("sandbox-empty")
    await bench.activate("Copy the URL")
    await bench.says("Copied", "main .copy")

    await bench.activate("Expose your first port")
    await bench.says("Expose a port", "dialog h2")
    await bench.type("99999")
    await bench.press("Enter")
    await bench.says("Port ", "dialog .field-error")
    await bench.check_page("sandbox-expose")
    await bench.tab.evaluate("document.activeElement.select()")
    await bench.type("3000")
    await bench.fill("Name", HOSTILE)
    await bench.tab_to("Who gets in")
    await bench.press("ArrowDown", 2)  # by the organization's word, public, private
    await bench.activate("Expose port")
    await bench.says("Port 3000", "main article h3")
    (port,) = customer.call("GET", f"{path}/previews")
    assert (port["port"], port["visibility"], port["name"]) == (3000, "private", HOSTILE)

    await bench.activate("Create share link: port 3000")
    await bench.says("Create a share link", "dialog h2")
    await bench.activate("For one visitor only", key=" ")
    await bench.activate("Create link")
    await bench.says("Share link created", "dialog h2")
    link = await bench.text("dialog .secret code")
    assert "miosa_token=" in link
    await bench.check_page("sandbox-share")
    await bench.activate("I have kept it")
    await bench.says("Newest share link", "main article")
    assert link not in await bench.tab.evaluate("document.documentElement.outerHTML")

    await bench.activate("Named tokens of port 3000")
    await bench.says("None yet", "main details")
    await bench.activate("Create token: port 3000")
    await bench.type("crawler")
    await bench.press("Enter")
    await bench.keep_secret("Token created")
    tokens = f"{path}/previews/{port['id']}/tokens"
    assert [token["name"] for token in customer.call("GET", tokens)] == ["crawler"]
    await bench.check_page("sandbox")
    await bench.activate("Revoke token crawler of port 3000")
    await bench.activate("Revoke token")
    await bench.says("revoked", "main details .badge.bad")
    assert customer.call("GET", tokens)[0]["revoked_at"] is not None

    await bench.activate("Set a password: port 3000")
    await bench.type("short")
    await bench.press("Enter")
    await bench.says("Password ", "dialog .field-error")
    await bench.fill("Password", "correct horse battery")
    await bench.press("Enter")
    await bench.says("Set just now", "main article")
    assert customer.call("GET", f"{path}/previews")[0]["has_password"]
    await bench.activate("Remove password: port 3000")
    await bench.activate("Remove it")
    await bench.tab.until("!document.querySelector('main article').innerText.includes('Set just now')")

    await bench.activate("End share links: port 3000")
    await bench.activate("End share links")
    await bench.says("No share link works now", "main article")
    await bench.activate("Change: port 3000")
    await bench.press("ArrowDown", 2)  # from private by way of tenant to key
    await bench.activate("Save")
    await bench.says("programs with a token or a key; no", "main article")
    assert customer.call("GET", f"{path}/previews")[0]["visibility"] == "key"
    await bench.says("preview.token_created", "main td code")
    await bench.says("port 3000", "main td")
    await bench.activate("Close port: port 3000")
    await bench.activate("Close port")
    await bench.says("No port has settings of its own", "main h2")
    assert customer.call("GET", f"{path}/previews") == []
    # The button that was pressed is gone: the keyboard goes on where it was.
    await bench.tab.until("document.activeElement.closest('section')?.getAttribute('aria-label') === 'Ports'")


async def test_a_sandbox_as_a_whole(bench: Bench, program: int) -> None:
    """What it inherits and what is set on it, links and a password of all its ports, and captures."""
    customer = bench.customer
    sandbox = bench.router.register(customer.tenant_id, "web-two", program)
    path = f"/sandboxes/{sandbox}"
    await bench.log_in()
    await bench.go(f"/resources/sandboxes/{sandbox}", "web-two")
    await bench.says("inherited from the organization", "main dd")
    await bench.activate("Change")
    await bench.says("Change the sandbox", "dialog h2")
    await bench.fill("Name", "Shop")
    await bench.tab_to("Who gets in")
    await bench.press("ArrowDown", 2)
    await bench.activate("Save")
    await bench.shows("Shop")
    await bench.says("private set here", "main dd")
    found = customer.call("GET", path)
    assert (found["name"], found["visibility"], found["wake"]) == ("Shop", "private", None)

    await bench.activate("Default port…")
    await bench.tab.evaluate("document.activeElement.select()")
    await bench.type("8080")
    await bench.press("Enter")
    await bench.says("8080", "main dd")
    assert customer.call("GET", path)["default_port"] == 8080

    await bench.activate("Create the first share link")
    await bench.press("ArrowDown")  # a day
    await bench.activate("Create link")
    await bench.keep_secret("Share link created")
    (share,) = customer.call("GET", f"{path}/shares")
    await bench.activate(f"Revoke share link {share['share_token_prefix']}")
    await bench.activate("Revoke link")
    await bench.says("No share links", "main h2")
    assert customer.call("GET", f"{path}/shares") == []

    await bench.activate("Set a password")
    await bench.type("correct horse battery")
    await bench.press("Enter")
    await bench.says("Set just now", "section[aria-label=Password]")
    assert customer.call("GET", f"{path}/password")["has_password"]
    await bench.activate("Remove password")
    await bench.activate("Remove it")
    await bench.says("No password is set", "section[aria-label=Password]")

    await bench.activate("Capture requests")
    await bench.activate("Capture")
    await bench.says("on until", "section[aria-label='Request capture']")
    assert customer.call("GET", f"{path}/request-capture")["active"]
    await bench.check_page("sandbox-whole")
    await bench.activate("Stop capturing")
    await bench.says("off\n", "section[aria-label='Request capture']")
    assert not customer.call("GET", f"{path}/request-capture")["active"]
    await bench.activate("Delete captures")
    await bench.activate("Delete captures")
    await bench.says("Captures deleted", "#toasts")
    await bench.says("preview.password_revoked", "main td code")

    block = {"kind": "resource", "subject": sandbox, "reason": "abuse", "public_reason": "<b>Phishing</b>"}
    bench.router.internal("POST", "/blocks", block)
    await bench.go("/resources", "Resources")
    await bench.says("blocked", "main td .badge.bad")
    await bench.go(f"/resources/sandboxes/{sandbox}", "Shop")
    await bench.says("The platform has blocked this: <b>Phishing</b>", "main .notice.bad")


async def test_a_computer_of_a_project(bench: Bench) -> None:
    """With a key of its project alone, which may not read the organization's settings."""
    customer = bench.customer
    computer = customer.call("POST", "/computers", {"name": "Build box"})
    key = customer.call("POST", "/api-keys", {"name": "one", "scope": f"project:{computer['project_id']}"})["key"]
    await bench.log_in(key)
    await bench.go("/resources?kind=computers", "Resources")
    await bench.activate("Build box")
    await bench.shows("Build box")
    await bench.says("as the organization says", "main dd")
    await bench.activate("Expose your first port")
    await bench.type("8080")
    await bench.press("Enter")
    await bench.says("Port 8080", "main article h3")
    await bench.activate("Change: port 8080")
    await bench.fill("Name", "admin")
    await bench.press("Enter")
    await bench.says("admin", "main article")
    customer.call("PATCH", f"/computers/{computer['id']}", {"visibility": "tenant"})
    (port,) = customer.call("GET", f"/computers/{computer['id']}/ports")
    assert port["visibility"] == "tenant"  # it had none of its own, and the new name gave it none
    await bench.check_page("computer", widths=(360,))
    await bench.says("provisioning", "main dd .badge")
    bench.router.boot(computer["id"], {})
    await bench.says("running", "main dd .badge")  # by itself
    await bench.activate("Close port: port 8080")
    await bench.activate("Close port")
    await bench.says("No port has settings of its own", "main h2")
    await bench.go(f"/resources/sandboxes/{computer['id']}", "Sandbox")
    await bench.says("No sandbox with id", "main .notice.bad")


async def test_a_deployment(bench: Bench, program: int) -> None:
    """Published, promoted, rolled back, taken off the air; variables whose secrets no page has."""
    customer = bench.customer
    bench.router.register(customer.tenant_id, "web-three", program, name="Source")
    deployment = customer.call("POST", "/deployments", {"name": HOSTILE})["id"]
    path = f"/deployments/{deployment}"
    await bench.log_in()
    await bench.go(f"/resources/deployments/{deployment}", HOSTILE)
    await bench.says("No versions yet", "main h2")
    await bench.says("No domain of its own", "main h2")
    await bench.check_page("deployment-empty")
    for number in (1, 2):
        await bench.activate("Publish the first version" if number == 1 else "Publish a version")
        await bench.says("Publish a version", "dialog h2")
        await bench.activate("Publish")
        await bench.says(f"Version {number} on air", "main td")
    await bench.activate("Build of version 2")
    await bench.says("Build of version 2", "dialog h2")
    await bench.check_page("deployment-build")
    await bench.press("Escape")
    await bench.activate("Roll back…")
    await bench.says("Back to", "dialog label")
    await bench.check_page("deployment-rollback", widths=(360,))
    await bench.press("Escape")
    one, two = sorted(customer.call("GET", f"{path}/versions"), key=lambda version: version["version_number"])

    await bench.activate("Roll back…")
    await bench.says("Roll back?", "dialog h2")
    await bench.activate("Roll back")
    await bench.says("Version 1 on air", "main td")
    assert customer.call("GET", path)["active_version_id"] == one["id"]
    await bench.activate("Promote version 2")
    await bench.activate("Promote version")
    await bench.says("Version 2 on air", "main td")
    assert customer.call("GET", path)["active_version_id"] == two["id"]
    actions = [release["action"] for release in customer.call("GET", f"{path}/releases")]
    assert actions == ["promote", "rollback", "publish", "publish"]
    await bench.says("Version 1 rolled back", "main td")

    await bench.activate("Set the first variable")
    await bench.type("9 lives")
    await bench.fill("Value", "x")
    await bench.activate("Set variable")
    await bench.says("9 lives", "dialog .field-error, dialog .notice")
    await bench.fill("Name", "TOKEN")
    await bench.fill("Value", "hunter2hunter2")
    await bench.activate("Secret", key=" ")
    await bench.activate("Set variable")
    await bench.says("TOKEN", "main td")
    (variable,) = customer.call("GET", f"{path}/env")
    assert (variable["name"], variable["secret"], variable["value"]) == ("TOKEN", True, None)
    assert "hunter2" not in await bench.tab.evaluate("document.documentElement.outerHTML")
    await bench.check_page("deployment", widths=(360, 1440, 3840))
    domain = customer.call("POST", f"{path}/domains", {"domain": "www.example.com"})
    await bench.go(f"/domains/{domain['id']}", "www.example.com")
    await bench.activate(deployment)
    await bench.shows(HOSTILE)
    await bench.says("www.example.com", "section[aria-label=Domains] td")
    await bench.activate("Delete TOKEN of production")
    await bench.activate("Delete variable")
    await bench.says("No variables", "main h2")
    assert customer.call("GET", f"{path}/env") == []

    await bench.tab.evaluate("document.querySelector('.skip').focus()")
    await bench.activate("Take off the air")
    await bench.activate("Take it off")
    await bench.says("stopped", "main dd .badge")
    assert customer.call("GET", path)["state"] == "stopped"
    await bench.activate("Requests")
    await bench.shows("Requests")
    assert await bench.tab.evaluate("document.querySelector('select[name=resource_id]').value") == deployment
