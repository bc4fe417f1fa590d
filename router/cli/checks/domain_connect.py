"""Domain Connect: what DNS providers see of us, by which they take our links or refuse them."""

from router.cli.checks.finding import Finding, Report, error, unknown, warning
from router.cli.checks.known import Known
from router.domains.connect_templates import key_records
from router.domains.lookup import Lookup, Question, RecordType
from router.node.domain_connect import key_of
from router.node.services import open_lookup
from router.settings import Settings, SettingsError

_LOOKUP = 5.0  # seconds
_PRINTED = "`miosa-router domain-connect public-key` prints"


async def check(known: Known) -> Report:
    settings = known.settings
    try:
        key = key_of(settings)
    except SettingsError as problem:
        what = "; ".join(words for _, words in problem.problems)
        return Report(
            [
                error(
                    "connect_key",
                    f"`domain_connect.key_file`: {what}",
                    "so no node starts",
                    "correct the setting or the file",
                )
            ]
        )
    if key is None:
        return Report(seen="off")
    async with open_lookup(settings, known.clock) as lookup:
        until = known.clock.monotonic() + _LOOKUP
        findings = [
            await _public_key(lookup, settings, key_records(key.public_text()), until),
            await _addresses(lookup, settings, until),
        ]
    return Report([one for one in findings if one is not None], "DNS providers can verify our links")


async def _public_key(lookup: Lookup, settings: Settings, wanted: list[str], until: float) -> Finding | None:
    name = f"{settings.domain_connect.key_name}.{settings.domain_connect.key_domain}"
    (answer,) = await lookup.ask([Question(name, RecordType.TXT)], until, fresh=True)
    if not answer.outcome.definitive:
        return unknown(
            "connect_key_unknown",
            f"DNS gives no certain answer for the TXT records of {name} ({answer.reason or answer.outcome.value})",
            "so it is not known whether DNS providers can verify our links",
            "see whether this machine may ask name servers (`dns_servers`), and run `doctor` again",
        )
    if sorted(answer.values) == sorted(wanted):
        return None
    said = (
        "has no TXT records" if not answer.values else "has other TXT records than those of `domain_connect.key_file`"
    )
    return error(
        "connect_key_missing",
        f"{name} {said}",
        "so DNS providers refuse our links",
        f"publish what {_PRINTED}, and nothing else at that name",
    )


async def _addresses(lookup: Lookup, settings: Settings, until: float) -> Finding | None:
    """A domain at the top of its zone is verified by the addresses of `verify_target`."""
    ours = {str(address) for address in settings.domain_connect.addresses}
    if not ours:
        return None
    questions = [Question(settings.verify_target, kind) for kind in (RecordType.A, RecordType.AAAA)]
    answers = await lookup.ask(questions, until, fresh=True)
    theirs = {value for answer in answers for value in answer.values}
    if ours == theirs or not all(answer.outcome.definitive for answer in answers):
        return None
    return warning(
        "connect_addresses",
        f"`domain_connect.addresses` are {', '.join(sorted(ours))}, and {settings.verify_target} has {', '.join(sorted(theirs)) or 'none'}",
        "so a domain whose records a DNS provider sets by our template may not be verified",
        "make both the same, and publish the template anew where the setting changes",
    )
