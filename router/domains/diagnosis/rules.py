"""What is wrong with a domain, in plain words, each with the exact record to add, change or delete. Pure.

A diagnosis is a list of findings, made by tables of rules, in their order:

    owner_rules.py        may the one who asks have the name at all; all that apply
    name_server_rules.py  does the domain exist, do its servers answer; only where nothing is known of its names
    record_rules.py       why a name does not lead to us, or what is wrong with one that does; the first that applies
    cdn_rules.py          the same of a name behind a CDN
    delegation_rules.py   why a zone can't have one certificate for all its hosts; the first that applies of each name
    domain_rules.py       certificate authorities, proof, certificates, its state; all that apply

Verify and diagnose never contradict each other: both have the judgement of `checks/judgement.py`, and a finding `blocks`
exactly where that is not "valid". Verify refuses with the first of these, its sentence and its records.

Where no finding is an error or a warning, the last one says that everything is right, and the one before what is left to
do.
"""

from dataclasses import replace

from router.base.clock import iso
from router.domains.checks.pointing import CheckResult
from router.domains.diagnosis.cdn_rules import works_through_cdn
from router.domains.diagnosis.delegation_rules import delegation_findings
from router.domains.diagnosis.domain_rules import DOMAIN_RULES, caa_findings, proof_missing, proof_unknown
from router.domains.diagnosis.findings import Context, Finding, Severity, an_info
from router.domains.diagnosis.name_server_rules import NAME_SERVER_RULES, not_registered
from router.domains.diagnosis.owner_rules import OWNER_RULES
from router.domains.diagnosis.record_rules import RIGHT_RULES, WRONG_RULES, wildcard_hidden
from router.domains.diagnosis.snapshot import DnsSnapshot, NameState


def diagnose(snapshot: DnsSnapshot, context: Context) -> tuple[Finding, ...]:
    """What is wrong, the first thing to do first."""
    found = [finding for rule in OWNER_RULES if (finding := rule(snapshot, context)) is not None]
    broken = _broken(snapshot)
    if broken is not None and not _verified(context):
        found.append(replace(broken, blocks=True))
    else:
        found += _of_names(snapshot, context)
        hosts = [wildcard_hidden(snapshot, host) for host in snapshot.hosts]
        found += [finding for finding in hosts if finding is not None]
        found += caa_findings(snapshot)
        found += delegation_findings(snapshot)
    proof = proof_missing(snapshot, context)
    if proof is not None:
        found.append(replace(proof, blocks=context.need is not None))
    found += [finding for rule in DOMAIN_RULES if (finding := rule(snapshot, context)) is not None]
    if all(finding.severity is Severity.INFO for finding in found):
        found += _all_right(snapshot, context)
    return tuple(found)


def _verified(context: Context) -> bool:
    return context.check is not None and context.check.result is CheckResult.VALID


def _broken(snapshot: DnsSnapshot) -> Finding | None:
    """What is wrong with the whole domain, where nothing is known of its names or they don't exist."""
    pointings = [state.pointing for state in snapshot.states]
    if all(one.result is CheckResult.UNKNOWN for one in pointings):
        return next(filter(None, (rule(snapshot) for rule in NAME_SERVER_RULES)), None)
    gone = all(one.result is CheckResult.MISSING and one.reason == "nxdomain" for one in pointings)
    return not_registered(snapshot) if gone else None


def _of_names(snapshot: DnsSnapshot, context: Context) -> list[Finding]:
    """Why its names don't lead to us, and what is to be said of those that do."""
    check, verified = context.check, _verified(context)
    found: list[Finding] = []
    for state in snapshot.states:
        if verified and not state.right:
            found += works_through_cdn(snapshot, state, context)
        elif (finding := _first(snapshot, state, context)) is not None:
            blocks = not state.right and finding.severity is not Severity.INFO
            found.append(replace(finding, blocks=blocks))
    if check is not None and not verified and check.need is None and not any(finding.blocks for finding in found):
        found.append(replace(proof_unknown(snapshot), blocks=True))
    return found


def _first(snapshot: DnsSnapshot, state: NameState, context: Context) -> Finding | None:
    rules = RIGHT_RULES if state.right else WRONG_RULES
    return next(filter(None, (rule(snapshot, state, context) for rule in rules)), None)


def _all_right(snapshot: DnsSnapshot, context: Context) -> list[Finding]:
    names = " and ".join(state.name for state in snapshot.states)
    since = f" It was verified at {iso(context.verified_at)}." if context.verified_at is not None else ""
    verb = "leads" if len(snapshot.states) == 1 else "lead"
    said = f"Everything is right: {names} {verb} to us."
    if not all(state.right for state in snapshot.states):
        said = f"Nothing is wrong with {names}, as far as DNS shows it."
    right = an_info("all_right", said + since)
    if context.status is None or context.routes:
        return [right]
    advice = f"{snapshot.subject.name} is {context.status} here, and nothing is wrong with its DNS. Verify it now."
    return [an_info("not_verified", advice), right]
