"""Rules of the domain: certificate authorities, the proof, its certificate, its state. All that apply. Pure."""

from collections.abc import Callable

from router.base.clock import iso
from router.domains.checks.caa import ACCOUNT, CaaVerdict
from router.domains.checks.challenge import shows, txt_name
from router.domains.checks.proof import Need, why
from router.domains.diagnosis.findings import (
    Action,
    Context,
    Finding,
    Remedy,
    Severity,
    an_error,
    an_info,
    cname,
    not_by_wildcard,
    removal,
    txt,
)
from router.domains.diagnosis.snapshot import DnsSnapshot, Proof, own_values
from router.domains.lookup import RecordType


def caa_findings(snapshot: DnsSnapshot) -> list[Finding]:
    """What keeps our certificate authority from issuing. Where a name is not known its CAA records aren't either."""
    found: list[Finding] = []
    known = all(state.right for state in snapshot.states)
    for caa in snapshot.caa:
        if caa.verdict is CaaVerdict.FORBIDDEN:
            at, advice = caa.at or snapshot.subject.name, caa.advice or ""
            if at != snapshot.registered and not at.endswith(f".{snapshot.registered}"):
                found.append(_caa_of_another(snapshot, at))
                continue
            actions = ((Action.ADD, caa.add), (Action.DELETE, caa.delete))
            records = [
                Remedy(action=action, type=RecordType.CAA, name=at, host=snapshot.label(at), value=value)
                for action, value in actions
                if value is not None
            ]
            found.append(an_error("caa_forbids", f"{advice[:1].upper()}{advice[1:]}.{_lasting(snapshot)}", *records))
        elif known and caa.verdict is CaaVerdict.UNKNOWN and caa.reason != ACCOUNT:
            found.append(
                Finding(
                    code="caa_unknown",
                    severity=Severity.WARNING,
                    message=f"No name server answered for the CAA records at {caa.at} ({caa.reason}), and certificate "
                    "authorities issue nothing without an answer. Ask the DNS provider to let its servers answer for CAA.",
                )
            )
    return found


def _lasting(snapshot: DnsSnapshot) -> str:
    """Until when a zone's hosts have a certificate all the same."""
    ends = None if snapshot.delegation is None else snapshot.delegation.wanted.held_until
    if ends is None:
        return ""
    return f" All hosts of {snapshot.subject.name} have one certificate until {iso(ends)}, which can't be renewed before that is done."


def _caa_of_another(snapshot: DnsSnapshot, at: str) -> Finding:
    """An authority follows aliases (RFC 8659 §3), so the CAA records of what a name leads to hold for the name."""
    name = snapshot.subject.name
    return an_error(
        "caa_forbids",
        f"{name} leads to {at}, whose CAA records let no certificate authority of ours issue, and they hold for {name} as well. "
        f"Let it be a CNAME to {snapshot.subject.best}, with no other name and no proxy between.",
        cname(snapshot, name, Action.CHANGE),
    )


def proof_missing(snapshot: DnsSnapshot, context: Context) -> Finding | None:
    """Why a name that leads to us needs a proof, and which record gives it."""
    proof = snapshot.proof
    needed = context.need is not None
    if proof is None or not (needed or (snapshot.subject.to_prove and not proof.given)):
        return None
    name, host, wrong = proof.name, snapshot.label(proof.name), own_values(proof.seen)
    right = txt(snapshot, name, proof.token)
    if proof.given:
        own = snapshot.subject.name
        above = own.partition(".")[2] if _is_from_wildcard(snapshot) else own
        return an_error(
            "challenge_by_wildcard",
            f"The TXT record at {name} is a wildcard's, as every name beside it has it, and so no proof. Delete that of *.{above} "
            f"and add one at {name} itself that says {proof.token}.",
            *not_by_wildcard(snapshot, proof, above),
        )
    deep = [value for value in own_values(proof.doubled) if shows([value], proof.token)]
    if deep:
        deeper = removal(snapshot, proof.doubled_name, RecordType.TXT, deep[0])
        return an_error(
            "challenge_doubled",
            f"The TXT record is at {proof.doubled_name}: the DNS provider adds {snapshot.zone} to whatever is typed. Enter "
            f"its name as {host}.",
            deeper,
            right,
        )
    if wrong:
        return an_error(
            "challenge_wrong",
            f"The TXT record at {name} says {', '.join(wrong)}, which is not this domain's. Add one that says "
            f"{proof.token}.",
            right,
        )
    if context.need is not None:
        how, records = _proving(snapshot, proof, context.need)
        return an_error(
            context.need.value,
            f"{snapshot.subject.name} leads to us, but needs a proof that it is yours, because {why(context.need)}. {how}.",
            *records,
        )
    return an_error(
        "challenge_missing",
        f"{snapshot.subject.name} needs a proof that it is yours. Add a TXT record at {name} that says {proof.token}.",
        right,
    )


