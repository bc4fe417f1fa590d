"""Whether a name's CAA records let our certificate authority issue for it (RFC 8659, RFC 8657).

The set that counts is the nearest: the name's own, else its parent's, and so on up to the top-level domain. Each of
these names is looked up with its aliases followed, but an alias is never climbed from (§3). Without any set everybody
may issue.

    a record with a critical flag and an unknown tag    forbids, whatever else there is
    issuewild, where there is any, for a wildcard       else `issue` decides
    issue "ca.example"                                  allows that authority
    issue ";" and what can't be parsed                  allow no authority, so that any `issue` forbids all whom it does not name
    validationmethods=, accounturi=                     narrow a record to a method, to an account; twice the same: nothing
                                                        satisfies it

An authority that gets no answer at one of the names does not issue, so not knowing there is not knowing.
"""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from router.settings import Ca

DIFFERING = "servers_differ"
ACCOUNT = "account"
_CRITICAL = 128
_KNOWN = frozenset({"issue", "issuewild", "iodef", "issuemail"})

_RECORD = re.compile(r"(?P<flags>[0-9]{1,3}) (?P<tag>[a-z0-9]+) (?P<value>.*)")
_PARAMETER = re.compile(r"(?P<tag>[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)[ \t]*=[ \t]*(?P<value>[!-:<-~]*)")


class CaaVerdict(enum.StrEnum):
    """What the records come to."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CaaFinding:
    """What CAA says about a name.

    `at` is the name whose set counts, None where there is none, and `records` is that set. `record` is the one that
    forbids, where it is one. `add`, `delete` are what the owner of `at` may change for us to be allowed, each alone
    enough: a record to add, else one to delete. `advice` says it in a sentence.

    `reason` says why nothing is known: a word of an Answer, `servers_differ`, or `account` (a record names the account
    that may ask for certificates, and ours is not set). `errors` are the Answer's.
    """

    verdict: CaaVerdict
    at: str | None = None
    records: tuple[str, ...] = ()
    record: str | None = None
    add: str | None = None
    delete: str | None = None
    advice: str | None = None
    reason: str | None = None
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Record:
    """One CAA record. What can't be read has no tag, or no value."""

    text: str
    critical: bool
    tag: str
    value: str


async def check_caa(
    lookup: Lookup, name: str, ca: Ca, until: float, *, wildcard: bool = False, fresh: bool = False
) -> CaaFinding:
    """What CAA says about `name`, or about `*.name` for a `wildcard`. `until` is an instant of the monotonic clock."""
    names = _up(name)
    answers = await lookup.ask([Question(one, RecordType.CAA) for one in names], until, fresh=fresh)
    for one, answer in zip(names, answers, strict=True):
        if answer.outcome is Outcome.UNKNOWN:
            return CaaFinding(CaaVerdict.UNKNOWN, at=one, reason=answer.reason, errors=answer.errors)
        if answer.outcome is Outcome.PROPAGATING:
            return _differing(one, answer, ca, wildcard=wildcard)
        if answer.values:
            return judge(answer.aliases[-1] if answer.aliases else one, answer.values, ca, wildcard=wildcard)
    return CaaFinding(CaaVerdict.ALLOWED)


def judge(at: str, records: Sequence[str], ca: Ca, *, wildcard: bool = False) -> CaaFinding:
    """What one set of records at a name says."""
    parsed = [_read(record) for record in records]
    for record in parsed:
        if record.critical and record.tag not in _KNOWN:
            advice = (
                f"the CAA record {record.text} at {at} is critical and no certificate authority knows it: delete it"
            )
            return _forbidden(at, records, advice, record=record.text, delete=record.text)
    relevant = [record for record in parsed if record.tag == "issuewild"] if wildcard else []
    relevant = relevant or [record for record in parsed if record.tag == "issue"]
    if not relevant:
        return CaaFinding(CaaVerdict.ALLOWED, at, tuple(records))
    if any(_allows(record.value, ca) for record in relevant):
        return CaaFinding(CaaVerdict.ALLOWED, at, tuple(records))
    if ca.account_uri is None and any(_allows(record.value, ca, any_account=True) for record in relevant):
        return CaaFinding(CaaVerdict.UNKNOWN, at, tuple(records), reason=ACCOUNT)
    missing = f'0 {relevant[0].tag} "{ca.identities[0]}"'
    advice = (
        f"the CAA records at {at} do not let {ca.identities[0]} issue a certificate"
        f"{' for a wildcard' if wildcard else ''}: add the CAA record {missing} at {at}"
    )
    return _forbidden(at, records, advice, record=relevant[0].text if len(relevant) == 1 else None, add=missing)


def _forbidden(
    at: str,
    records: Sequence[str],
    advice: str,
    *,
    record: str | None,
    add: str | None = None,
    delete: str | None = None,
) -> CaaFinding:
    return CaaFinding(CaaVerdict.FORBIDDEN, at, tuple(records), record, add, delete, advice)


def _differing(at: str, answer: Answer, ca: Ca, *, wildcard: bool) -> CaaFinding:
    """What servers that differ come to: where each of them has a set, what all of these agree on."""
    views = [view for view in answer.servers if view.outcome.definitive]
    if views and all(view.outcome is Outcome.FOUND and view.type is RecordType.CAA for view in views):
        findings = [judge(at, view.values, ca, wildcard=wildcard) for view in views]
        if len({finding.verdict for finding in findings}) == 1:
            return findings[0]
    return CaaFinding(CaaVerdict.UNKNOWN, at, reason=DIFFERING, errors=answer.errors)


def _up(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[place:]) for place in range(len(labels))]


def _read(text: str) -> _Record:
    match = _RECORD.fullmatch(text)
    if match is None:
        return _Record(text, critical=False, tag="", value="")
    value = match["value"]
    whole = len(value) > 1 and value[0] == value[-1] == '"'
    return _Record(text, bool(int(match["flags"]) & _CRITICAL), match["tag"], value[1:-1] if whole else "")


def _allows(value: str, ca: Ca, *, any_account: bool = False) -> bool:
    """Whether an issue or issuewild record allows us."""
    issuer, _, rest = value.partition(";")
    if issuer.strip(" \t").lower() not in ca.identities:
        return False
    parameters = [_PARAMETER.fullmatch(part.strip(" \t")) for part in rest.split(";")] if rest.strip(" \t") else []
    seen: dict[str, str] = {}
    for parameter in parameters:
        if parameter is None or parameter["tag"].lower() in seen:
            return False
        seen[parameter["tag"].lower()] = parameter["value"]
    methods = seen.get("validationmethods")
    if methods is not None and not {method.strip().lower() for method in methods.split(",")} & set(ca.methods):
        return False
    return any_account or seen.get("accounturi", ca.account_uri) == ca.account_uri
