"""Name servers that people run, as processes: Unbound resolves, BIND and Knot take dynamic updates."""

import os
import re
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import dns.exception
import dns.message
import dns.query
import pytest

from tests.support.ports import free_port
from tests.support.processes import Process

HOW = "tests/install-servers.sh installs it from Debian, as root"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

KEY_NAME = "miosa-acme"
KEY_ALGORITHM = "hmac-sha256"
KEY = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="


def find(program: str, lost: str) -> str:
    """Its path. Skips the test, and says so on the terminal in red, where it is not installed; in CI that fails."""
    found = shutil.which(program, path=PATH)
    if found is None:
        print(f"\n\x1b[1;31mNOT TESTED: {lost}, for want of {program}; {HOW}\x1b[0m", file=sys.__stderr__)
        if "CI" in os.environ:
            pytest.fail(f"{program} is not installed; {HOW}")
        pytest.skip(f"{program} is not installed; {HOW}")
    return found


class _Server(Process):
    """One of them, on a port of loopback."""

    program: ClassVar[str]
    lost: ClassVar[str]
    address = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        program = find(self.program, self.lost)
        self.folder = folder / self.program
        self.folder.mkdir()
        self.port = free_port()
        super().__init__(self.command(program), folder / f"{self.program}.log")

    def command(self, program: str) -> list[str | Path]:
        """How it is started, once its files are written."""
        raise AssertionError("each has its own")

    def ready(self, name: str) -> None:
        """Wait until it answers for that name."""
        self.until(lambda: self._answers(name))

    def ask(self, name: str, kind: str = "TXT") -> dns.message.Message:
        """Ask it over UDP."""
        return dns.query.udp(dns.message.make_query(name, kind), self.address, 5.0, self.port)

    def _answers(self, name: str) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((self.address, self.port)):
                return False
        try:
            self.ask(name, "SOA")
        except (OSError, dns.exception.DNSException):
            return False
        return True


class Unbound(_Server):
    """Resolves: `zones` says at which address of loopback each zone's name server is. In random case (0x20), with the least
    that it may show of a name (RFC 9156), as authorities' resolvers do; `tcp`: over TCP only."""

    program = "unbound"
    lost = "whether a real resolver gets answers of the responder"

    def __init__(self, folder: Path, zones: Mapping[str, str], *, tcp: bool = False) -> None:
        self._zones = zones
        self._tcp = tcp
        super().__init__(folder)

    def command(self, program: str) -> list[str | Path]:
        config = self.folder / "unbound.conf"
        stubs = "".join(
            f'stub-zone:\n  name: "{zone}"\n  stub-addr: {at.replace(":", "@")}\n  stub-prime: no\n'
            for zone, at in self._zones.items()
        )
        config.write_text(
            f"""server:
  interface: 127.0.0.1@{self.port}
  port: {self.port}
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "{self.folder}"
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  do-not-query-localhost: no
  use-caps-for-id: yes
  qname-minimisation: yes
  qname-minimisation-strict: yes
  tcp-upstream: {"yes" if self._tcp else "no"}
  num-threads: 1
  outgoing-range: 64
  local-zone: "test." nodefault
remote-control:
  control-enable: no
{stubs}""",
            encoding="utf-8",
        )
        return [program, "-d", "-c", config]

    @property
    def server(self) -> str:
        """As the setting DNS_SERVERS has it."""
        return f"{self.address}:{self.port}"


class _Primary(_Server):
    """A primary of one zone, which takes updates that are signed by `KEY`. `allowed` is what its policy lets that key change:
    a suffix of names."""

    def __init__(self, folder: Path, zone: str, *, allowed: str | None = None) -> None:
        self.zone = zone
        self._allowed = zone if allowed is None else allowed
        super().__init__(folder)
        self.ready(zone)

    def zone_file(self) -> Path:
        file = self.folder / "zone.db"
        file.write_text(
            f"""$ORIGIN {self.zone}.
@ 60 IN SOA ns1 hostmaster 1 3600 600 86400 1
@ 60 IN NS ns1
ns1 60 IN A 127.0.0.1
kept 60 IN TXT "somebody else's"
""",
            encoding="utf-8",
        )
        return file

    def texts(self, name: str) -> list[str]:
        """The TXT values that it answers."""
        found = [rdata.to_text() for rrset in self.ask(f"{name}.{self.zone}").answer for rdata in rrset]
        return sorted(re.sub(r'^"|"$', "", value) for value in found)


class Bind(_Primary):
    program = "named"
    lost = "dynamic updates of BIND"

    def command(self, program: str) -> list[str | Path]:
        config = self.folder / "named.conf"
        config.write_text(
            f"""options {{
  directory "{self.folder}";
  listen-on port {self.port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  recursion no;
  dnssec-validation no;
  notify no;
  session-keyfile "{self.folder}/session.key";
}};
controls {{ }};
key "{KEY_NAME}" {{ algorithm {KEY_ALGORITHM}; secret "{KEY}"; }};
zone "{self.zone}" {{
  type primary;
  file "{self.zone_file()}";
  update-policy {{ grant {KEY_NAME} subdomain {self._allowed}. TXT; }};
}};
""",
            encoding="utf-8",
        )
        return [program, "-g", "-c", config, "-n", "1"]


class Knot(_Primary):
    program = "knotd"
    lost = "dynamic updates of Knot DNS"

    def command(self, program: str) -> list[str | Path]:
        self.zone_file()
        (self.folder / "db").mkdir()
        config = self.folder / "knot.conf"
        config.write_text(
            f"""server:
  listen: 127.0.0.1@{self.port}
  rundir: {self.folder}
  udp-workers: 1
  tcp-workers: 2
  background-workers: 1
database:
  storage: {self.folder}/db
  journal-db-max-size: 10M
log:
  - target: stderr
    any: info
key:
  - id: {KEY_NAME}
    algorithm: {KEY_ALGORITHM}
    secret: {KEY}
acl:
  - id: updates
    key: {KEY_NAME}
    action: update
    update-owner: name
    update-owner-match: sub-or-equal
    update-owner-name: [{self._allowed}.]
zone:
  - domain: {self.zone}
    storage: {self.folder}
    file: zone.db
    acl: updates
    zonefile-sync: -1
""",
            encoding="utf-8",
        )
        return [program, "-c", config]
