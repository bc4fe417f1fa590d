"""DNS look-ups: dnspython under deadlines, asking authoritative servers, which may be an attacker's.

The answers decide over domains, so they come from the authoritative servers, not from a resolver's cache:

1. `lookup.py` takes the questions, follows aliases (at most eight, each asked at its own authoritative servers), caches
   answers (`ttl_cache.py`), and shares one search among callers that ask the same (`single_flight.py`).
2. `sources.py` chooses the servers. With DNS_SERVERS set: all of these, and no others, since an operator who sets it has
   closed the way to all others. Else every authoritative server of the name, found by `walk.py` from the root down.
3. `query_budget.py` asks one server (no RD; AA wanted), again where it is silent, within the queries that a search may
   send; `transport.py` sends them: UDP with EDNS and 1232 bytes, TCP for what was truncated, 4 at once to one address.
4. `server_reply.py` parses a message into a value, `views.py` compares what several servers say.

Two files publish: `update.py` puts the values of ACME challenges into the operator's own zone, and `published.py` waits until
all of a zone's name servers answer them.

**DNSSEC.** Nothing is validated here. Authoritative servers sign and do not validate, so their answers look sound whatever
the signatures are worth. A validating resolver tells whether a client that validates, as a certificate authority does, gets
an answer: one of DNS_SERVERS, or beside a walk one of the system's. SERVFAIL there, and an answer with checking disabled
(CD), is `bogus`. Where the machine's resolver does not validate, nothing is ever found bogus.

Where no root server answers (a network that lets out queries to its own resolver only) the system's resolvers are
believed instead, and the log says so.
"""

from router.dns.lookup import DnsLookup

__all__ = ["DnsLookup"]
