"""Whether authorities find the challenges of `acme_zone`: it is delegated to us, our name server is reached from outside by UDP
and TCP, or the operator's own takes our updates."""

import asyncio
import secrets
import socket
from collections.abc import Mapping, Sequence

from router.certificates.challenges import ChallengeError
from router.cli.checks.finding import Finding, Report, error, unknown, warning
from router.cli.checks.known import Known
from router.cli.running_node import dialled
from router.dns import DnsLookup
from router.dns.delegation import Delegation
from router.dns.update import DnsUpdates
from router.domains.lookup import Answer, Outcome, Question, RecordType
from router.node.services import open_lookup
from router.node.sockets import ListenError, listen_dns
from router.responder import PROBE, PROBE_TCP, PROBE_TEXT
from router.settings import Acme, DnsUpdate, Settings, SettingsError

_LOOKUP = 4.0  # seconds
_UPDATE = 6.0  # seconds for the primary and its secondaries
_WHY = "so authorities don't find the challenges of zones, and give no certificate for a whole zone"
_WHY_UNKNOWN = "so it is not known whether authorities find the challenges of zones"
_PAGE = "docs/acme-zone.md"


async def check(known: Known) -> Report:
    try:
        acme = known.settings.acme()
    except SettingsError as refused:
        words = f"the settings of `acme_zone` can't be used ({refused})"
        return Report([error("acme_settings", words, "so a node does not start", "correct them")])
    if acme is None:
        return Report(seen="off: `acme_zone` is not set")
    doubts = _identities(known.settings)
    async with open_lookup(known.settings, known.clock) as lookup:
        if acme.update is not None:
            found = [*doubts, *await _update(known, acme, acme.update, lookup)]
            return Report(found, f"{acme.zone} takes updates, and is answered")
        until = known.clock.monotonic() + _LOOKUP
        (here, delegation) = await asyncio.gather(_listens(known), lookup.delegation(acme.zone, until))
        findings = [*doubts, *here, *_delegated(acme, delegation)]
        if delegation.servers:
            findings += await _reached(known, acme, lookup)
    return Report(findings, f"{acme.zone} is delegated to us, and answered by UDP and TCP")


def _identities(settings: Settings) -> Sequence[Finding]:
    doubt = settings.caa_doubt()
    if doubt is None:
        return []
    then = f"put that authority's name in CAA records into `ca.identities`, first ({_PAGE})"
    return [
        warning("acme_ca_identities", doubt, "so orders fail for zones with CAA records that look right here", then)
    ]


# Updates of the operator's own name server.


async def _update(known: Known, acme: Acme, primary: DnsUpdate, lookup: DnsLookup) -> Sequence[Finding]:
    """Try one with a name that is no zone's."""
    updates = DnsUpdates(acme.zone, primary, lookup, known.clock, within=_UPDATE)
    token, value = f"doctor-{secrets.token_hex(12)}", "a test of `miosa-router doctor`"
    try:
        await updates.publish(token, [value])
        await updates.withdraw(token, [value])
    except ChallengeError as refused:
        words = refused.detail.rstrip(".")
        return [error("acme_update_failed", words, _WHY, f"do as it says, and run `doctor` again ({_PAGE})")]
    return []


# A name server of ours.


async def _listens(known: Known) -> Sequence[Finding]:
    """Whether this node answers DNS, or could."""
    bind = known.settings.acme_dns_bind
    if bind is None or "admin" not in known.settings.roles:
        return []
    refused = "nothing answers there"
    if not known.runs:
        try:
            for opened in await asyncio.to_thread(listen_dns, bind):
                opened.close()
        except ListenError as failure:
            refused = str(failure)
        else:
            return []
    address, port = dialled(bind)
    if await _answers(known, address, port):
        return []
    then = (
        "see the node's log, and restart it if the setting has changed since its start"
        if known.runs
        else (f"give it port {port} by miosa-router-dns.socket, or end the program that has it (`ss -lnp` names it)")
    )
    return [
        error("dns_not_listening", f"this node does not answer DNS at {bind} (`acme_dns_bind`: {refused})", _WHY, then)
    ]


