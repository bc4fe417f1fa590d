"""A private preview that asks for a password, as people meet it: through real Caddy, in a real browser, by keyboard alone."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Edge
from tests.e2e.test_access import private
from tests.support.browser import Tab, find_browser

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]

WORD = "correct höuse"


@pytest.fixture(scope="module")
def key(edge: Edge) -> str:
    return edge.router.key(edge.tenant_id)


async def press(tab: Tab, name: str, code: int) -> None:
    """One key, as a person's."""
    text = {"text": "\r"} if name == "Enter" else {}
    pressed = {"key": name, "code": name, "windowsVirtualKeyCode": code}
    await tab.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **text)
    await tab.call("Input.dispatchKeyEvent", type="keyUp", **pressed)


async def focused(tab: Tab, name: str) -> None:
    """Wait until the field or button of this name has the focus: a browser gives it by `autofocus` when it first draws the page,
    which may be after the page has loaded."""
    await tab.until(f"(document.activeElement.name || document.activeElement.innerText) === {json.dumps(name)}")


async def test_a_password_opens_the_page(edge: Edge, key: str, tmp_path: Path) -> None:
    """The page asks for it, says that a wrong one is wrong, and with the right one leads to where the visitor was going, where
    the page's WebSocket opens. All of it by keyboard, in light and dark. A new password ends it."""
    async with (
        private(edge, key) as program,
        Tab(find_browser(), tmp_path / "tab", f"MAP * 127.0.0.1:{edge.caddy.port}") as tab,
    ):
        path = f"/previews/{program.preview}/password"
        await asyncio.to_thread(program.api, "PUT", path, {"password": WORD})
        await tab.open(f"https://{program.host}/a/b?c=%20d&e=%22")
        assert await tab.evaluate("document.querySelector('form').method") == "post"
        await focused(tab, "password")
        names = "[...document.querySelectorAll('label')].map(one => one.control.name + ' ' + one.innerText).join()"
        assert await tab.evaluate(names) == "password Password"
        for dark in (False, True):
            for width in (360, 1200):
                picture = await tab.picture(width, dark=dark)
                (tmp_path / f"asked-{width}-{'dark' if dark else 'light'}.png").write_bytes(picture)
                assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")

        await tab.call("Input.insertText", text="no such house")
        await press(tab, "Enter", 13)
        await tab.until("document.readyState === 'complete' && document.body.innerText.includes('password_wrong')")
        await focused(tab, "password")
        described = "document.getElementById(document.activeElement.getAttribute('aria-describedby')).innerText"
        assert "not the preview's password" in await tab.evaluate(described)
        (tmp_path / "wrong-1200-dark.png").write_bytes(await tab.picture(1200, dark=True))
        assert not program.seen

        await tab.call("Input.insertText", text=WORD)
        await press(tab, "Tab", 9)
        await focused(tab, "Open the preview")
        await press(tab, "Enter", 13)
        await tab.until("document.body?.dataset.socket === 'open'")
        assert await tab.evaluate("location.href") == f"https://{program.host}/a/b?c=%20d&e=%22"
        assert await tab.evaluate("document.body.dataset.cookies") == ""
        heard = [str(request.headers) + request.path for request in program.seen]
        assert not [text for text in heard if "__Host-miosa" in text or "well-known/miosa" in text]

        await asyncio.to_thread(program.api, "PUT", path, {"password": WORD + "2"})
        await tab.until("document.body.dataset.closed !== undefined")
        before = len(program.seen)
        await tab.open(f"https://{program.host}/a/b")
        assert "token_revoked" in await tab.evaluate("document.documentElement.outerHTML")
        await focused(tab, "password")
        assert len(program.seen) == before
