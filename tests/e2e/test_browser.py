"""What a browser makes of what we send: cookies of one sandbox at another, errors that a program reads, event streams."""

import asyncio
import socket
from pathlib import Path

import pytest

from tests.e2e.conftest import Edge
from tests.support.backends import Backend, Visit
from tests.support.browser import find_browser, visit
from tests.support.router import PLATFORM_DOMAIN

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio]


async def test_no_sandbox_sets_cookies_for_another(edge: Edge, tmp_path: Path) -> None:
    """A visitor of one is sent on to another, and back. Without us the second hears the first's cookie for everybody;
    through us it hears nothing, and the first has its cookies still."""
    browser = find_browser()
    heard: list[tuple[bytes, bytes | None]] = []
    hosts: dict[bytes, str] = {}

    async def answer(seen: Visit) -> None:
        host = (seen.header(b"host") or b"").partition(b".")[0]
        if seen.target not in (b"/", b"/back"):  # a browser asks for an icon too
            await seen.answer(b"", b"404 Not Found")
            return
        heard.append((seen.target if host == evil else b"victim", seen.header(b"cookie")))
        if host != evil:
            await seen.answer(b"", b"302 Found", f"Location: http://{hosts[evil]}/back".encode())
        elif seen.target == b"/":
            wide = f"Set-Cookie: fixed=1; Domain=.{PLATFORM_DOMAIN.upper()}; Path=/".encode()
            await seen.answer(
                b"", b"302 Found", b"Set-Cookie: own=1", wide, f"Location: http://{hosts[victim]}/".encode()
            )
        else:
            await seen.answer(b"<html><body>done</body></html>", b"200 OK", b"Content-Type: text/html")

    async with Backend(answer) as backend:
        named = [edge.host(backend.port) for _ in range(2)]
        evil, victim = (host.partition(".")[0].encode() for host in named)
        hosts |= {evil: named[0], victim: named[1]}
        for number, port in enumerate((backend.port, edge.router.proxy_port)):
            page = await asyncio.to_thread(visit, browser, tmp_path / str(number), f"http://{named[0]}/", port)
            assert "done" in page
    direct, through = heard[:3], heard[3:]
    assert direct == [(b"/", None), (b"victim", b"fixed=1"), (b"/back", b"own=1; fixed=1")]
    assert through == [(b"/", None), (b"victim", None), (b"/back", b"own=1; fixed=1")]


PROGRAM = """<html><body><script>
const shown = (name, value) => { document.body.dataset[name] = value };
const read = (name, how) => fetch("http://%(absent)s/", how).then(
  answer => answer.json().then(body => shown(name, `${answer.status} ${body.error.code} ${answer.headers.get("X-Miosa-Error")}`)),
  error => shown(name, error));
const stream = new EventSource("http://%(absent)s/events");
stream.onerror = () => fetch("/failed");
stream.onmessage = event => {
  shown("heard", event.data);
  stream.close();
  fetch("/done");
};
Promise.all([
  read("plain", {}),
  read("cookies", {credentials: "include"}),
  read("preflight", {method: "DELETE", headers: {"X-A": "1"}}),
]).then(() => fetch("/read"));
</script><img src="/held"></body></html>"""


async def test_a_program_in_a_browser_waits_for_another_one(edge: Edge, tmp_path: Path) -> None:
    """The other's server is not up. `fetch` reads why, with cookies and after a preflight too; EventSource goes on asking by
    itself, until it hears the server that has started meanwhile."""
    browser = find_browser()
    read, failed, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    hosts: dict[str, str] = {}

    async def show(seen: Visit) -> None:
        marks = {b"/read": read, b"/failed": failed, b"/done": done}
        if seen.target == b"/":
            await seen.answer((PROGRAM % hosts).encode(), b"200 OK", b"Content-Type: text/html")
            return
        if seen.target == b"/held":  # the page counts as loading until then
            await done.wait()
        elif seen.target in marks:
            marks[seen.target].set()
        await seen.answer()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nAccess-Control-Allow-Origin: *\r\n\r\n")
        writer.write(b"data: there\n\n")
        await writer.drain()
        await done.wait()
        writer.close()

    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # and does not listen: refused
        async with Backend(show) as backend:
            hosts |= {"absent": edge.host(reserved.getsockname()[1])}
            url = f"http://{edge.host(backend.port)}/"
            visiting = asyncio.create_task(asyncio.to_thread(visit, browser, tmp_path, url, edge.router.proxy_port))
            async with asyncio.timeout(50):
                await read.wait()
                await failed.wait()
                async with await asyncio.start_server(stream, sock=reserved):
                    page = await visiting
    for name in ("plain", "cookies", "preflight"):
        assert f'data-{name}="502 port_closed port_closed"' in page
    assert 'data-heard="there"' in page


async def test_the_page_of_a_closed_port_becomes_the_program(edge: Edge, tmp_path: Path) -> None:
    """It asks again by itself, by GET and for the same path, until the server is up."""
    browser = find_browser()
    shown, asked = asyncio.Event(), asyncio.Event()
    lines: list[bytes] = []
    hosts: dict[str, str] = {}

    async def show(seen: Visit) -> None:
        if seen.target == b"/":
            frame = (
                f'<iframe src="http://{hosts["absent"]}/a?b=c" onload="fetch(\'/shown\')"></iframe><img src="/held">'
            )
            await seen.answer(frame.encode(), b"200 OK", b"Content-Type: text/html")
            return
        if seen.target == b"/held":
            await asked.wait()
        elif seen.target == b"/shown":
            shown.set()
        await seen.answer()

    async def program(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup")
        await writer.drain()
        writer.close()
        asked.set()

    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        async with Backend(show) as backend:
            hosts |= {"absent": edge.host(reserved.getsockname()[1])}
            url = f"http://{edge.host(backend.port)}/"
            visiting = asyncio.create_task(asyncio.to_thread(visit, browser, tmp_path, url, edge.router.proxy_port))
            async with asyncio.timeout(50):
                await shown.wait()
                async with await asyncio.start_server(program, sock=reserved):
                    await visiting
    assert lines[0] == b"GET /a?b=c HTTP/1.1"
