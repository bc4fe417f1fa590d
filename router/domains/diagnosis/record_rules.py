"""Rules of each record: why a name does not lead to us, or what is wrong with one that does. The first that applies. Pure."""

import ipaddress
from collections.abc import Callable

from router.domains.checks.cdn import network_of
from router.domains.checks.judgement import may_be_proxied
from router.domains.checks.pointing import DIFFERING, CheckResult
from router.domains.checks.proof import Need
from router.domains.diagnosis.cdn_rules import proxied
from router.domains.diagnosis.findings import (
    Action,
    Context,
    Finding,
    Severity,
    addresses_to_add,
    an_error,
    an_info,
    at_top,
    cname,
    not_by_wildcard,
    removal,
    target_of,
    to_add,
    txt,
    unless_right,
    wanted,
)
from router.domains.diagnosis.name_server_rules import unknown_name
from router.domains.diagnosis.snapshot import DnsSnapshot, NameState, own_values
from router.domains.lookup import NOT_AUTHORITATIVE, Answer, Outcome, RecordType, ServerAnswer
from router.domains.required_records import OWNERSHIP

_ADDRESSES = (RecordType.A, RecordType.AAAA)
# Networks that are somebody's own: what a zone's inside view (split horizon) shows.
_INSIDE = tuple(
    map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)


# Rules of a record that leads to us.


