"""Certificates that customers bring: the page's commands as they stand there, and the operator's command."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.support.router import Router
from tests.support.signer import Signer, pem, root

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "certificates.md"
HOST = "shop.example.com"
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


@pytest.mark.skipif(
    None in map(shutil.which, TOOLS) and "CI" not in os.environ, reason="the page's commands need curl, jq and openssl"
)
def test_the_commands_of_the_page(tmp_path: Path) -> None:
    """From a request of the router's to a certificate, then one with a key of one's own, and its removal; the operator sees each."""
    found, ask, by_request, own_key, with_key, remove = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    top = root().intermediate(days=(-500, 5000))
    with Router(tmp_path, secrets_key="ab12" * 16) as router:
        router.command("tenants", "create", "Acme")
        key = router.command("keys", "create", "--tenant", "acme")["key"]
        words = ("--kind", "computer", "--slug", "shop", "--tenant", "acme", "--default-port", "3000")
        shop = router.command("resources", "put", "new", *words)["id"]
        router.command("domains", "register", HOST, "--resource", shop)
        here = f"export MIOSA_API=http://127.0.0.1:{router.api_port} MIOSA_API_KEY={key}\n"
        found = re.sub(r"^export .*\n", here, found)

        def run(commands: str) -> str:
            script = f"set -euo pipefail\n{found}\n{commands}"
            done = subprocess.run(
                ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        def state() -> tuple[str, str]:
            (shown,) = router.command("domains", "certificate", HOST)["data"]
            return shown["state"], shown["origin"]

        assert state() == ("none", "managed")
        assert f"DNS:{HOST}" in run(ask)
        answered(tmp_path, top)
        assert '"state": "active"' in run(by_request)
        assert state() == ("active", "uploaded")
        run(own_key)
        answered(tmp_path, top)
        assert '"origin": "uploaded"' in run(with_key)
        assert '"mode": "per_host"' in run(remove)
        assert state() == ("none", "managed")
        private = tmp_path.joinpath("key.pem").read_text().split("\n")[1:-2]
        assert not any(line in router.output for line in private)
