"""Pebble as a process: an ACME certificate authority for tests, of the people who run Let's Encrypt."""

import json
import os
import shutil
import ssl
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.certificates import write_certificate
from tests.support.ports import answers, free_port
from tests.support.processes import Process

PROGRAM = "pebble"
HOW = "tests/install-servers.sh installs it from Debian's package `pebble`, as root"


def find_pebble() -> str:
    """Its path. Skips the test, and says so on the terminal in red, where it is not installed; in CI that fails."""
    found = shutil.which(PROGRAM)
    if found is None:
        print(f"\n\x1b[1;31mNOT TESTED: certificates by ACME, for want of Pebble; {HOW}\x1b[0m", file=sys.__stderr__)
        if "CI" in os.environ:
            pytest.fail(f"Pebble is not installed; {HOW}")
        pytest.skip(f"Pebble is not installed; {HOW}")
    return found


class Pebble:
    """Validates at these ports of loopback, by names that it asks the server at `dns` for. `validity` is how long its
    certificates live, in seconds; `blocked` are domains for which it gives none (rejectedIdentifier); of a hundred good
    nonces it refuses `bad_nonces`."""

    def __init__(
        self,
        folder: Path,
        *,
        dns: str,
        http_port: int = 5002,
        tls_port: int = 5001,
        validity: int = 90 * 86400,
        blocked: Sequence[str] = (),
        bad_nonces: int = 0,
    ) -> None:
        program = find_pebble()
        self.dns = dns
        self._port, self._management = free_port(), free_port()
        self.certificate, key = write_certificate(folder, "127.0.0.1", "localhost", stem="pebble")
        self.roots = folder / "pebble-roots.pem"
        settings = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(self.certificate),
            "privateKey": str(key),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "certificateValidityPeriod": validity,
            "domainBlocklist": list(blocked),
        }
        config = folder / "pebble.json"
        config.write_text(json.dumps({"pebble": settings}), encoding="utf-8")
        self.process = Process(
            [program, "-config", config, "-dnsserver", dns, "-strict", "false"],
            folder / "pebble.log",
            {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": str(bad_nonces), "PEBBLE_AUTHZREUSE": "0"},
        )

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self._port}/dir"

    def __enter__(self) -> Self:
        try:
            self.process.until(lambda: answers(self._port) and answers(self._management))
            self.roots.write_bytes(self._manage("roots/0"))
        except BaseException:
            self.process.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()

    def _manage(self, path: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.certificate))
        where = f"https://127.0.0.1:{self._management}/{path}"
        with urllib.request.urlopen(where, context=context, timeout=10) as answer:
            return bytes(answer.read())

    def status_of(self, serial: int) -> str:
        """Of a certificate: `Valid` or `Revoked`."""
        return str(json.loads(self._manage(f"cert-status-by-serial/{serial:x}"))["Status"])

    @property
    def issued(self) -> int:
        """How many certificates it has issued."""
        return self.process.output.count("Issued certificate serial")