def _top_alias(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    if state.alias is None or not snapshot.is_top(state):
        return None
    return Finding(
        code="apex_cname",
        severity=unless_right(state.right),
        message=f"{state.name} is the top of its zone, where a CNAME can't stand beside the SOA and NS records: some "
        f"resolvers lose the zone's mail and name servers. Put {at_top(snapshot)} in its place.",
        records=(
            *(removal(snapshot, state.name, RecordType.CNAME, value) for value in state.values(RecordType.CNAME)),
            *addresses_to_add(snapshot, state.name),
        ),
    )


def _alias_beside_others(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    others = [kind for kind in state.held if kind is not RecordType.CNAME and state.values(kind)]
    if state.alias is None or not others:
        return None
    return Finding(
        code="cname_beside_others",
        severity=Severity.WARNING,
        message=f"{state.name} has a CNAME beside other records ({', '.join(others)}), which DNS forbids: resolvers take "
        "the one or the others. Delete the others.",
        records=tuple(removal(snapshot, state.name, kind, value) for kind in others for value in state.values(kind)),
    )


def _bindings(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    pointing = state.pointing
    if not pointing.bindings:
        return None
    it = "record sends" if len(pointing.bindings) == 1 else "records send"
    return Finding(
        code="https_record_elsewhere",
        severity=unless_right(state.right),
        message=f"The addresses of {pointing.last} are ours, but its HTTPS {it} browsers elsewhere ({', '.join(pointing.bindings)}). "
        f"Delete {'it' if len(pointing.bindings) == 1 else 'them'}.",
        records=tuple(removal(snapshot, pointing.last, RecordType.HTTPS, one) for one in pointing.bindings),
    )


def _not_authoritative(_snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    if state.pointing.remark != NOT_AUTHORITATIVE:
        return None
    return Finding(
        code="not_authoritative",
        severity=Severity.WARNING,
        message=f"The name servers of {state.name} answer, but none says that it is in charge of the name (the AA bit is "
        "missing), and some resolvers do not believe such answers. Ask the DNS provider to mend that.",
    )


RIGHT_RULES: tuple[Callable[[DnsSnapshot, NameState, Context], Finding | None], ...] = (
    _top_alias,
    _alias_beside_others,
    _bindings,
    _not_authoritative,
)


# Rules of a record that does not.


def _name_unknown(_survey: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    pointing = state.pointing
    if pointing.result is not CheckResult.UNKNOWN:
        return None
    return unknown_name(Answer(Outcome.UNKNOWN, reason=pointing.reason, errors=pointing.errors), state.name)


def _servers_differ(_survey: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    pointing = state.pointing
    if pointing.reason != DIFFERING:
        return None
    views = ", ".join(_view(view) for view in pointing.servers)
    return Finding(
        code="servers_differ",
        severity=Severity.WARNING,
        message=f"The name servers of {state.name} don't agree: {views}. A change takes a while to reach all of them; "
        "where it lasts for hours, ask the DNS provider.",
    )


def _view(view: ServerAnswer) -> str:
    said = ", ".join(view.values) or view.reason or "nothing"
    return f"{view.server} says {said}"


def _from_wildcard(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    """A wildcard gives the name what it has, such as a parking page's address. Nothing at the name itself can be changed."""
    beside = next(iter(snapshot.beside), None)
    if beside is None or not beside.observed or set(beside.observed) != set(state.pointing.observed):
        return None
    return an_error(
        "wildcard_elsewhere",
        f"{state.name} leads to {', '.join(state.pointing.observed)}, as every name beside it does by a wildcard, and not to us "
        f"alone. Add a CNAME of its own to {target_of(snapshot)}.",
        cname(snapshot, state.name, Action.ADD),
    )


def _below_dname(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    """Below a DNAME no other records can be (RFC 6672 §2.4)."""
    if snapshot.dname is None:
        return None
    at, to = snapshot.dname
    return an_error(
        "below_dname",
        f"{at} is a DNAME to {to}, so every name below it leads there and {state.name} can have no record of its own. Delete "
        f"the DNAME and add a CNAME for {state.name} to {target_of(snapshot)}.",
        removal(snapshot, at, RecordType.DNAME, to),
        cname(snapshot, state.name, Action.ADD),
    )


def _several_aliases(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    found = state.values(RecordType.CNAME)
    if len(found) < 2:
        return None
    ours = snapshot.subject.best in found or snapshot.subject.target in found
    target = snapshot.subject.target if snapshot.subject.best not in found and ours else snapshot.subject.best
    what = f"Keep the one to {target}." if ours else f"Put one to {target} in their place."
    return an_error(
        "several_cnames",
        f"{state.name} has {len(found)} CNAME records ({', '.join(found)}), where DNS allows one. {what}",
        *(removal(snapshot, state.name, RecordType.CNAME, value) for value in found if value != target),
        *(() if ours else (cname(snapshot, state.name, Action.ADD),)),
    )


def _target_doubled(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    target = snapshot.subject.best
    if state.alias not in (f"{snapshot.subject.target}.{snapshot.zone}", f"{target}.{snapshot.zone}"):
        return None
    return an_error(
        "target_doubled",
        f"{state.name} leads to {state.alias}: the DNS provider adds {snapshot.zone} to a value without a dot at its end. "
        f"Enter the value as {target}. with the dot.",
        *wanted(snapshot, state),
    )


def _behind_cdn(snapshot: DnsSnapshot, state: NameState, context: Context) -> Finding | None:
    network = network_of(state.pointing.observed)
    if network is None or not may_be_proxied(state.pointing):
        return None
    hidden = f"{state.name} is proxied by {network}, which hides where it leads."
    proof = None if snapshot.subject.is_zone else snapshot.proof
    if context.check is None and (context.routes or (proof is not None and proof.given)):
        return an_info(
            "behind_cdn", f"{hidden} That works as long as {network} sends visitors on to {target_of(snapshot)}."
        )
    if proof is None:
        return an_error(
            "behind_cdn",
            f"{hidden} Switch the proxy off for this record (DNS only), and let it be a CNAME to {target_of(snapshot)}.",
            cname(snapshot, state.name, Action.CHANGE),
        )
    if _is_by_wildcard(context) and proof.given:
        return an_error(
            "behind_cdn",
            f"{hidden} Switch the proxy off for this record (DNS only); or let {network} send visitors on to "
            f"{target_of(snapshot)}, delete the TXT record of *.{state.name}, which is no proof because every name there has it, "
            f"and add one at {proof.name} itself that says {proof.token}.",
            *not_by_wildcard(snapshot, proof, state.name),
        )
    return an_error(
        "behind_cdn",
        f"{hidden} Switch the proxy off for this record (DNS only); or let {network} send visitors on to "
        f"{target_of(snapshot)}, and add a TXT record at {proof.name} that says {proof.token}.",
        txt(snapshot, proof.name, proof.token),
    )


def _is_by_wildcard(context: Context) -> bool:
    """Whether the check saw the TXT record, and that a wildcard gives it."""
    records = () if context.check is None else context.check.records
    return any(one.name == OWNERSHIP and one.reason == Need.WILDCARD.value for one in records)


def _stray_addresses(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    ours = {address for addresses in snapshot.addresses.values() for address in addresses}
    stray = [address for address in state.addresses if address not in ours]
    if not stray or len(stray) == len(state.addresses):
        return None
    six = all(":" in address for address in stray)
    return an_error(
        "stray_aaaa" if six else "stray_address",
        f"{state.name} leads to us, and also to {', '.join(stray)}, which is not ours: "
        f"{'visitors with IPv6' if six else 'a part of its visitors'} would go there. Delete what is not ours.",
        *(
            removal(snapshot, state.name, kind, value)
            for kind in _ADDRESSES
            for value in state.values(kind)
            if value in stray
        ),
    )


def _doubled_label(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    if not state.doubled or state.pointing.result is not CheckResult.MISSING:
        return None
    host = snapshot.label(state.name)
    return an_error(
        "doubled_name",
        f"The record is at {state.doubled_name}: the DNS provider adds {snapshot.zone} to whatever is typed. Enter its "
        f"name as {host}.",
        *(removal(snapshot, state.doubled_name, state.doubled_type, value) for value in state.doubled),
        *to_add(snapshot, state),
    )


def _circle(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    if state.pointing.reason not in {"alias_loop", "too_many_aliases"}:
        return None
    way = " → ".join((state.name, *state.pointing.observed))
    what = "lead in a circle" if state.pointing.reason == "alias_loop" else "are too many"
    return an_error(
        "cname_loop",
        f"The CNAME records of {state.name} {what}: {way}. Change the first to {target_of(snapshot)}.",
        *wanted(snapshot, state),
    )


def _wrong_alias(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    if state.alias is None:
        return None
    if state.pointing.reason == "nxdomain":
        why = f"leads to {state.pointing.observed[-1]}, which does not exist"
    else:
        why = f"leads to {state.alias}, which is not ours"
    return an_error(
        "wrong_target", f"{state.name} {why}. Change its CNAME to {target_of(snapshot)}.", *wanted(snapshot, state)
    )


def _is_inside(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return any(address in network for network in _INSIDE)


def _wrong_addresses(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    if state.pointing.result is not CheckResult.WRONG:
        return None
    place = at_top(snapshot) if snapshot.is_top(state) else f"a CNAME to {target_of(snapshot)}"
    kinds = [kind for kind in _ADDRESSES if state.values(kind)]
    what = "which is not ours"
    if state.addresses and all(map(_is_inside, state.addresses)):
        what = "where nobody on the Internet gets: that address is private"
    theirs = f"{' and '.join(kinds)} records" if kinds else "addresses"
    return an_error(
        "wrong_address",
        f"{state.name} leads to {', '.join(state.pointing.observed)}, {what}. Put {place} in the place of its "
        f"{theirs}.",
        *(removal(snapshot, state.name, kind, value) for kind in kinds for value in state.values(kind)),
        *to_add(snapshot, state),
    )


def _wildcard_missing(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    other = next((one for one in snapshot.states if one is not state and one.right), None)
    if other is None:
        return None
    return an_error(
        "wildcard_missing",
        f"{other.name} leads to us, but {state.name} has no record, and neither covers what the other is for. Add a "
        f"CNAME to {target_of(snapshot)}.",
        *wanted(snapshot, state),
    )


def _taken_down(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding | None:
    """A record below the name made it a name of its own, which the wildcard beside it no longer covers."""
    covered = next((one for one in snapshot.beside if one.result is CheckResult.VALID), None)
    if covered is None or state.pointing.result is not CheckResult.MISSING:
        return None
    proof = snapshot.proof
    what = "A record below it"
    if proof is not None and own_values(proof.seen):
        what = f"The TXT record at {proof.name}"
    wildcard = f"*.{covered.name.partition('.')[2]}"
    return an_error(
        "wildcard_hidden",
        f"{what} makes {state.name} a name of its own, which {wildcard} no longer covers, so it has no address any more (RFC "
        f"4592). Add a CNAME for {state.name} to {target_of(snapshot)}.",
        *to_add(snapshot, state),
    )


def _nothing_there(snapshot: DnsSnapshot, state: NameState, _context: Context) -> Finding:
    if snapshot.is_top(state):
        advice = f"It is the top of its zone, where no CNAME can be: add {at_top(snapshot).removesuffix(',')}."
    else:
        advice = f"Add a CNAME to {target_of(snapshot)}."
    return an_error("nothing_there", f"{state.name} has no address yet. {advice}", *to_add(snapshot, state))


WRONG_RULES: tuple[Callable[[DnsSnapshot, NameState, Context], Finding | None], ...] = (
    _name_unknown,
    _servers_differ,
    _from_wildcard,
    _below_dname,
    _top_alias,
    _several_aliases,
    _target_doubled,
    _stray_addresses,
    _bindings,
    proxied,
    _behind_cdn,
    _circle,
    _wrong_alias,
    _doubled_label,
    _wrong_addresses,
    _wildcard_missing,
    _taken_down,
    _nothing_there,
)


def _is_hidden(snapshot: DnsSnapshot, host: NameState) -> bool:
    """Whether a name has records of its own where a wildcard that is right should give it its."""
    above = f"*.{host.name.partition('.')[2]}"
    covered = any(state.right and state.name == above for state in snapshot.states)
    return covered and not host.right and host.pointing.result.definitive


def wildcard_hidden(snapshot: DnsSnapshot, host: NameState) -> Finding | None:
    """What hides a wildcard that is right from a host that it should cover."""
    if not _is_hidden(snapshot, host):
        return None
    above = f"*.{host.name.partition('.')[2]}"
    kinds = [kind for kind in host.held if host.values(kind)]
    if kinds:
        message = f"{host.name} has records of its own ({', '.join(kinds)}), which hide {above} from it. Delete them."
    else:
        message = f"Names below {host.name} have records, which hides {above} from it. Add a CNAME to {target_of(snapshot)} for it."
    deletions = [removal(snapshot, host.name, kind, value) for kind in kinds for value in host.values(kind)]
    return Finding(
        code="wildcard_hidden",
        severity=Severity.ERROR,
        message=message,
        records=tuple(deletions) or wanted(snapshot, host),
    )
