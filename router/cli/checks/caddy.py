"""Caddy in front: it listens, it has the wildcards that the gate counts on, and its ask is answered as it should be."""

import asyncio
import secrets

from router.cli.checks.finding import Finding, Report, error, unknown, warning
from router.cli.checks.known import Known
from router.cli.running_node import dialled, get
from router.gate.handshake import NoCertificateError, TlsHandshake, UnreachableError
from router.settings import Settings

_HANDSHAKE = 4.0  # seconds
_REFUSED = "192.0.2.1"  # an address (RFC 5737): never a name that may have a certificate
_PATH = "/ask"


def plain_http(settings: Settings) -> str | None:
    """Caddy's listener for plain HTTP, HOST:PORT; None where the settings do not say where Caddy is."""
    if settings.gate.caddy is None:
        return None
    host, _ = dialled(settings.gate.caddy)
    return f"[{host}]:{settings.checks.http_port}" if ":" in host else f"{host}:{settings.checks.http_port}"


async def check(known: Known) -> Report:
    caddy = known.settings.gate.caddy
    if caddy is None:
        return Report(
            [
                unknown(
                    "caddy_not_set",
                    "`gate.caddy` is not set",
                    "so this node does not know where Caddy is, can't say whether it runs, and fetches no certificate ahead",
                    "set it to Caddy's https listener, as 127.0.0.1:443",
                )
            ]
        )
    host, port = dialled(caddy)
    try:
        async with asyncio.timeout(_HANDSHAKE):
            _, writer = await asyncio.open_connection(host, port)
        writer.transport.abort()
    except (OSError, TimeoutError) as refused:
        return Report(
            [
                error(
                    "caddy_unreachable",
                    f"nothing accepts connections at {caddy} (`gate.caddy`: {str(refused) or 'no answer in time'})",
                    "so visitors reach nothing, and no certificate is fetched ahead",
                    "start Caddy (`systemctl status caddy`), or correct `gate.caddy`",
                )
            ]
        )
    found = await asyncio.gather(*(_wildcard(caddy, domain) for domain in known.settings.gate.wildcards))
    return Report([one for one in found if one is not None], f"listens at {caddy}")


async def _wildcard(caddy: str, domain: str) -> Finding | None:
    """A name that no resource has: where Caddy has no wildcard, the gate refuses it one of its own, so nothing is spent."""
    name = f"doctor-{secrets.token_hex(8)}.{domain}"
    address, port = dialled(caddy)
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        await TlsHandshake(where, _HANDSHAKE).leaf(name)
    except NoCertificateError as refused:
        return error(
            "wildcard_missing",
            f"Caddy has no certificate for *.{domain} ({refused}), although `gate.wildcards` says so",
            "so names right under it get none at all",
            "install it (deploy/platform.caddy), or take the domain out of `gate.wildcards`",
        )
    except UnreachableError as unreached:
        return unknown(
            "wildcard_unknown",
            f"Caddy did not show a certificate for *.{domain} in time ({unreached})",
            "so it is not known whether it has the wildcard that `gate.wildcards` names",
            "run `doctor` again when Caddy is less busy",
        )
    return None


async def check_ask(known: Known) -> Report:
    settings = known.settings
    if not known.runs:
        return Report(
            [
                unknown(
                    "ask_unknown",
                    f"no node answers at {settings.admin_bind} (`admin_bind`)",
                    "so it is not known whether Caddy's ask is answered as it should be",
                    "start the node and run `doctor` again",
                )
            ]
        )
    findings: list[Finding] = []
    refused = await get(settings.admin_bind, _PATH, {"domain": _REFUSED})
    if refused is None:
        findings.append(
            error(
                "ask_silent",
                f"ask at {settings.admin_bind} does not answer",
                "so Caddy gets no certificate for anybody",
                "look at the node's log and load",
            )
        )
    elif not 400 <= refused.status < 500:
        findings.append(
            error(
                "ask_allows",
                f"ask answers {refused.status} for {_REFUSED}, which is an address and no name",
                "so Caddy may be told to get certificates for anything",
                "see what listens at `admin_bind`",
            )
        )
    name = await _certified(known)
    if name is not None and refused is not None:
        allowed = await get(settings.admin_bind, _PATH, {"domain": name})
        if allowed is None or allowed.status != 200:
            said = (
                "nothing" if allowed is None else f"{allowed.status} {allowed.headers.get('X-Ask-Reason', '')}".strip()
            )
            findings.append(
                warning(
                    "ask_refuses",
                    f"ask answers {said} for {name}, which is served and has a certificate",
                    "so that will not be renewed",
                    f"run `miosa-router explain {name}`",
                )
            )
    seen = "refuses what is no name, with " + ("no answer" if refused is None else str(refused.status))
    tried = "; no domain has a certificate yet that a yes could be tried with" if name is None else f"; allows {name}"
    return Report(findings, seen + tried)


async def _certified(known: Known) -> str | None:
    """A name that is served and has a certificate: asking for it again costs no budget, as the gate itself says."""
    if isinstance(known.store, str) or known.store.rows is None:
        return None
    for host in known.store.rows.certified:
        response = await get(known.settings.admin_bind, "/explain", {"host": host})
        document = None if response is None else response.document
        gate = (document or {}).get("gate") or {}
        if gate.get("reason") == "issued":
            return host
    return None
