"""Whole requests to a private preview, by each way in, beside a public one of the same program: `python -m bench.run --only private`

Everything is as for the small GET: our router as `serve` runs it, through sockets, one core to itself. All say that they
came by https, as Caddy does.
"""

import json
import urllib.error
import urllib.request
from typing import Any

from bench.load import Load, wrk
from bench.scenarios import Bench
from bench.stage import OURS, Contestant
from tests.support.router import PLATFORM_DOMAIN, Router

_HTTPS = "X-Forwarded-Proto: https"
_CONNECTIONS = 32


def private(bench: Bench) -> None:
    """The public preview is the row of ours, which the others are compared with."""
    table = bench.results.table("private", "a private preview, small GET, 32 connections kept alive", "request")
    table.notes.append(
        "Ours is the public preview; the other rows are private ones of the same program, by what they say."
    )
    ways = _ways(bench.stage.router, bench.stage.static)
    one = bench.stage.find(OURS)[0]
    for number in range(bench.rounds + 1):
        for name, (host, lines) in ways.items():
            before = one.cpu() or 0
            load = _ask(one, host, lines, bench.seconds)
            if number == 0 or not load.done:
                continue
            table.fail(name, load.failed)
            table.add(name, "rate", load.per_second)
            table.add(name, "cpu", ((one.cpu() or 0) - before) / load.done * 1e6)


def _ask(one: Contestant, host: str, lines: tuple[str, ...], seconds: int) -> Load:
    return wrk(
        f"http://127.0.0.1:{one.port}/", host, connections=_CONNECTIONS, seconds=seconds, headers=(_HTTPS, *lines)
    )


def _ways(router: Router, port: int) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The host and the header lines of each way in, by its name."""
    tenant = router.tenant("Private")
    key = router.key(tenant)

    def api(path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{router.api_port}/api/v1{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        status, _, answer = router.send(request)
        if status >= 300:
            raise OSError(f"{path}: {status} {answer!r}")
        return json.loads(answer)["data"]

    def machine(slug: str, visibility: str) -> tuple[str, str]:
        resource = router.register(tenant, slug, port)
        path = f"/sandboxes/{resource}/previews"
        return f"{slug}.{PLATFORM_DOMAIN}", f"{path}/{api(path, {'port': 3000, 'visibility': visibility})['id']}"

    closed, path = machine("closed", "private")
    open_, _ = machine("open", "public")
    shared, path_of_shared = machine("shared", "public")
    api(f"{path_of_shared}/share", {})
    link = api(f"{path}/share", {})["share_url"].partition("?")[2]
    token = api(f"{path}/tokens", {"name": "bench"})["token"]
    return {
        OURS: (open_, ()),
        "public, with a link that works": (shared, ()),
        "by the cookie of a link": (closed, (f"Cookie: {_cookie(router, closed, link)}",)),
        "by a token": (closed, (f"X-Miosa-Preview-Token: {token}",)),
        "by an API key": (closed, (f"Authorization: Bearer {key}",)),
    }


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing: what is wanted is the cookie of the redirect."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _cookie(router: Router, host: str, query: str) -> str:
    """What a browser keeps when it follows the link."""
    url = f"http://127.0.0.1:{router.proxy_port}/?{query}"
    request = urllib.request.Request(url, headers={"Host": host, "X-Forwarded-Proto": "https"})
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=10) as answer:
            raise OSError(f"the link was answered with {answer.status}")
    except urllib.error.HTTPError as error:
        with error:
            return str(error.headers["Set-Cookie"]).partition(";")[0]
