"""Checker: everything that one check asks about a domain. Asks DNS and the domain itself; stores nothing. What it comes to is
in `judgement.py`.

A custom domain leads to us by its records (`pointing.py`), or through a CDN that stands before us and hides them. The
second takes two things, since either alone can be had by others: a TXT record with the domain's token, which only its
owner can publish, and a request for its name that reaches us, which shows that the CDN passes visitors on.

Of a domain that does not route yet it also finds evidence of whose it is (`proof.py`): the TXT record, and the records of a
random name beside it and beside each alias on its way. Where such a name has the same record, a wildcard gave it to both.
"""

from collections.abc import Sequence

from router.base.clock import Clock
from router.domains.checks.caa import check_caa
from router.domains.checks.challenge import Fetch, Fetched
from router.domains.checks.evidence import RecordCheck, check_token, find_evidence, leads_to_own, random_label
from router.domains.checks.judgement import (
    Check,
    Seen,
    as_it_counts,
    judge_custom,
    judge_zone,
    may_be_proxied,
    of_fetch,
    worst_of,
)
from router.domains.checks.name_servers import find_name_servers
from router.domains.checks.pointing import CheckResult, Pointing, follow
from router.domains.checks.proof import Evidence
from router.domains.custom import CustomDomain
from router.domains.lookup import Lookup
from router.domains.names import WILDCARDS
from router.domains.preview_domains import PreviewDomain
from router.routes.challenge import PATH
from router.settings import Ca

CHECK_TIME = 10.0  # seconds for everything that one check asks

_LABELS = 2  # random labels per wildcard: one alone may exist by chance, or be guessed
_VISIT_TIME = 3.0  # seconds for each of two tries to get what a visitor gets
_VISIT = PATH.rstrip("/")  # a path that is the customer's: what stands before us treats it as it does any visitor's


class Checker:
    """Runs checks. `targets` are the names of ours that records may lead to."""

    def __init__(self, *, lookup: Lookup, fetch: Fetch, ca: Ca, targets: Sequence[str], clock: Clock) -> None:
        self._lookup = lookup
        self._fetch = fetch
        self._ca = ca
        self._targets = tuple(targets)
        self._clock = clock

    async def custom_domain(self, domain: CustomDomain, *, fresh: bool = False, until: float | None = None) -> Check:
        """Where it leads, within `CHECK_TIME` or until that instant of the monotonic clock. `fresh` goes past what is
        remembered, and also tries what a visitor would get through a CDN."""
        until = self._until() if until is None else until
        (found,) = await follow(self._lookup, [domain.fqdn], self._targets, until, fresh=fresh)
        found = as_it_counts(found, domain.check.method, routes=domain.status.routes)
        evidence: Evidence | None = None
        ownership: RecordCheck | None = None
        fetched = visit = None
        if may_be_proxied(found):
            ownership = await self._check_token(domain.fqdn, domain.token, until, fresh=fresh)
            if ownership.result is CheckResult.VALID:
                fetched = await self._fetch.get(domain.fqdn, f"{PATH}{domain.token}", until)
                if fresh and of_fetch(fetched, domain.proof)[0] is CheckResult.VALID:
                    visit = await self._visit(domain.fqdn, until)
        elif found.result is CheckResult.VALID and not domain.status.routes:
            evidence, ownership = await self._find_evidence([found], domain.fqdn, domain.token, until, fresh=fresh)
        caa = await check_caa(self._lookup, domain.fqdn, self._ca, until, fresh=fresh)
        servers = await find_name_servers(self._lookup, domain.fqdn, until, fresh=fresh)
        seen = Seen(
            pointing=found,
            caa=caa,
            ownership=ownership,
            fetched=fetched,
            visit=visit,
            evidence=evidence,
            name_servers=servers,
        )
        return judge_custom(domain, seen)

    async def zone(self, preview: PreviewDomain, *, fresh: bool = False, until: float | None = None) -> Check:
        """Where the hosts of a preview domain lead; `records` are in the order of `WILDCARDS`, and then what shows whose it
        is, where that was asked."""
        until, domain = self._until() if until is None else until, preview.domain
        names = _hosts(domain)
        seen = await follow(self._lookup, names, self._targets, until, fresh=fresh)
        found = [as_it_counts(one, preview.check.method, routes=preview.verified) for one in seen]
        groups = [found[place : place + _LABELS] for place in range(0, len(found), _LABELS)]
        evidence: Evidence | None = None
        ownership: RecordCheck | None = None
        if not preview.verified and all(worst_of(group).result is CheckResult.VALID for group in groups):
            evidence, ownership = await self._find_evidence(found, domain, preview.token, until, fresh=fresh)
        caa = await check_caa(self._lookup, names[-1], self._ca, until, fresh=fresh)
        servers = await find_name_servers(self._lookup, domain, until, fresh=fresh)
        return judge_zone(
            groups, caa, verified=preview.verified, evidence=evidence, ownership=ownership, name_servers=servers
        )

    async def proven(self, name: str, token: str, *, zone: bool, fresh: bool = False) -> CheckResult:
        """Whether the proof of one registration is there: the TXT record, or CNAMEs to the target of that token; of a preview
        domain (`zone`) all that its hosts have."""
        until = self._until()
        by_txt = (await self._check_token(name, token, until, fresh=fresh)).result
        if by_txt is CheckResult.VALID:
            return by_txt
        names = _hosts(name) if zone else [name]
        seen = await follow(self._lookup, names, self._targets, until, fresh=fresh)
        return CheckResult.VALID if leads_to_own(seen, token, self._targets) else by_txt

    async def _check_token(self, name: str, token: str, until: float, *, fresh: bool) -> RecordCheck:
        return await check_token(self._lookup, name, token, until, fresh=fresh)

    async def _find_evidence(
        self, seen: Sequence[Pointing], name: str, token: str, until: float, *, fresh: bool
    ) -> tuple[Evidence | None, RecordCheck | None]:
        return await find_evidence(self._lookup, seen, name, token, self._targets, until, fresh=fresh)

    async def _visit(self, fqdn: str, until: float) -> Fetched:
        """What a visitor gets through the CDN: by https, or by plain HTTP where it speaks no https with us."""
        until_https = min(until, self._clock.monotonic() + _VISIT_TIME)
        by_https = await self._fetch.get(fqdn, _VISIT, until_https, https=True)
        if by_https.status is not None:
            return by_https
        return await self._fetch.get(fqdn, _VISIT, min(until, self._clock.monotonic() + _VISIT_TIME))

    def _until(self) -> float:
        return self._clock.monotonic() + CHECK_TIME


def _hosts(domain: str) -> list[str]:
    """Random names below a preview domain: a few for each of `WILDCARDS`."""
    return [f"{random_label()}{wildcard[1:]}.{domain}" for wildcard in WILDCARDS for _ in range(_LABELS)]
