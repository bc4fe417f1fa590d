"""How a node has certificates ordered for zones: the authority, the account, what publishes challenges, and the job."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from router.base.clock import Clock
from router.base.secret_box import SecretBox
from router.certificates.accounts import Accounts
from router.certificates.delegations import Delegations
from router.certificates.issuing import Issuing
from router.certificates.order_book import OrderBook
from router.certificates.renewals import Renewals
from router.domains.lookup import Lookup
from router.jobs.certificates import EVERY, WITHIN, ZoneCertificates
from router.jobs.runner import Job
from router.node.challenges import challenge_records
from router.observe.metrics import Metrics
from router.settings import Acme, Settings
from router.store import Store

_log = structlog.get_logger("router.node")


def open_delegations(settings: Settings, store: Store, clock: Clock, lookup: Lookup) -> Delegations | None:
    """What checks zones' delegations; None where the platform orders no certificates for zones. CAA records are judged as of the
    authority that orders are placed at."""
    if settings.acme_zone is None:
        return None
    return Delegations(
        store,
        clock,
        lookup=lookup,
        acme_zone=settings.acme_zone,
        directory=settings.acme_directory,
        ca=settings.ca.model_copy(update={"methods": ("dns-01",), "account_uri": None}),
    )


@asynccontextmanager
async def open_zone_jobs(
    acme: Acme,
    settings: Settings,
    store: Store,
    clock: Clock,
    *,
    lookup: Lookup,
    delegations: Delegations,
    box: SecretBox,
    metrics: Metrics,
    in_doubt: Callable[[], bool],
) -> AsyncIterator[list[Job]]:
    """The jobs that order and renew zones' certificates. Raises OSError where `acme_ca_file` can't be used."""
    from router.outbound.acme import AcmeAuthority  # noqa: PLC0415 - its libraries are large, and few nodes order anything
    from router.outbound.acme_http import AcmeHttp  # noqa: PLC0415 - likewise

    if (doubt := settings.caa_doubt()) is not None:
        _log.warning("ca.identities does not name the authority of acme_directory", reason=doubt)
    http = AcmeHttp(acme.directory, None if acme.ca_file is None else str(acme.ca_file), clock)
    authority = AcmeAuthority(http, profile=acme.profile, contact=acme.contact)
    accounts = Accounts(store, clock, authority=authority, box=box)
    renewals = Renewals(
        store,
        clock,
        authority=authority,
        accounts=accounts,
        check=lambda domain, lease: delegations.check(domain, fresh=True, under=lease),
    )
    work = ZoneCertificates(
        store,
        clock,
        delegations=delegations,
        renewals=renewals,
        issuing=Issuing(
            store,
            clock,
            authority=authority,
            accounts=accounts,
            records=challenge_records(acme, lookup, clock),
            box=box,
            book=OrderBook(
                store,
                clock,
                directory=authority.directory,
                gate=settings.gate,
                on_end=lambda result: metrics.count("certificate_orders", result),
            ),
        ),
        platform=settings.platform_domain if acme.platform else None,
        in_doubt=in_doubt,
    )
    try:
        yield [Job(name="order_certificates", every=EVERY, within=WITHIN, work=work.run)]
    finally:
        await authority.close()
