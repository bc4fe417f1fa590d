"""The responder: a small authoritative name server for one zone, the setting `acme_zone`.

A certificate authority that is asked for a wildcard looks for TXT records (RFC 8555 section 8.4). Customers alias
`_acme-challenge.<their zone>` to a name of ours, `<token>.<acme_zone>`, and the authority's resolvers come here.

1. `datagrams.py` and `connections.py` take queries from UDP and TCP, in turns (`turns.py`), so that a flood costs a fixed
   share of the event loop and no more: what comes on top is dropped by the kernel. `rate_limit.py` bounds what one network
   is answered over UDP, where senders can be forged.
2. `screening.py` refuses what is not for us by a look at the bytes; `reading.py` parses the rest with dnspython.
3. `values.py` keeps what the store's open orders have to be answered with, for a second at most.
   `negatives.py` answers invented tokens by it without parsing them.
4. `zone.py` says which names exist, `answering.py` makes the response. Both are pure.

It never recurses, transfers, or takes an update, and no answer over UDP is larger than a few times its query.
"""

from router.responder.server import Responder
from router.responder.zone import PROBE, PROBE_TCP, PROBE_TEXT, Zone

__all__ = ["PROBE", "PROBE_TCP", "PROBE_TEXT", "Responder", "Zone"]
