"""How a node answers an authority about its zones' challenges: by the responder, on the sockets of `acme_dns_bind`,
or by the operator's own name servers."""

import socket
from collections.abc import Mapping

from router.base.clock import Clock
from router.certificates.challenges import ChallengeRecords, TxtSource
from router.dns.published import StoredValues
from router.dns.update import DnsUpdates
from router.domains.lookup import Lookup
from router.node.sockets import DNS_TCP, DNS_UDP
from router.observe.metrics import Metrics
from router.responder import Responder, Zone
from router.settings import Acme, Settings


def challenge_records(acme: Acme, lookup: Lookup, clock: Clock) -> ChallengeRecords:
    """What publishes the values of challenges: the operator's own primary, or the responder."""
    if acme.update is not None:
        return DnsUpdates(acme.zone, acme.update, lookup, clock)
    return StoredValues(acme.zone, lookup, clock)


def open_responder(
    settings: Settings, sockets: Mapping[str, socket.socket], source: TxtSource, metrics: Metrics, clock: Clock
) -> Responder | None:
    """The responder, which serves from now on; None where this node has no sockets for it. Raises SettingsError."""
    acme = settings.acme()
    if acme is None or DNS_UDP not in sockets:
        return None
    return Responder(
        sockets[DNS_UDP],
        sockets[DNS_TCP],
        zone=Zone.of(acme.zone, acme.names, acme.addresses, acme.contact),
        rows=source,
        metrics=metrics,
        clock=clock,
    )
