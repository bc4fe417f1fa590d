"""Rules of a zone's delegation: why we can't get one certificate for all its hosts. Pure.

The first that applies of each name, then what is to be said of both, then what CAA says about wildcards. None of it takes a zone down: its
hosts go on with a certificate each. So these are warnings, and where nobody has begun to delegate, a piece of advice.
"""

from collections.abc import Callable

from router.base.clock import iso
from router.domains.checks.caa import CaaVerdict
from router.domains.checks.pointing import CheckResult
from router.domains.diagnosis.delegation_snapshot import ChallengeName, DelegationState
from router.domains.diagnosis.findings import Action, Finding, Remedy, Severity, an_info, cname, removal
from router.domains.diagnosis.snapshot import DnsSnapshot
from router.domains.lookup import Answer, Outcome, RecordType

_SILENCE = {
    "timeout": "do not answer",
    "servfail": "fail (SERVFAIL)",
    "refused": "refuse to answer (REFUSED)",
    "lame": "are not in charge of that name",
    "unreachable": "can't be reached",
}
_WHY = "so no authority can validate a certificate for the whole zone"


def delegation_findings(snapshot: DnsSnapshot) -> list[Finding]:
    """What is to be said of a zone's delegation; nothing of a domain that has none to give."""
    state = snapshot.delegation
    if state is None:
        return []
    wrong = [finding for one in state.names if (finding := _of_name(snapshot, state, one)) is not None]
    missing = [one for one in state.names if _is_missing(state, one)]
    delegated = [one for one in state.names if _is_right(state, one)]
    if missing and (delegated or wrong):
        wrong += [_partial(snapshot, state, one, delegated) for one in missing]
    elif missing:
        return [_advice(snapshot, state)]
    return wrong + (_caa_findings(snapshot, state) if delegated else [])


def _is_right(state: DelegationState, one: ChallengeName) -> bool:
    return bool(one.aliases) and one.aliases[-1] == state.wanted.target and len(one.held[RecordType.CNAME]) == 1


def _is_missing(state: DelegationState, one: ChallengeName) -> bool:
    """Whether the name has nothing of its own, and nobody has tried to give it something."""
    empty = one.by_wildcard or not any(one.held.values())
    return empty and one.unknown is None and state.wanted.target not in one.doubled


def _of_name(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName) -> Finding | None:
    if _is_right(state, one) or _is_missing(state, one):
        return None
    if one.unknown is not None:
        return _unknown(snapshot, state, one, one.unknown)
    if one.by_wildcard or not any(one.held.values()):
        return _doubled(snapshot, state, one)
    return next(filter(None, (rule(snapshot, state, one) for rule in _NAME_RULES)), None)


def _unknown(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName, answer: Answer) -> Finding | None:
    """Where the servers say nothing of the zone's other names either, it is said there."""
    if all(found.pointing.result is CheckResult.UNKNOWN for found in snapshot.states):
        return None
    if answer.outcome is Outcome.PROPAGATING:
        return _warning(
            "delegation_servers_differ",
            f"The name servers of {one.aliases[-1] if one.aliases else one.name} don't agree about it. A change takes a while to reach all "
            "of them; where it lasts for hours, ask the DNS provider.",
        )
    what = _SILENCE.get(answer.reason or "", f"give no usable answer ({answer.reason})")
    if one.aliases:
        return _warning(
            "delegation_servers_silent",
            f"{one.name} leads to {one.aliases[-1]}, whose name servers {what}, {_WHY}. Change its CNAME to {state.wanted.target}, which "
            "needs no other name between.",
            _change(snapshot, state, one),
        )
    return _warning(
        "delegation_servers_silent",
        f"The name servers of the zone answer for its other names, but {what} for {one.name}, {_WHY}. Look for NS records at "
        "that name or the one above it that lead to servers which do not know it, and ask the DNS provider where there are none.",
    )


def _own_zone(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName) -> Finding | None:
    servers = one.held[RecordType.NS]
    if not servers:
        return None
    return _warning(
        "delegation_shadowed",
        f"{one.name} has name servers of its own ({', '.join(servers)}), which answer in the place of the record that we need, {_WHY}. "
        f"Delete the NS records, and let it be a CNAME to {state.wanted.target}.",
        *(removal(snapshot, one.name, RecordType.NS, server) for server in servers),
        cname(snapshot, one.name, Action.ADD, state.wanted.target),
    )


def _several(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName) -> Finding | None:
    found = one.held[RecordType.CNAME]
    if len(found) < 2:
        return None
    target = state.wanted.target
    there = target in found
    return _warning(
        "delegation_several",
        f"{one.name} has {len(found)} CNAME records ({', '.join(found)}), where DNS allows one: an authority takes any of them. "
        f"{'Keep' if there else 'Put'} the one to {target}{'.' if there else ' in their place.'}",
        *(removal(snapshot, one.name, RecordType.CNAME, value) for value in found if value != target),
        *(() if there else (cname(snapshot, one.name, Action.ADD, target),)),
    )


def _of_another(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName) -> Finding | None:
    """Another token of ours: what an earlier owner of the zone has left behind, or was copied from another zone."""
    end = one.aliases[-1] if one.aliases else ""
    if not end.endswith(f".{state.wanted.acme_zone}"):
        return None
    return _warning(
        "delegation_of_another",
        f"{one.name} leads to {end}, which belongs to another zone or to an earlier owner of this one, and opens nothing. Change its "
        f"CNAME to {state.wanted.target}.",
        _change(snapshot, state, one),
    )