def _proving(snapshot: DnsSnapshot, proof: Proof, need: Need) -> tuple[str, list[Remedy]]:
    """What proves a name that leads to us: the TXT record, or CNAMEs to its own target.

    Where a wildcard answers for it, the TXT record alone would make it a name of its own that the wildcard does not cover
    (RFC 4592 §2.2.2), and nobody would reach it any more."""
    right, own = txt(snapshot, proof.name, proof.token), snapshot.subject.own
    by_txt = f"Add a TXT record at {proof.name} that says {proof.token}"
    if own is None or any(snapshot.is_top(state) for state in snapshot.states):
        return by_txt, [right]
    names = [state.name for state in snapshot.states]
    if need is Need.WILDCARD:
        if not _is_from_wildcard(snapshot):  # the wildcard is on its way, at an alias of its own
            return f"Change its CNAME to {own}", [cname(snapshot, name, Action.CHANGE, own) for name in names]
        how = f"Add {'a CNAME' if len(names) == 1 else 'CNAMEs'} for {' and '.join(names)} to {own}"
        how += f". A TXT record at {proof.name} alone would take it down, where only the wildcard answers for it"
        return how, [cname(snapshot, name, Action.ADD, own) for name in names]
    it = "it" if len(names) == 1 else " and ".join(names)
    return (
        f"{by_txt}, or let {it} be {'a CNAME' if len(names) == 1 else 'CNAMEs'} to {own}",
        [right, *(cname(snapshot, name, Action.CHANGE, own) for name in names)],
    )


def _is_from_wildcard(snapshot: DnsSnapshot) -> bool:
    """Whether what the name has is what a wildcard gives to the names beside it."""
    seen = set(snapshot.states[0].pointing.observed)
    return snapshot.subject.is_zone or any(set(one.observed) == seen for one in snapshot.beside)


def proof_unknown(snapshot: DnsSnapshot) -> Finding:
    """That the servers leave it open whether a name that leads to us needs a proof."""
    name, own, token = snapshot.subject.name, snapshot.subject.own, snapshot.subject.token or ""
    record = txt(snapshot, txt_name(name), token)
    how = f"Add a TXT record at {record.name} that says {token}"
    if own is not None and not snapshot.subject.is_zone and not any(map(snapshot.is_top, snapshot.states)):
        record = cname(snapshot, name, Action.CHANGE, own)
        how = f"Let it be a CNAME to {own}, which proves it by itself"
    return an_error(
        "proof_unknown",
        f"{name} leads to us, but its name servers do not answer for the names beside it, which would show whether it needs "
        f"a proof that it is yours. Nothing changes because of that. {how}.",
        record,
    )


def _certificate(snapshot: DnsSnapshot, context: Context) -> Finding | None:
    name = snapshot.subject.name
    until = f" The next try is at {iso(context.retry_at)}." if context.retry_at is not None else ""
    if context.limited and context.retry_at is not None and context.retry_at > context.now:
        return Finding(
            code="certificate_rate_limited",
            severity=Severity.WARNING,
            message=f"As many certificates as are allowed have been asked for, so {name} has to wait for its own.{until} "
            "There is nothing to do.",
        )
    if context.certificate_error is None:
        return None
    return an_error("certificate_failed", f"{name} could not get a certificate: {context.certificate_error}.{until}")


def _not_here(snapshot: DnsSnapshot, context: Context) -> Finding | None:
    if context.status is not None or context.held_by_another:
        return None
    return an_info("not_registered", f"{snapshot.subject.name} is not registered here.")


DOMAIN_RULES: tuple[Callable[[DnsSnapshot, Context], Finding | None], ...] = (
    _certificate,
    _not_here,
)
