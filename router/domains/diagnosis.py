"""What is wrong with a domain, in plain words, each with the exact record to add, change or delete. Pure.

A diagnosis is a list of remarks, made by four tables of rules, in their order:

    of the holder    may the asker have the name at all; all that apply
    of the zone      does the domain exist, do its servers answer; the first that applies ends what DNS can tell
    of each record   why a name does not lead to us; the first that applies
    of the domain    proof, certificates, its state; all that apply

Where none of them is an error or a warning, the last remark says that everything is right, and the one before what is
left to do.
"""

from collections.abc import Callable

from router.clock import iso
from router.domains.caa import ACCOUNT, CaaVerdict
from router.domains.cdn import network_of
from router.domains.lookup import Answer, Outcome, RecordType, ServerAnswer
from router.domains.pointing import DIFFERING, Finding
from router.domains.remarks import (
    Action,
    Facts,
    Remark,
    Remedy,
    Severity,
    addresses_to_add,
    an_error,
    an_info,
    at_top,
    cname,
    removal,
    target_of,
    to_add,
    txt,
    unless_right,
    wanted,
)
from router.domains.survey import Spot, Survey, own_values

_ADDRESSES = (RecordType.A, RecordType.AAAA)


def diagnose(survey: Survey, facts: Facts) -> tuple[Remark, ...]:
    """What is wrong, the first thing to do first."""
    found = [remark for rule in HOLDER_RULES if (remark := rule(survey, facts)) is not None]
    broken = next(filter(None, (rule(survey) for rule in ZONE_RULES)), None)
    if broken is not None:
        found.append(broken)
    else:
        of_spots = [_first(survey, spot, facts) for spot in survey.spots]
        found += [remark for remark in of_spots if remark is not None]
        found += [_hidden(survey, host) for host in survey.hosts if _is_hidden(survey, host)]
        found += _caa(survey)
    found += [remark for rule in DOMAIN_RULES if (remark := rule(survey, facts)) is not None]
    if all(remark.severity is Severity.INFO for remark in found):
        found += _all_right(survey, facts)
    return tuple(found)


def _first(survey: Survey, spot: Spot, facts: Facts) -> Remark | None:
    rules = RIGHT_RULES if spot.right else WRONG_RULES
    return next(filter(None, (rule(survey, spot, facts) for rule in rules)), None)


# Rules of the holder.


def _held_by_another(survey: Survey, facts: Facts) -> Remark | None:
    if not facts.held_by_another:
        return None
    how = "register it here to be given the record that proves that it is yours"
    if survey.proof is not None:
        how = "prove that it is yours"
    return an_error(
        "held_by_another",
        f"{survey.subject.name} is held by another account, or was within the last 30 days. Remove it there, or {how}.",
    )


def _suspended(survey: Survey, facts: Facts) -> Remark | None:
    if not facts.suspended:
        return None
    return an_error("suspended", f"{survey.subject.name} is suspended, whatever its DNS says. Contact support.")


HOLDER_RULES: tuple[Callable[[Survey, Facts], Remark | None], ...] = (_held_by_another, _suspended)


# Rules of the zone.

_SILENCE = {
    "timeout": "they did not answer in time",
    "servfail": "they failed (SERVFAIL)",
    "refused": "they refused (REFUSED)",
    "unreachable": "they can't be reached",
    "no_servers": "there are none to ask",
    "no_address": "nobody knows their addresses",
    "not_global": "their addresses are not on the Internet",
}


def _not_registered(survey: Survey) -> Remark | None:
    if survey.top.outcome is not Outcome.NXDOMAIN or survey.top.aliases:
        return None
    return an_error(
        "domain_not_found",
        f"{survey.registered} does not exist in DNS: it is not registered, has expired, or has no name servers at its "
        "registry. Register or renew it, or set its name servers at the registrar.",
    )


def _zone_unknown(survey: Survey) -> Remark | None:
    return _unknown(survey.top, survey.registered)


def _unknown(answer: Answer, name: str) -> Remark | None:
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


ZONE_RULES: tuple[Callable[[Survey], Remark | None], ...] = (_not_registered, _zone_unknown)


# Rules of a record that leads to us.


