"""Caddy as a process, with deploy/Caddyfile as it is."""

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.pebble import Pebble
from tests.support.ports import answers, free_port
from tests.support.processes import BIN, Process
from tests.support.waiting import until

_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which `ssl` gives no name

CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"


class Caddy:
    """Signs with a CA of its own, in `folder`, unless it is to get its certificates from Pebble by `acme`. `proxy` and
    `ask` are the router's addresses, HOST:PORT. `ports` are those for https and http, where somebody has to know them
    before."""

    def __init__(
        self,
        folder: Path,
        *,
        proxy: str,
        ask: str,
        acme: Pebble | None = None,
        ports: tuple[int, int] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.port, self.http_port = ports or (free_port(), free_port())
        self.storage = folder / "storage"
        self.root_certificate = self.storage / "pki" / "authorities" / "local" / "root.crt"
        authority = {"MIOSA_CADDY_TLS": "internal"}
        if acme is not None:
            self.root_certificate = acme.roots
            authority = {
                "MIOSA_CADDY_TLS": "acme",
                "MIOSA_CADDY_ACME_DIRECTORY": acme.directory,
                "SSL_CERT_FILE": str(acme.certificate),
            }
        self._log = folder / "caddy.log"
        self._environment = {
            "GODEBUG": "http2xconnect=1",
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "MIOSA_CADDY_STORAGE": str(self.storage),
            "MIOSA_CADDY_BIND": "127.0.0.1",
            "MIOSA_CADDY_HTTPS_PORT": str(self.port),
            "MIOSA_CADDY_HTTP_PORT": str(self.http_port),
            "MIOSA_CADDY_PUBLIC_PORT": f":{self.port}",
            "MIOSA_CADDY_PROXY": proxy,
            "MIOSA_CADDY_ASK": ask,
            "MIOSA_CADDY_GRACE": "2s",
            "MIOSA_CADDY_MORE": str(folder / "more" / "*.caddy"),
            **authority,
            **(environment or {}),
        }
        self.process = self._begin()

    def _begin(self) -> Process:
        return Process(
            [BIN / "caddy", "run", "--config", CADDYFILE, "--adapter", "caddyfile"], self._log, self._environment
        )

    def __enter__(self) -> Self:
        try:
            self.process.until(lambda: self.root_certificate.exists() and answers(self.port))
        except BaseException:
            self.process.stop()
            raise
        return self

    def restart(self) -> None:
        """Stop it and start it again: it remembers its storage only."""
        self.process.stop()
        self.process = self._begin()
        self.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()

    def trust(self, *protocols: str) -> ssl.SSLContext:
        """A client's TLS context that trusts this Caddy's CA and offers `protocols` by ALPN.

        Times of certificates are not looked at: Caddy's begin with the second of their issue, and where the machine's
        clock is set back a little in between, the handshake that asked for one would find it "not yet valid".
        """
        context = ssl.create_default_context(cafile=str(self.root_certificate))
        context.verify_flags |= _NO_CHECK_TIME
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def wait_until_valid(self, name: str) -> None:
        """Until the certificate for `name` has begun, by a clock that may have been set back: for clients that look at that."""
        context = ssl.create_default_context(cafile=str(self.root_certificate))

        def begun() -> bool:
            try:
                with (
                    socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
                    context.wrap_socket(plain, server_hostname=name),
                ):
                    return True
            except ssl.SSLCertVerificationError as error:
                if "not yet valid" not in error.verify_message:
                    raise
                return False

        until(begun, f"the certificate for {name} is valid", 30.0)

    def certificate(self, name: str | None, context: ssl.SSLContext | None = None) -> Mapping[str, object]:
        """The certificate that a handshake for `name` gets; None: one that says no name, which is not compared then. `context`
        trusts this Caddy's own CA only, unless it is given. Raises ssl.SSLError where it is refused."""
        context = context or self.trust()
        context.check_hostname = name is not None
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            found = secured.getpeercert()
            assert found is not None
            return found
