"""A backup is made while the edge runs; the machine is lost; another one is restored from it, with the Redis that there was."""

import http.client
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.caddy import Caddy
from tests.support.redis import Server
from tests.support.router import MIOSA_ROUTER, PLATFORM_DOMAIN, Router

pytestmark = pytest.mark.e2e


@contextmanager
def program(name: str) -> Iterator[int]:
    """The port of a program that says this."""

    class Says(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Says) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def visit(router: Router, host: str) -> str:
    """What the host says, or the status where that is not 200."""
    connection = http.client.HTTPConnection("127.0.0.1", router.proxy_port, timeout=10)
    connection.request("GET", "/", headers={"Host": host})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return body if response.status == 200 else str(response.status)


def settle(router: Router, resource: str, port: int, generation: str) -> None:
    """The platform says where the resource listens."""
    body = {"address": "127.0.0.1", "generation": generation, "state": "running", "ports": {"3000": port}}
    router.internal("PUT", f"/endpoints/{resource}", body)


def test_another_machine_takes_over(tmp_path: Path) -> None:
    """Certificates, evidence, budgets, Redis and addresses fit together: what was certified before is served with the
    certificate that it had, nothing of the time since comes out of Redis, and nobody gets another's program."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    shop, moved, late = (f"{name}.{PLATFORM_DOMAIN}" for name in ("shop", "moved", "late"))
    file = str(tmp_path / "router.backup")
    with program("mine") as mine, program("another's") as others, Server(tmp_path) as redis:
        settings = {"redis_url": f"{redis.url}/0", "gate__budgets": True}
        with Router(before, **settings) as router, Caddy(before, proxy=router.proxy, ask=router.admin) as caddy:
            tenant = router.tenant("Acme")
            ids = {name: router.register(tenant, name, mine) for name in ("shop", "moved")}
            certificate = caddy.certificate(shop)
            assert visit(router, moved) == "mine"
            made = router.command("backup", file, "--caddy-data", str(caddy.storage))
            assert made["caddy_files"] > 0
            settle(router, ids["moved"], others, "2")
            router.register(tenant, "late", mine)
            caddy.certificate(late)
            assert (visit(router, moved), visit(router, late)) == ("another's", "mine")
        router = Router(after, **settings, internal_token=router.token)
        router.token = router.environment["MIOSA_ROUTER_INTERNAL_TOKEN"]
        assert router.command("restore", file, "--check")["remarks"] == []
        assert not (after / "router.db").exists()
        said = router.command("restore", file, "--caddy-data", str(after / "storage"))
        assert said["caddy_files"] == made["caddy_files"]
        assert (said["endpoints_dropped"], said["attempts_kept"]) == (2, 1)
        assert sum(line.startswith("WARNING") for line in said["warnings"]) == 2
        refused = subprocess.run(
            [MIOSA_ROUTER, "restore", file], env=router.environment, capture_output=True, text=True, check=False
        )
        assert (refused.returncode, "not empty" in refused.stderr) == (1, True)
        with router, Caddy(after, proxy=router.proxy, ask=router.admin) as caddy:
            assert "Redis was emptied" in router.output
            assert (visit(router, shop), visit(router, moved)) == ("503", "503")
            assert visit(router, late) == "404"
            for resource in ids.values():
                settle(router, resource, mine, "3")
            assert (visit(router, shop), visit(router, moved)) == ("mine", "mine")
            assert caddy.certificate(shop)["serialNumber"] == certificate["serialNumber"]
            with pytest.raises(ssl.SSLError):
                caddy.certificate(late)
