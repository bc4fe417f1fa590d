"""Rules of the zone: does the domain exist, and do its name servers answer. The first that applies. Pure."""

from collections.abc import Callable

from router.domains.diagnosis.findings import (
    Finding,
    an_error,
    to_add,
)
from router.domains.diagnosis.snapshot import DnsSnapshot
from router.domains.lookup import Answer, Outcome

_SILENCE = {
    "timeout": "they did not answer in time",
    "servfail": "they failed (SERVFAIL)",
    "refused": "they refused (REFUSED)",
    "unreachable": "they can't be reached",
    "no_servers": "there are none to ask",
    "no_address": "they have no known addresses",
    "not_global": "their addresses are not on the Internet",
}


def not_registered(snapshot: DnsSnapshot) -> Finding | None:
    """That nobody has the domain."""
    if snapshot.top.outcome is not Outcome.NXDOMAIN or snapshot.top.aliases:
        return None
    return an_error(
        "domain_not_found",
        f"{snapshot.registered} does not exist in DNS: it is not registered, has expired, or has no name servers at its "
        "registry. Register or renew it, or set its name servers at the registrar.",
        *(record for state in snapshot.states for record in to_add(snapshot, state)),
    )


def _zone_unknown(snapshot: DnsSnapshot) -> Finding | None:
    return unknown_name(snapshot.top, snapshot.registered)


def unknown_name(answer: Answer, name: str) -> Finding | None:
    """Why nothing is known of a name; None where something is."""
    if answer.outcome is not Outcome.UNKNOWN:
        return None
    if answer.reason == "bogus":
        errors = f" ({'; '.join(answer.errors)})" if answer.errors else ""
        return an_error(
            "dnssec_bogus",
            f"{name} is signed with DNSSEC, and its signatures are wrong{errors}: most resolvers refuse to answer for "
            "it. Have the DNS provider sign it anew, or delete its DS record at the registrar.",
        )
    if answer.reason == "lame":
        return an_error(
            "name_servers_lame",
            f"The name servers that the registry has for {name} are not in charge of it. Make the zone at the DNS "
            "provider, or set the provider's name servers at the registrar.",
        )
    why = _SILENCE.get(answer.reason or "", f"what they said is no answer ({answer.reason})")
    return an_error(
        "name_servers_silent",
        f"The name servers of {name} could not be asked: {why}. Nothing changes because of that; try again in a few "
        "minutes, and ask the DNS provider where it lasts.",
    )


NAME_SERVER_RULES: tuple[Callable[[DnsSnapshot], Finding | None], ...] = (not_registered, _zone_unknown)