def _top_alias(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    if spot.alias is None or not survey.is_top(spot):
        return None
    return Remark(
        code="apex_cname",
        severity=unless_right(spot.right),
        message=f"{spot.name} is the top of its zone, where a CNAME can't stand beside the SOA and NS records: some "
        f"resolvers lose the zone's mail and name servers. Put {at_top(survey)} in its place.",
        records=(
            *(removal(survey, spot.name, RecordType.CNAME, value) for value in spot.values(RecordType.CNAME)),
            *addresses_to_add(survey, spot.name),
        ),
    )


def _alias_beside_others(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    others = [kind for kind in spot.held if kind is not RecordType.CNAME and spot.values(kind)]
    if spot.alias is None or not others:
        return None
    return Remark(
        code="cname_beside_others",
        severity=unless_right(spot.right),
        message=f"{spot.name} has a CNAME beside other records ({', '.join(others)}), which DNS forbids: resolvers take "
        "the one or the others. Delete the others.",
        records=tuple(removal(survey, spot.name, kind, value) for kind in others for value in spot.values(kind)),
    )


RIGHT_RULES: tuple[Callable[[Survey, Spot, Facts], Remark | None], ...] = (_top_alias, _alias_beside_others)


# Rules of a record that does not.


def _spot_unknown(_survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    pointing = spot.pointing
    if pointing.finding is not Finding.UNKNOWN:
        return None
    return _unknown(Answer(Outcome.UNKNOWN, reason=pointing.reason, errors=pointing.errors), spot.name)


def _servers_differ(_survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    pointing = spot.pointing
    if pointing.reason != DIFFERING:
        return None
    views = ", ".join(_view(view) for view in pointing.servers)
    return Remark(
        code="servers_differ",
        severity=Severity.WARNING,
        message=f"The name servers of {spot.name} don't agree: {views}. A change takes a while to reach all of them; "
        "where it lasts for hours, ask the DNS provider.",
    )


def _view(view: ServerAnswer) -> str:
    said = ", ".join(view.values) or view.reason or "nothing"
    return f"{view.server} says {said}"


def _several_aliases(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    found, target = spot.values(RecordType.CNAME), survey.subject.target
    if len(found) < 2:
        return None
    ours = target in found
    what = f"Keep the one to {target}." if ours else f"Put one to {target} in their place."
    return an_error(
        "several_cnames",
        f"{spot.name} has {len(found)} CNAME records ({', '.join(found)}), where DNS allows one. {what}",
        *(removal(survey, spot.name, RecordType.CNAME, value) for value in found if value != target),
        *(() if ours else (cname(survey, spot.name, Action.ADD),)),
    )


def _target_doubled(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    target = survey.subject.target
    if spot.alias != f"{target}.{survey.zone}":
        return None
    return an_error(
        "target_doubled",
        f"{spot.name} leads to {spot.alias}: the DNS provider adds {survey.zone} to a value without a dot at its end. "
        f"Enter the value as {target}. with the dot.",
        *wanted(survey, spot),
    )


def _behind_cdn(survey: Survey, spot: Spot, facts: Facts) -> Remark | None:
    network = network_of(spot.pointing.observed)
    if network is None:
        return None
    hidden = f"{spot.name} is proxied by {network}, which hides where it leads."
    proof = survey.proof
    if facts.routes or (proof is not None and proof.given):
        return an_info(
            "behind_cdn", f"{hidden} That works as long as {network} sends visitors on to {target_of(survey)}."
        )
    if proof is None:
        return an_error(
            "behind_cdn",
            f"{hidden} Switch the proxy off for this record (DNS only), and let it be a CNAME to {target_of(survey)}.",
            cname(survey, spot.name, Action.CHANGE),
        )
    return an_error(
        "behind_cdn",
        f"{hidden} Switch the proxy off for this record (DNS only); or let {network} send visitors on to "
        f"{target_of(survey)}, and add a TXT record at {proof.name} that says {proof.token}.",
        txt(survey, proof.name, proof.token),
    )


def _stray_addresses(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    ours = {address for addresses in survey.addresses.values() for address in addresses}
    stray = [address for address in spot.addresses if address not in ours]
    if not stray or len(stray) == len(spot.addresses):
        return None
    six = all(":" in address for address in stray)
    return an_error(
        "stray_aaaa" if six else "stray_address",
        f"{spot.name} leads to us, and also to {', '.join(stray)}, which is not ours: "
        f"{'visitors with IPv6' if six else 'a part of its visitors'} would go there. Delete what is not ours.",
        *(
            removal(survey, spot.name, kind, value)
            for kind in _ADDRESSES
            for value in spot.values(kind)
            if value in stray
        ),
    )


def _doubled_label(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    if not spot.doubled or spot.pointing.finding is not Finding.MISSING:
        return None
    host = survey.label(spot.name)
    return an_error(
        "doubled_name",
        f"The record is at {spot.doubled_name}: the DNS provider adds {survey.zone} to whatever is typed. Enter its "
        f"name as {host}.",
        *(removal(survey, spot.doubled_name, spot.doubled_type, value) for value in spot.doubled),
        *to_add(survey, spot),
    )


def _circle(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    if spot.pointing.reason not in {"alias_loop", "too_many_aliases"}:
        return None
    way = " → ".join((spot.name, *spot.pointing.observed))
    what = "lead in a circle" if spot.pointing.reason == "alias_loop" else "are too many"
    return an_error(
        "cname_loop",
        f"The CNAME records of {spot.name} {what}: {way}. Change the first to {target_of(survey)}.",
        *wanted(survey, spot),
    )


def _wrong_alias(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    if spot.alias is None:
        return None
    if spot.pointing.reason == "nxdomain":
        why = f"leads to {spot.pointing.observed[-1]}, which does not exist"
    else:
        why = f"leads to {spot.alias}, which is not ours"
    return an_error(
        "wrong_target", f"{spot.name} {why}. Change its CNAME to {target_of(survey)}.", *wanted(survey, spot)
    )


def _wrong_addresses(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    if spot.pointing.finding is not Finding.WRONG:
        return None
    place = at_top(survey) if survey.is_top(spot) else f"a CNAME to {target_of(survey)}"
    kinds = [kind for kind in _ADDRESSES if spot.values(kind)]
    theirs = f"{' and '.join(kinds)} records" if kinds else "addresses"
    return an_error(
        "wrong_address",
        f"{spot.name} leads to {', '.join(spot.pointing.observed)}, which is not ours. Put {place} in the place of its "
        f"{theirs}.",
        *(removal(survey, spot.name, kind, value) for kind in kinds for value in spot.values(kind)),
        *to_add(survey, spot),
    )


def _wildcard_missing(survey: Survey, spot: Spot, _facts: Facts) -> Remark | None:
    other = next((one for one in survey.spots if one is not spot and one.right), None)
    if other is None:
        return None
    return an_error(
        "wildcard_missing",
        f"{other.name} leads to us, but {spot.name} has no record, and neither covers what the other is for. Add a "
        f"CNAME to {target_of(survey)}.",
        *wanted(survey, spot),
    )


def _nothing_there(survey: Survey, spot: Spot, _facts: Facts) -> Remark:
    if survey.is_top(spot):
        advice = f"It is the top of its zone, where no CNAME can be: add {at_top(survey).removesuffix(',')}."
    else:
        advice = f"Add a CNAME to {target_of(survey)}."
    return an_error("nothing_there", f"{spot.name} has no address yet. {advice}", *to_add(survey, spot))


WRONG_RULES: tuple[Callable[[Survey, Spot, Facts], Remark | None], ...] = (
    _spot_unknown,
    _servers_differ,
    _top_alias,
    _several_aliases,
    _target_doubled,
    _behind_cdn,
    _stray_addresses,
    _alias_beside_others,
    _circle,
    _wrong_alias,
    _doubled_label,
    _wrong_addresses,
    _wildcard_missing,
    _nothing_there,
)


def _is_hidden(survey: Survey, host: Spot) -> bool:
    """Whether a name has records of its own where a wildcard that is right should give it its."""
    above = f"*.{host.name.partition('.')[2]}"
    covered = any(spot.right and spot.name == above for spot in survey.spots)
    return covered and not host.right and host.pointing.finding.definitive


def _hidden(survey: Survey, host: Spot) -> Remark:
    above = f"*.{host.name.partition('.')[2]}"
    kinds = [kind for kind in host.held if host.values(kind)]
    if kinds:
        message = f"{host.name} has records of its own ({', '.join(kinds)}), which hide {above} from it. Delete them."
    else:
        message = f"Names below {host.name} have records, which hides {above} from it. Add a CNAME to {target_of(survey)} for it."
    deletions = [removal(survey, host.name, kind, value) for kind in kinds for value in host.values(kind)]
    return Remark(
        code="wildcard_hidden",
        severity=Severity.ERROR,
        message=message,
        records=tuple(deletions) or wanted(survey, host),
    )


def _caa(survey: Survey) -> list[Remark]:
    """What keeps our certificate authority from issuing. Where a name is not known its CAA records aren't either."""
    found = []
    known = all(spot.right for spot in survey.spots)
    for caa in survey.caa:
        if caa.verdict is CaaVerdict.FORBIDDEN:
            at, advice = caa.at or survey.subject.name, caa.advice or ""
            actions = ((Action.ADD, caa.add), (Action.DELETE, caa.delete))
            records = [
                Remedy(action=action, type=RecordType.CAA, name=at, host=survey.label(at), value=value)
                for action, value in actions
                if value is not None
            ]
            found.append(an_error("caa_forbids", f"{advice[:1].upper()}{advice[1:]}.", *records))
        elif known and caa.verdict is CaaVerdict.UNKNOWN and caa.reason != ACCOUNT:
            found.append(
                Remark(
                    code="caa_unknown",
                    severity=Severity.WARNING,
                    message=f"The CAA records at {caa.at} could not be told ({caa.reason}), and no certificate authority "
                    "issues where it can't. Ask the DNS provider to let its servers answer for CAA.",
                )
            )
    return found


# Rules of the domain.


def _proof_missing(survey: Survey, _facts: Facts) -> Remark | None:
    proof = survey.proof
    if proof is None or proof.given or not survey.subject.to_prove:
        return None
    name, host, wrong = proof.name, survey.label(proof.name), own_values(proof.seen)
    right = txt(survey, name, proof.token)
    if proof.token in own_values(proof.doubled):
        deeper = removal(survey, proof.doubled_name, RecordType.TXT, proof.token)
        return an_error(
            "challenge_doubled",
            f"The TXT record is at {proof.doubled_name}: the DNS provider adds {survey.zone} to whatever is typed. Enter "
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
    return an_error(
        "challenge_missing",
        f"{survey.subject.name} needs a proof that it is yours. Add a TXT record at {name} that says {proof.token}.",
        right,
    )


def _certificate(survey: Survey, facts: Facts) -> Remark | None:
    name = survey.subject.name
    until = f" The next try is at {iso(facts.retry_at)}." if facts.retry_at is not None else ""
    if facts.limited and facts.retry_at is not None and facts.retry_at > facts.now:
        return Remark(
            code="certificate_rate_limited",
            severity=Severity.WARNING,
            message=f"As many certificates as are allowed have been asked for, so {name} has to wait for its own.{until} "
            "There is nothing to do.",
        )
    if facts.certificate_error is None:
        return None
    return an_error("certificate_failed", f"{name} could not get a certificate: {facts.certificate_error}.{until}")


def _not_here(survey: Survey, facts: Facts) -> Remark | None:
    if facts.status is not None or facts.held_by_another:
        return None
    return an_info("not_registered", f"Nobody has registered {survey.subject.name} here.")


DOMAIN_RULES: tuple[Callable[[Survey, Facts], Remark | None], ...] = (
    _proof_missing,
    _certificate,
    _not_here,
)


def _all_right(survey: Survey, facts: Facts) -> list[Remark]:
    names = " and ".join(spot.name for spot in survey.spots)
    since = f" It was verified at {iso(facts.verified_at)}." if facts.verified_at is not None else ""
    verb = "leads" if len(survey.spots) == 1 else "lead"
    said = f"Everything is right: {names} {verb} to us."
    if not all(spot.right for spot in survey.spots):
        said = f"Nothing is wrong with {names}, as far as DNS shows it."
    right = an_info("all_right", said + since)
    if facts.status is None or facts.routes:
        return [right]
    advice = f"{survey.subject.name} is {facts.status} here, and nothing is wrong with its DNS. Verify it now."
    return [an_info("not_verified", advice), right]
