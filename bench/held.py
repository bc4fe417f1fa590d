"""Certificates that the router holds: what they cost in memory, how soon Caddy gets one, and what that costs a handshake.

    python -m bench.held                 10,000 zones: the memory and the start of a node with them and without; `/certificate`
                                         a thousand times a second, alone and beside 1,000 requests a second to the proxy and
                                         1,000 asks; handshakes with Caddy, from a file and from the router in turn
    python -m bench.held --quick         a tenth of all that

Fetches are sent at their time whether or not the last ones were answered, as in `bench.ask`. A handshake is a full one, of
a connection of its own, by TLS 1.3 and without a session to resume: what is not resumed is what Caddy fetches for. CPU is of
Caddy and the router together.
"""

import argparse
import asyncio
import secrets
import ssl
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import cycle
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.ask import CONNECTIONS, Tally, ask_at, hello, prepare, questions, visit_at
from bench.measure import cpu_seconds, memory
from router.base.clock import SystemClock
from router.base.ids import new_id
from router.base.secret_box import SecretBox
from router.certificates.delegation import wildcard_names
from router.certificates.held import HeldCertificate, Origin, key_purpose
from router.gate.held_table import HOT
from router.store import Store
from tests.support.backends import Backend
from tests.support.caddy import Caddy
from tests.support.router import Router
from tests.support.waiting import eventually

MEMORY_GOAL = 60.0  # MiB for 10,000 zones
GOAL = 0.001  # seconds, the 99th percentile of a fetch
_PART = 500  # rows of one transaction
_PADDING = 600  # bytes, by which real certificates are longer: policies, timestamps of logs, addresses of their CA
_QUERY = (
    "cipher_suites=1301%2C1302%2C1303%2Cc02b%2Cc02f%2Cc02c%2Cc030%2Ccca9%2Ccca8%2Cc013%2Cc014%2C9c%2C9d%2C2f%2C35&local_ip=127.0.0.1"
    "&server_name={}&signature_schemes=403%2C804%2C401%2C503%2C805%2C501%2C806%2C601"
)
_FIELDS = "Host: 127.0.0.1:8082\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n"


class Maker:
    """Certificates of zones, signed by a CA of its own with one intermediate, sealed as in the store."""

    def __init__(self, key: bytes) -> None:
        self._box = SecretBox([key])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Bench CA")])
        self.now = SystemClock().now()
        self.authority = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))

    def row(self, domain: str) -> HeldCertificate:
        row_id, names = new_id(), wildcard_names(domain)
        chain, key = self.pair(names)
        return HeldCertificate(
            id=row_id,
            domain=domain,
            tenant_id=None,
            origin=Origin.MANAGED,
            names=names,
            issuer="Bench CA",
            serial="0a",
            not_before=self.now - timedelta(hours=1),
            not_after=self.now + timedelta(days=90),
            chain=chain,
            sealed_key=self._box.seal(key, purpose=key_purpose(row_id)),
            created_at=self.now,
        )

    def pair(self, names: Sequence[str]) -> tuple[str, str]:
        """Chain and key in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "zone")])
        padding = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), secrets.token_bytes(_PADDING)
        )
        leaf = self._signed(subject, key, x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), padding)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return leaf + self.authority, private.decode()

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> str:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(hours=1))
            .not_valid_after(self.now + timedelta(days=90))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class Connection(asyncio.Protocol):
    """One of Caddy's: fetches out, certificates in, in order."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._pending: list[tuple[float, str]] = []
        self._buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def fetch(self, name: str, at: float) -> None:
        self._pending.append((at, name))
        self.transport.write(f"GET /certificate?{_QUERY.format(name)} HTTP/1.1\r\n{_FIELDS}".encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0] or 0)
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            at, name = self._pending.pop(0)
            found = head.split()[1].decode()
            self._tally.seconds.append(now - at)
            self._tally.answers[found] += 1
            if found != ("204" if name.endswith(".none.example") else "200"):
                self._tally.wrong.append(f"{name}: {found}")

    @property
    def waiting(self) -> int:
        return len(self._pending)


async def fetch_at(port: int, names: Sequence[str], rate: float, seconds: float) -> Tally:
    """So many fetches a second, each at its time."""
    loop, tally = asyncio.get_running_loop(), Tally()
    connections = [
        (await loop.create_connection(lambda: Connection(tally), "127.0.0.1", port))[1] for _ in range(CONNECTIONS)
    ]
    begun, turn = time.perf_counter(), cycle(names)
    for number in range(int(rate * seconds)):
        at = begun + number / rate
        wait = at - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        now = time.perf_counter()
        tally.late.append(now - at)
        connections[number % CONNECTIONS].fetch(next(turn), now)
    await eventually(lambda: not any(one.waiting for one in connections), "every answer has come", 30.0)
    for one in connections:
        one.transport.close()
    return tally


async def fill(database: str, maker: Maker, zones: Sequence[str]) -> None:
    store = await Store.open(database, clock=SystemClock())
    for place in range(0, len(zones), _PART):
        async with store.begin() as tx:
            for zone in zones[place : place + _PART]:
                await tx.held_certificates.put(maker.row(zone))
    await store.close()


async def sizes(router: Router, names: Sequence[str]) -> tuple[float, float]:
    """(MiB of a node that has just started, MiB when each of these has been fetched)."""
    fresh = memory(router.process.pid) / 2**20
    await fetch_at(router.admin_port, names, 2000.0, len(names) / 2000.0)
    return fresh, memory(router.process.pid) / 2**20


