"""The platform's names in public DNS: they lead to this machine, or to addresses that answer as a router does."""

import asyncio
import secrets
from collections.abc import Sequence

from router.base.clock import Clock
from router.cli.checks.finding import Finding, Report, error, unknown
from router.cli.checks.known import Known
from router.cli.checks.listeners import is_edge
from router.cli.running_node import get
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from router.node.services import open_lookup
from router.node.sockets import local_addresses
from router.proxy.local_responses import HEALTH
from router.settings import Settings

_LOOKUP = 5.0  # seconds
_MAX_ADDRESSES = 8  # of all names together that are asked whether they are ours
_MAX_SIZE = 64 * 1024  # bytes of a stranger's answer
_MACHINE_ONLY = ("localhost", ".localhost")  # names that lead to this machine without DNS (RFC 6761)


async def check(known: Known) -> Report:
    names = {
        name: setting
        for name, setting in names_of(known.settings).items()
        if not name.endswith(_MACHINE_ONLY[1]) and name != _MACHINE_ONLY[0]
    }
    async with open_lookup(known.settings, known.clock) as lookup:
        found = await asyncio.gather(*(_addresses(lookup, known.clock, name) for name in names))
    addresses = dict(zip(names, found, strict=True))
    distinct = list(dict.fromkeys(one for has in found if not isinstance(has, Answer) for one in has))
    here = {address for bind in ("0.0.0.0", "::") for address, _ in local_addresses((bind, 0))}
    strange = [one for one in distinct if one not in here][:_MAX_ADDRESSES]
    answers = await asyncio.gather(*(_is_ours(one, known.settings) for one in strange))
    verdicts = dict(zip(strange, answers, strict=True))
    findings: list[Finding] = []
    for name, setting in names.items():
        has = addresses[name]
        finding = _unresolved(name, setting, has) if isinstance(has, Answer) else _judged(name, setting, has, verdicts)
        findings += [] if finding is None else [finding]
    return Report(findings, ", ".join(sorted(set(names.values()))) + " lead here" if names else "names of this machine")


def names_of(settings: Settings) -> dict[str, str]:
    """A name that stands for each of the platform's, and the setting that it is of. A label that nobody has is in its
    wildcard only."""
    label = f"doctor-{secrets.token_hex(6)}"
    return {
        f"{label}.{settings.platform_domain}": "platform_domain",
        f"{label}.sandbox.{settings.platform_domain}": "platform_domain",
        f"{label}.{settings.verify_target}": "verify_target",
        f"{label}.{settings.proxy_target}": "proxy_target",
        settings.login_name: "login_host",
    }


async def _addresses(lookup: Lookup, clock: Clock, name: str) -> Sequence[str] | Answer:
    """The addresses of a name, or an answer that says why there are none."""
    questions = [Question(name, kind) for kind in (RecordType.A, RecordType.AAAA)]
    answers = await lookup.ask(questions, clock.monotonic() + _LOOKUP)
    found = [value for answer in answers for value in answer.values if answer.outcome is Outcome.FOUND]
    doubtful = next((answer for answer in answers if not answer.outcome.definitive), answers[0])
    return found or doubtful


def _unresolved(name: str, setting: str, answer: Answer) -> Finding:
    shown = _shown(name)
    if answer.outcome.definitive:
        return error(
            "name_missing",
            f"{shown} (`{setting}`) has no address in DNS",
            "so nobody reaches what is under it",
            f"add A and AAAA records for {shown} that lead to Caddy, or correct `{setting}`",
        )
    return unknown(
        "name_unknown",
        f"DNS gives no certain answer for {shown} (`{setting}`: {answer.reason or answer.outcome.value})",
        "so it is not known where its visitors go",
        "see whether this machine may ask name servers (`dns_servers`), and run `doctor` again",
    )


def _judged(name: str, setting: str, addresses: Sequence[str], verdicts: dict[str, bool | None]) -> Finding | None:
    wrong = [one for one in addresses if verdicts.get(one, True) is False]
    silent = [one for one in addresses if verdicts.get(one, True) is None]
    shown = _shown(name)
    if wrong:
        return error(
            "name_elsewhere",
            f"{shown} (`{setting}`) leads to {', '.join(wrong)}, where something answers that is no router of ours",
            "so its visitors get somebody else's site",
            "change the records to Caddy's address",
        )
    if silent:
        return unknown(
            "name_silent",
            f"{shown} (`{setting}`) leads to {', '.join(silent)}, which is not this machine and does not answer from here",
            "so it is not known whether visitors reach us there",
            "try it from outside: `curl -i -H 'Host: _health' http://ADDRESS/livez`, and see that ports 80 and 443 lead to Caddy",
        )
    return None


async def _is_ours(address: str, settings: Settings) -> bool | None:
    """Whether a router answers at an address, through Caddy's plain HTTP; None where nothing does."""
    port = settings.checks.http_port
    bind = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    response = await get(bind, "/livez", headers={"Host": HEALTH.decode()}, limit=_MAX_SIZE)
    return None if response is None else is_edge(response)


def _shown(name: str) -> str:
    return f"*.{name.partition('.')[2]}" if name.startswith("doctor-") else name
