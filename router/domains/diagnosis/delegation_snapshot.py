"""What DNS says of a zone's delegation: the two names by which we get one certificate for all its hosts. All that can be asked at
once is.

    _acme-challenge.<zone>          CNAME  <token>.<acme_zone>
    _acme-challenge.sandbox.<zone>  CNAME  <token>.<acme_zone>

A zone has wildcards, which answer for these names as long as they have no record of their own: what a random name beside one has
too is no delegation, and nothing that is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from router.domains.checks.caa import CaaFinding, check_caa
from router.domains.checks.evidence import random_label
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from router.domains.names import WILDCARDS
from router.settings import Ca

VALIDATION = "dns-01"  # how an authority validates wildcards
_MAX_ALIASES = 8
_HELD = (RecordType.CNAME, RecordType.TXT, RecordType.NS, RecordType.A, RecordType.AAAA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated:
    """What a zone's owner has to delegate: both `names` to `target`, which is the zone's own below `acme_zone`. `held_until` is when
    the certificate ends that all its hosts have now; None where there is none."""

    names: tuple[str, ...]
    target: str
    acme_zone: str
    held_until: datetime | None = None


class Delegations(Protocol):
    """Knows what the owners of zones may delegate."""

    async def delegated(self, domain: str, tenant_id: str) -> Delegated | None:
        """What this tenant's zone has to delegate, and where to; None where it has none. Raises StoreUnavailableError."""

    async def check_soon(self, domain: str, tenant_id: str) -> None:
        """Its records may be there now: let the next check be due, unless they were seen already. Raises
        StoreUnavailableError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeName:
    """One of the names: what it holds of its own, where its alias leads in the end, and what a random name beside it has by a
    wildcard. `doubled` is the alias that stands at the name with the zone's behind it. `unknown` is why it is not known
    what the name, or the last of its aliases, leads to."""

    name: str
    held: Mapping[RecordType, tuple[str, ...]]
    aliases: tuple[str, ...]
    by_wildcard: bool
    doubled_name: str
    doubled: tuple[str, ...]
    unknown: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegationState:
    """What was seen. `caa` is what CAA says about the two wildcards."""

    wanted: Delegated
    names: tuple[ChallengeName, ...]
    caa: tuple[CaaFinding, ...]


async def look_at_delegation(
    lookup: Lookup, wanted: Delegated, domain: str, zone: str, ca: Ca, until: float
) -> DelegationState:
    """Ask DNS. `zone` is the one that `domain` lies in, at its provider. `until` is an instant of the monotonic clock."""
    beside = {name: f"{random_label()}.{name.partition('.')[2]}" for name in wanted.names}
    asked = [Question(name, kind) for name in (*wanted.names, *beside.values()) for kind in _HELD]
    asked += [Question(f"{name}.{zone}", RecordType.CNAME) for name in wanted.names]
    seen = dict(zip(asked, await lookup.ask(asked, until, fresh=True), strict=True))
    names = []
    for name in wanted.names:
        alias = seen[Question(name, RecordType.CNAME)]
        held = {kind: _own(seen[Question(name, kind)]) for kind in _HELD}
        other = {kind: _own(seen[Question(beside[name], kind)]) for kind in _HELD}
        aliases, doubt = await _follow(lookup, held[RecordType.CNAME], wanted.target, until)
        names.append(
            ChallengeName(
                name=name,
                held=held,
                aliases=aliases,
                by_wildcard=any(held.values()) and held == other and wanted.target not in held[RecordType.CNAME],
                doubled_name=f"{name}.{zone}",
                doubled=_own(seen[Question(f"{name}.{zone}", RecordType.CNAME)]),
                unknown=doubt if alias.outcome.definitive else alias,
            )
        )
    for_wildcards = _by_dns(ca)
    zones = (f"{wildcard}.{domain}".removeprefix("*.") for wildcard in WILDCARDS)
    caa = [await check_caa(lookup, one, for_wildcards, until, wildcard=True, fresh=True) for one in zones]
    return DelegationState(wanted=wanted, names=tuple(names), caa=tuple(dict.fromkeys(caa)))


def _by_dns(ca: Ca) -> Ca:
    """The authority as it issues wildcards: to an account of ours, which CAA may name, and which is not Caddy's."""
    return ca.model_copy(update={"methods": (VALIDATION,), "account_uri": None})


def _own(answer: Answer) -> tuple[str, ...]:
    return answer.values if answer.outcome is Outcome.FOUND and not answer.aliases else ()


async def _follow(
    lookup: Lookup, first: tuple[str, ...], target: str, until: float
) -> tuple[tuple[str, ...], Answer | None]:
    """The aliases from the first one on, up to the target, and why it is not known where the last one leads: an authority
    follows them too."""
    passed = list(first[:1])
    while passed and passed[-1] != target and len(passed) < _MAX_ALIASES:
        (answer,) = await lookup.ask([Question(passed[-1], RecordType.CNAME)], until, fresh=True)
        if not answer.outcome.definitive:
            return tuple(passed), answer
        if not _own(answer) or answer.values[0] in passed:
            break
        passed.append(answer.values[0])
    return tuple(passed), None
