"""The in-memory twin of what the gate keeps its attempts and visits in; passes the same contract tests."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from router.base.clock import Clock
from router.domains.certificates import Attempt, Certificate, CertificateDelta, CertificateStatus, Read, Seen, Source
from router.errors import StoreUnavailableError


class MemoryCertificateLog:
    """ledger.CertificateLog. `down` makes every call fail; what each change is numbered by stands for its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._attempts: dict[str, tuple[int, Attempt]] = {}
        self._hosts: dict[str, tuple[int, Certificate]] = {}
        self._changes = 0
        self.down = False

    async def save_attempts(self, attempts: Sequence[Attempt]) -> None:
        self._check()
        for attempt in attempts:
            _, known = self._attempts.get(attempt.id, (0, None))
            if known is None or known.may_become(attempt.outcome):
                self._attempts[attempt.id] = (self._next(), replace(attempt))

    async def save_visits(self, visits: Sequence[Seen]) -> None:
        self._check()
        for visit in visits:
            _, known = self._hosts.get(visit.host, (0, None))
            if known is not None and known.seen_at is not None and known.seen_at >= visit.seen_at:
                continue
            self._hosts[visit.host] = (self._next(), _visited(known, visit))

    async def save_readings(self, readings: Sequence[Read]) -> None:
        self._check()
        for one in readings:
            _, known = self._hosts.get(one.host, (0, None))
            if known is not None and (known.domain_id or (known.seen_at is not None and known.seen_at > one.seen_at)):
                continue
            tenant_id = one.tenant_id or (None if known is None else known.tenant_id)
            self.put(
                Certificate(
                    host=one.host,
                    status=CertificateStatus.ISSUED,
                    tenant_id=tenant_id,
                    leaf=one.leaf,
                    seen_at=one.seen_at,
                    source=Source.PROBE,
                    due_at=one.leaf.due_at,
                )
            )

    async def live(self, hosts: Sequence[str]) -> Mapping[str, datetime]:
        self._check()
        found = {host: self._hosts[host][1].live_until for host in hosts if host in self._hosts}
        return {host: until for host, until in found.items() if until is not None}

    async def changes_since(
        self, since: float | None, opened_since: float, most: int, after: tuple[float, str] | None = None
    ) -> CertificateDelta:
        self._check()
        if since is None:
            attempts = [one for _, one in self._attempts.values() if one.opened_at > opened_since]
            hosts = [(at, one) for at, one in self._hosts.values() if one.seen_at is not None]
        else:
            attempts = [one for at, one in self._attempts.values() if at > since]
            hosts = [(at, one) for at, one in self._hosts.values() if at > since]
        place = (lambda item: ("", item[1].host)) if since is None else (lambda item: (item[0], item[1].host))
        found = sorted(hosts, key=place)
        if after is not None:
            attempts = []
            found = [item for item in found if place(item) > (("", after[1]) if since is None else after)]
        part = found[:most]
        return CertificateDelta(
            attempts=tuple(replace(one) for one in attempts),
            live={one.host: one.live_until for _, one in part},
            until=float(self._changes),
            due={one.host: one.leaf.due_at for _, one in part if one.source is Source.PROBE and one.leaf is not None},
            lifetimes={one.host: one.leaf.lifetime for _, one in part if one.leaf is not None},
            next=(float(part[-1][0]), part[-1][1].host) if len(part) == most else None,
        )

    def put(self, certificate: Certificate) -> None:
        """What somebody else has stored of a host."""
        self._hosts[certificate.host] = (self._next(), certificate)

    def get(self, host: str) -> Certificate | None:
        """What is stored of a host."""
        return self._hosts.get(host, (0, None))[1]

    def _next(self) -> int:
        self._changes += 1
        return self._changes

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailableError("switched off")


def _visited(known: Certificate | None, visit: Seen) -> Certificate:
    anew = Certificate(
        host=visit.host,
        status=CertificateStatus.ISSUED,
        tenant_id=visit.tenant_id,
        seen_at=visit.seen_at,
        source=Source.TRAFFIC,
        due_at=visit.seen_at,
    )
    if known is None:
        return anew
    tenant_id = visit.tenant_id or known.tenant_id
    read = (
        known.source is Source.PROBE
        and known.leaf is not None
        and known.leaf.not_after > visit.seen_at
        and (known.domain_id is not None or (known.due_at is not None and known.due_at > visit.seen_at))
        and known.status in (CertificateStatus.ISSUED, CertificateStatus.EXPIRING)
    )
    if read:
        return replace(known, seen_at=visit.seen_at, tenant_id=tenant_id)
    return replace(anew, tenant_id=tenant_id, domain_id=known.domain_id, leaf=known.leaf)