async def handshakes(port: int, names: Sequence[str], count: int) -> list[float]:
    """How long each of so many full handshakes takes, in seconds; one after the other."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    found, turn = [], cycle(names)
    for _ in range(count):
        begun = time.perf_counter()
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=next(turn))
        found.append(time.perf_counter() - begun)
        writer.transport.abort()
    return sorted(found)


def compared(folder: Path, maker: Maker, router: Router) -> Caddy:
    """A Caddy that has a certificate for *.file.example from a file, beside what it fetches."""
    chain, key = maker.pair(["*.file.example"])
    (folder / "file.crt").write_text(chain)
    (folder / "file.key").write_text(key)
    (folder / "more").mkdir()
    site = f"https://*.file.example {{\n\ttls {folder}/file.crt {folder}/file.key\n\timport edge\n}}\n"
    (folder / "more" / "file.caddy").write_text(site)
    return Caddy(folder, proxy=router.proxy, ask=router.admin)


async def compare(caddy: Caddy, router: Router, zones: Sequence[str], count: int) -> None:
    """In turn, so that what else the machine does falls on both."""
    ways = {
        "from a file": ["box.file.example"],
        "fetched, hot": [f"box.{zone}" for zone in zones[:100]],
        "fetched, key to be opened": [f"box.{zone}" for zone in zones],
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, float] = dict.fromkeys(ways, 0.0)
    rounds = 5
    for turn in range(rounds + 1):
        for name, hosts in ways.items():
            before = cpu_seconds(caddy.process.pid) + cpu_seconds(router.process.pid)
            found = await handshakes(caddy.port, hosts[turn * count :] or hosts, count)
            if turn:  # the first is to warm up
                times[name] += found
                spent[name] += cpu_seconds(caddy.process.pid) + cpu_seconds(router.process.pid) - before
    for name, found in times.items():
        found.sort()
        p50, p99 = found[len(found) // 2], found[len(found) * 99 // 100]
        cpu = spent[name] / (rounds * count)
        print(f"handshake {name}: p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms; {cpu * 1e6:.0f} µs of CPU each")


async def run(zones: Sequence[str], *, seconds: float, count: int) -> bool:
    key, good = secrets.token_bytes(32), True
    maker = Maker(key)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Backend(hello) as backend:
            database = f"sqlite:///{folder}/router.db"
            hosts = await prepare(database, backend.port)
            router = Router(
                folder,
                access_log="",
                database_url=database,
                secrets_key=key.hex(),
                gate__starts=100,
                gate__in_flight=100,
            )
            await asyncio.to_thread(router.__enter__)
            before = (await sizes(router, ["box.none.example"] * 2000))[1]
            await asyncio.to_thread(router.process.stop)
            await fill(database, maker, zones)
            begun = time.perf_counter()
            await asyncio.to_thread(router.start)
            took = time.perf_counter() - begun
            await eventually(lambda: metric_is(router, len(zones)), "all are there", 60.0)
            there = time.perf_counter() - begun
            try:
                fresh, hot = await sizes(router, [f"box.{zone}" for zone in zones])
                more = hot - before
                print(
                    f"{len(zones)} zones: ready in {took:.1f} s, all read in {there:.1f} s; {before:.0f} MiB without them, {fresh:.0f} with, "
                    f"{hot:.0f} when {HOT} answers are kept: {more:.0f} MiB more"
                )
                if more > MEMORY_GOAL:
                    good = False
                    print(f"  MISSED: wanted {MEMORY_GOAL:.0f} MiB")
                names = [
                    name
                    for zone in zones[: HOT * 2]
                    for name in (f"box.{zone}", f"3000-box.sandbox.{zone}", f"{zone}.none.example")
                ]
                alone = await fetch_at(router.admin_port, names, 1000.0, seconds)
                print(f"/certificate alone: {alone}")
                stop, boxes = asyncio.Event(), [host for host in hosts if host.startswith("box")]
                visits = asyncio.get_running_loop().create_task(visit_at(router.proxy_port, boxes * 2, 1000.0, stop))
                asks = asyncio.get_running_loop().create_task(
                    ask_at(router.admin_port, questions(hosts), 500.0, seconds)
                )
                beside = await fetch_at(router.admin_port, names, 1000.0, seconds)
                asked = await asks
                stop.set()
                print(f"/certificate beside {await visits / seconds:.0f} requests and 500 asks a second: {beside}")
                print(f"  those asks: {asked}")
                for word, tally in (("alone", alone), ("beside", beside)):
                    if tally.wrong or tally.p99 > GOAL:
                        good = False
                        print(f"  MISSED {word}: p99 {tally.p99 * 1e3:.2f} ms, wrong {tally.wrong[:5]}")
                caddy = compared(folder, maker, router)
                with await asyncio.to_thread(caddy.__enter__):
                    await compare(caddy, router, zones, count)
            finally:
                await asyncio.to_thread(router.__exit__, None, None, None)
    return good


def metric_is(router: Router, count: int) -> bool:
    text = router.get_admin("/metrics")[2].decode()
    return f'miosa_router_held_certificates{{origin="managed"}} {float(count)}' in text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    number, seconds, count = (1000, 3.0, 100) if given.quick else (10_000, 20.0, 500)
    zones = [f"previews.customer{place}.org" for place in range(number)]
    raise SystemExit(0 if asyncio.run(run(zones, seconds=seconds, count=count)) else 1)


if __name__ == "__main__":
    main()
