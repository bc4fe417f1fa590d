"""Settings that are fine each by itself, and do not fit together, or do not fit what is stored."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence

from router.cli.checks.finding import Finding, Report, error, unknown, warning
from router.cli.checks.known import Known
from router.cli.running_node import dialled
from router.settings import Settings, SettingsError, split_bind

_PORTS = {"https": 443, "http": 80}


async def check(known: Known) -> Report:
    rules: Sequence[Callable[[Known], Finding | None]] = (_secrets, _wakes, _public_port, _admin_public, _no_token)
    found = [await _trusted(known), *(rule(known) for rule in rules)]
    return Report([one for one in found if one is not None], "fit together")


async def _trusted(known: Known) -> Finding | None:
    """Caddy's requests come from its own address, or from loopback where the proxy listener is bound to that."""
    settings = known.settings
    if settings.gate.caddy is None or "proxy" not in settings.roles:
        return None
    host, _ = dialled(settings.gate.caddy)
    listens, _ = split_bind(settings.proxy_bind)
    addresses = await _addresses(listens if _is_loopback(listens) else host)
    if not addresses:
        return unknown(
            "caddy_address",
            f"{host} (`gate.caddy`) has no address here",
            "so it is not known whether `trusted_proxies` has Caddy's",
            "correct `gate.caddy`, or name Caddy by its address",
        )
    lacking = [one for one in addresses if not any(one in network for network in settings.trusted_proxies)]
    if not lacking:
        return None
    return error(
        "caddy_not_trusted",
        f"`trusted_proxies` lacks {', '.join(map(str, lacking))}, from where Caddy connects",
        "so all visitors look like one, by plain HTTP, and share its limits",
        "add that network to `trusted_proxies`",
    )


async def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _secrets(known: Known) -> Finding | None:
    try:
        keys = known.settings.secret_keys()
    except SettingsError as problem:
        return error(
            "secrets_key_unusable",
            f"the key of secrets can't be used ({problem})",
            "so a node does not start, or nobody can sign in",
            "correct `secrets_key` or `secrets_key_file`",
        )
    rows = None if isinstance(known.store, str) else known.store.rows
    if keys or rows is None or rows.logins == 0:
        return None
    return error(
        "secrets_key_missing",
        f"neither `secrets_key` nor `secrets_key_file` is set, and tenants' logins are stored ({rows.logins})",
        "so nobody can sign in by them",
        "set the key that the other nodes have (RUNBOOK, The key of secrets)",
    )


def _wakes(known: Known) -> Finding | None:
    rows = None if isinstance(known.store, str) else known.store.rows
    if known.settings.wake.url is not None or rows is None or not rows.wakes_wanted:
        return None
    return warning(
        "wake_url_missing",
        "`wake.url` is not set, and there are tenants or resources whose `wake` is not off",
        "so their visitors are told that it sleeps, and nothing wakes it",
        "set `wake.url` and `wake.secret` (docs/wake.md)",
    )


def _public_port(known: Known) -> Finding | None:
    settings = known.settings
    if settings.gate.caddy is None or settings.public_scheme != "https":
        return None
    _, listens = split_bind(settings.gate.caddy)
    public = settings.public_port or _PORTS[settings.public_scheme]
    if public == listens:
        return None
    return warning(
        "public_port",
        f"links that the API makes name port {public} (`public_port`), and Caddy listens on {listens} (`gate.caddy`)",
        "so they lead nowhere unless something in front maps one to the other",
        "set `public_port` to the port that visitors use",
    )


def _admin_public(known: Known) -> Finding | None:
    host, _ = split_bind(known.settings.admin_bind)
    if "admin" not in known.settings.roles or not _is_global(host):
        return None
    return warning(
        "admin_public",
        f"`admin_bind` is {known.settings.admin_bind}, a public address",
        "so anybody may read where hosts lead, and spend certificates by ask",
        "bind it to loopback or to a private network",
    )


def _is_global(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _no_token(known: Known) -> Finding | None:
    settings: Settings = known.settings
    if "api" not in settings.roles or settings.internal_token is not None:
        return None
    return warning(
        "no_internal_token",
        "`internal_token` is not set",
        "so /internal/v1 is off, and the platform can't say what runs where",
        "set the token that the platform sends, unless another node takes its calls",
    )
