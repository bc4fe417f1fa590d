"""Certificates that customers bring: the page's commands as they stand there, and the operator's command."""

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from router.domains.lookup import RecordType
from tests.support.backends import Backend, Visit
from tests.support.caddy import Caddy
from tests.support.nameserver import NameServer
from tests.support.router import Router
from tests.support.signer import Signer, key_pem, pem, root
from tests.support.waiting import until

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "certificates.md"
HOST, ZONE = "shop.example.com", "zone.example.org"
TOOLS = ("bash", "curl", "jq", "openssl")


class _Asked:
    """The key of a request, for an authority that has only seen its public half."""

    def __init__(self, csr: x509.CertificateSigningRequest) -> None:
        self._csr = csr

    def public_key(self) -> Any:
        return self._csr.public_key()


def answered(folder: Path, top: Signer) -> None:
    """What an authority does with `request.pem`: writes `fullchain.pem`."""
    csr = x509.load_pem_x509_csr(folder.joinpath("request.pem").read_bytes())
    assert csr.is_signature_valid
    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    leaf = top.sign(tuple(names.get_values_for_type(x509.DNSName)), key=_Asked(csr), days=(-400, 4000))
    folder.joinpath("fullchain.pem").write_text(pem(leaf.certificate, top.certificate))


class Customer:
    """A tenant who calls the API."""

    def __init__(self, router: Router, key: str) -> None:
        self.router = router
        self._key = key

    def call(self, method: str, path: str, body: object = None) -> Any:
        """`data` of a response, which is one of success."""
        return self.router.call(self._key, method, path, body)

    def upload(self, path: str, bundle: tuple[str, str]) -> None:
        shown = self.call("PUT", f"{path}/certificate", {"certificate": bundle[0], "private_key": bundle[1]})
        assert shown["origin"] == "uploaded"


class Visitor:
    """Who comes through Caddy, and trusts `authority` beside Caddy's own."""

    def __init__(self, caddy: Caddy, authority: str) -> None:
        self._caddy = caddy
        self._authority = authority

    def issuer(self, host: str) -> str:
        """Who has signed what a visitor of the host gets. Raises ssl.SSLError where there is nothing."""
        trusted = self._caddy.trust()
        trusted.load_verify_locations(cadata=self._authority)
        found: Any = self._caddy.certificate(host, trusted)["issuer"]
        return str(dict(part for ((part),) in found)["commonName"])

    def served(self, host: str, issuer: str) -> None:
        """Wait until visitors of the host get a certificate of this issuer, where they had none or another."""

        def found() -> bool:
            try:
                return self.issuer(host).startswith(issuer)
            except ssl.SSLError:
                return False

        until(found, f"{host} has a certificate of {issuer}", 20.0)


@pytest.mark.skipif(
    None in map(shutil.which, TOOLS) and "CI" not in os.environ, reason="the page's commands need curl, jq and openssl"
)
def test_the_commands_of_the_page(tmp_path: Path) -> None:
    """From a request of the router's to a certificate, then one with a key of one's own, and its removal; the operator sees each."""
    found, ask, by_request, own_key, with_key, remove = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    top = root().intermediate(days=(-500, 5000))
    with Router(tmp_path, secrets_key="ab12" * 16) as router:
        tenant = router.tenant("Acme")
        key = router.key(tenant)
        customer = Customer(router, key)
        computer = router.register(tenant, "shop", 9, kind="computer")
        customer.call("POST", "/custom-domains", {"domain": HOST, "computer_id": computer})
        here = f"export MIOSA_API=http://127.0.0.1:{router.api_port} MIOSA_API_KEY={key}\n"
        found = re.sub(r"^export .*\n", here, found)

        def run(commands: str) -> str:
            script = f"set -euo pipefail\n{found}\n{commands}"
            done = subprocess.run(
                ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        assert f"DNS:{HOST}" in run(ask)
        answered(tmp_path, top)
        assert '"state": "active"' in run(by_request)
        (shown,) = router.command("domains", "certificate", HOST)["data"]
        assert (shown["state"], shown["origin"], shown["names"]) == ("active", "uploaded", [HOST])
        run(own_key)
        answered(tmp_path, top)
        assert '"origin": "uploaded"' in run(with_key)
        assert '"mode": "per_host"' in run(remove)
        private = tmp_path.joinpath("key.pem").read_text().split("\n")[1:-2]
        assert not any(line in router.output for line in private)


async def hello(visit: Visit) -> None:
    await visit.answer(b"hello")


@pytest.mark.asyncio
async def test_an_upload_is_what_visitors_get_until_it_is_removed(tmp_path: Path) -> None:
    """Through real Caddy: of a custom domain, and of a preview domain with hosts under both wildcards, before their DNS leads here, as then
    Caddy gets none of its own. Then the managed ones again. A host that has one of these keeps it until Caddy is restarted."""
    anchor = root("Brought Root")
    top = anchor.intermediate("Brought CA", days=(-500, 5000))
    async with NameServer() as dns, Backend(hello) as backend:

        def issued(*names: str) -> tuple[str, str]:
            leaf = top.sign(names, days=(-400, 4000))
            return pem(leaf.certificate, top.certificate), key_pem(leaf.key)

        def play() -> None:
            with ExitStack() as stack:
                router = stack.enter_context(Router(tmp_path, secrets_key="ab12" * 16, dns_servers=dns.server))
                caddy = stack.enter_context(Caddy(tmp_path, proxy=router.proxy, ask=router.admin))
                tenant = router.tenant("Acme")
                customer = Customer(router, router.key(tenant))
                visitor = Visitor(caddy, pem(anchor.certificate))
                router.register(tenant, "box", backend.port)
                computer = router.register(tenant, "shop", backend.port, kind="computer")
                domain = customer.call("POST", "/custom-domains", {"domain": HOST, "computer_id": computer})
                path = f"/custom-domains/{domain['id']}"
                customer.upload(path, issued(HOST))
                visitor.served(HOST, "Brought CA")
                dns.put(HOST, RecordType.CNAME, "verify.miosa.ai")
                customer.call("POST", f"{path}/verify")
                assert visitor.issuer(HOST) == "Brought CA"
                customer.call("PUT", "/tenant/preview-domain", {"preview_domain": ZONE})
                customer.upload("/tenant/preview-domain", issued(f"*.{ZONE}", f"*.sandbox.{ZONE}"))
                visitor.served(f"box.{ZONE}", "Brought CA")
                for name in ("*", "*.sandbox"):
                    dns.put(f"{name}.{ZONE}", RecordType.CNAME, "proxy.miosa.ai")
                customer.call("POST", "/tenant/preview-domain/verify")
                for host in (f"box.{ZONE}", f"3000-box.sandbox.{ZONE}"):
                    visitor.served(host, "Brought CA")
                assert not list(caddy.storage.rglob(f"*{ZONE}*.crt"))
                customer.call("DELETE", f"{path}/certificate")
                customer.call("DELETE", "/tenant/preview-domain/certificate")
                for host in (HOST, f"box.{ZONE}", f"3000-box.sandbox.{ZONE}"):
                    visitor.served(host, "Caddy Local Authority")
                customer.upload(path, issued(HOST))
                until(lambda: router.get_admin(f"/certificate?server_name={HOST}")[0] == 200, "the node has it", 20.0)
                assert visitor.issuer(HOST).startswith("Caddy Local Authority")  # from Caddy's memory
                caddy.restart()
                assert visitor.issuer(HOST) == "Brought CA"

        await asyncio.to_thread(play)