async def _answers(known: Known, address: str, port: int) -> bool:
    """Whether what answers there by UDP is our program."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address, port, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    host = str(found[0][4][0])
    lookup = DnsLookup([f"[{host}]:{port}" if ":" in host else f"{host}:{port}"], known.clock)
    try:
        answer = await _probe(known, lookup, f"{PROBE}.{known.settings.acme_zone}")
    finally:
        await lookup.close()
    return answer.values == (PROBE_TEXT,)


def _delegated(acme: Acme, found: Delegation) -> Sequence[Finding]:
    """What the parent zone says, or a resolver where that is all that may be asked."""
    zone, names = f"{acme.zone} (`acme_zone`)", set(acme.names)
    if found.reason is not None:
        then = "run `doctor` again when DNS works from here"
        return [
            unknown(
                "acme_zone_unknown",
                f"to whom {zone} is delegated could not be found out ({found.reason})",
                _WHY_UNKNOWN,
                then,
            )
        ]
    wanted = f"add {_records(acme)} to its parent zone ({_PAGE})"
    if not found.servers:
        return [error("acme_zone_not_delegated", f"{zone} is delegated to no name server", _WHY, wanted)]
    findings = []
    strangers, missing = sorted(found.servers.keys() - names), sorted(names - found.servers.keys())
    if strangers:
        what = f"{zone} is delegated to {', '.join(strangers)}, which `acme_dns_names` does not have"
        why = "so authorities ask servers that don't have the challenges"
        findings.append(
            error("acme_zone_elsewhere", what, why, f"take those NS records out of its parent zone, and {wanted}")
        )
    if missing:
        what = f"{zone} is not delegated to {', '.join(missing)} (`acme_dns_names`)"
        why = "so nothing answers when the others are away"
        findings.append(warning("acme_zone_servers_missing", what, why, wanted))
    return [*findings, *(_glue(acme, found.servers) if found.of_parent else ())]


def _glue(acme: Acme, told: Mapping[str, tuple[str, ...]]) -> Sequence[Finding]:
    """The addresses of name servers in the zone itself, which only the parent zone can tell."""
    findings = []
    for name, addresses in acme.addresses.items():
        if name not in told or set(told[name]) & {str(address) for address in addresses}:
            continue
        has = f"the address {', '.join(told[name])}" if told[name] else "no address"
        what = f"the parent zone has {has} beside the NS record to {name}"
        findings.append(
            error("acme_zone_glue", what, "so nobody finds that name server", f"add {_records(acme)} there")
        )
    return findings


def _records(acme: Acme) -> str:
    """What the parent zone has to have."""
    servers = [f"`{acme.zone}. NS {name}.`" for name in acme.names]
    glue = [
        f"`{name}. {'A' if one.version == 4 else 'AAAA'} {one}`" for name, has in acme.addresses.items() for one in has
    ]
    return ", ".join([*servers, *glue])


async def _reached(known: Known, acme: Acme, lookup: DnsLookup) -> Sequence[Finding]:
    """Ask as authorities do, through the resolvers that are configured or at the zone's servers."""
    udp, tcp = await asyncio.gather(*(_probe(known, lookup, f"{probe}.{acme.zone}") for probe in (PROBE, PROBE_TCP)))
    if udp.values != (PROBE_TEXT,) or udp.outcome is not Outcome.FOUND:
        return [_unreached(acme, udp, "UDP")]
    if tcp.values != (PROBE_TEXT,) or tcp.outcome is not Outcome.FOUND:
        return [_unreached(acme, tcp, "TCP")]
    return []


def _unreached(acme: Acme, answer: Answer, protocol: str) -> Finding:
    if answer.outcome.definitive:
        what = f"what answers for {acme.zone} (`acme_zone`) by {protocol} is not this program"
        then = "see where its NS records lead, and that the nodes there run with this `acme_zone`"
        return error("acme_zone_other_server", what, _WHY, then)
    silent = [one.server for one in answer.servers if one.values != (PROBE_TEXT,)]
    who = f"{', '.join(silent)} does" if silent else "its name servers do"
    what = f"{who} not answer for {acme.zone} (`acme_zone`) by {protocol} ({answer.reason or 'others do'})"
    then = f"let port 53 of {protocol} through to the nodes that have the role admin"
    return error(f"acme_zone_no_{protocol.lower()}", what, _WHY, then)


async def _probe(known: Known, lookup: DnsLookup, name: str) -> Answer:
    until = known.clock.monotonic() + _LOOKUP
    (answer,) = await lookup.ask([Question(name, RecordType.TXT)], until, fresh=True)
    return answer