def _without_dot(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName) -> Finding | None:
    if f"{state.wanted.target}.{snapshot.zone}" not in one.held[RecordType.CNAME]:
        return None
    return _warning(
        "delegation_target_doubled",
        f"{one.name} leads to {one.held[RecordType.CNAME][0]}: the DNS provider adds {snapshot.zone} to a value without a dot at its "
        f"end. Enter the value as {state.wanted.target}. with the dot.",
        _change(snapshot, state, one),
    )


def _elsewhere(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName) -> Finding | None:
    if not one.aliases:
        return None
    return _warning(
        "delegation_elsewhere",
        f"{one.name} leads to {' → '.join(one.aliases)}, which is not ours, {_WHY}. Change its CNAME to {state.wanted.target}; who uses "
        "the present one to get certificates for this zone can't any more then.",
        _change(snapshot, state, one),
    )


def _other_records(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName) -> Finding:
    kinds = [kind for kind, values in one.held.items() if values]
    return _warning(
        "delegation_shadowed",
        f"{one.name} has records of its own ({', '.join(kinds)}), beside which no CNAME can be, {_WHY}. Delete them, and add a CNAME "
        f"to {state.wanted.target}.",
        *(removal(snapshot, one.name, kind, value) for kind in kinds for value in one.held[kind]),
        cname(snapshot, one.name, Action.ADD, state.wanted.target),
    )


def _doubled(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName) -> Finding:
    return _warning(
        "delegation_doubled",
        f"The record is at {one.doubled_name}: the DNS provider adds {snapshot.zone} to whatever is typed. Enter its name as "
        f"{snapshot.label(one.name)}.",
        *(removal(snapshot, one.doubled_name, RecordType.CNAME, value) for value in one.doubled),
        cname(snapshot, one.name, Action.ADD, state.wanted.target),
    )


_NAME_RULES: tuple[Callable[[DnsSnapshot, DelegationState, ChallengeName], Finding | None], ...] = (
    _own_zone,
    _several,
    _of_another,
    _without_dot,
    _elsewhere,
    _other_records,
)


def _partial(
    snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName, delegated: list[ChallengeName]
) -> Finding:
    """An authority validates each of the certificate's names, so one delegation alone is worth nothing."""
    other = f"{delegated[0].name} is delegated, but " if delegated else ""
    wildcard = " but what a wildcard gives it" if one.by_wildcard else ""
    return _warning(
        "delegation_partial",
        f"{other}{one.name} has no record{wildcard}, and the zone's certificate needs both. Add a CNAME to {state.wanted.target}.",
        cname(snapshot, one.name, Action.ADD, state.wanted.target),
    )


def _advice(snapshot: DnsSnapshot, state: DelegationState) -> Finding:
    name, names = snapshot.subject.name, " and ".join(one.name for one in state.names)
    if (ends := state.wanted.held_until) is not None:
        return _warning(
            "delegation_missing",
            f"All hosts of {name} have one certificate until {iso(ends)}, which can't be renewed any more. Put the CNAMEs for {names} to "
            f"{state.wanted.target} back; without them each host gets a certificate of its own from then on.",
            *(cname(snapshot, one.name, Action.ADD, state.wanted.target) for one in state.names),
        )
    advice = an_info(
        "delegation_missing",
        f"Each host of {name} gets a certificate of its own, when it is first visited. With CNAMEs for {names} to "
        f"{state.wanted.target}, all of them have one certificate, before anybody visits.",
    )
    records = tuple(cname(snapshot, one.name, Action.ADD, state.wanted.target) for one in state.names)
    return Finding(code=advice.code, severity=advice.severity, message=advice.message, records=records)


def _caa_findings(snapshot: DnsSnapshot, state: DelegationState) -> list[Finding]:
    """CAA that forbids wildcards (RFC 8659 §4.3): by `issuewild`, or by `issue` where there is none."""
    said = {(one.at, one.records) for one in snapshot.caa if one.verdict is CaaVerdict.FORBIDDEN}
    found = []
    for caa in state.caa:
        # What forbids every certificate has been said already.
        if caa.verdict is not CaaVerdict.FORBIDDEN or (caa.at, caa.records) in said:
            continue
        at, advice = caa.at or snapshot.subject.name, caa.advice or ""
        record = Remedy(action=Action.ADD, type=RecordType.CAA, name=at, host=snapshot.label(at), value=caa.add or "")
        message = f"{advice[:1].upper()}{advice[1:]}. {_meanwhile(snapshot.subject.name, state)}"
        found.append(_warning("caa_forbids_wildcard", message, record))
    return found


def _meanwhile(name: str, state: DelegationState) -> str:
    """What the zone's hosts have while no certificate can be ordered for all of them."""
    ends = state.wanted.held_until
    if ends is None:
        return f"Until then each host of {name} gets a certificate of its own."
    return (
        f"All hosts of {name} have one certificate until {iso(ends)}, which can't be renewed without that record; from then on each "
        "gets one of its own."
    )


def _change(snapshot: DnsSnapshot, state: DelegationState, one: ChallengeName) -> Remedy:
    return cname(snapshot, one.name, Action.CHANGE, state.wanted.target)


def _warning(code: str, message: str, *records: Remedy) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message, records=records)
