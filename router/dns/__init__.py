"""DNS as it really is: dnspython under deadlines, asking servers that may be an attacker's.

Everything that is looked up here decides over a domain, so it is not a cache's word that counts but that of the servers
in charge:

1. `lookup.py` takes the questions, follows aliases (eight, each a question of its own to whoever is in charge of it),
   remembers answers and lets those share a search who ask the same.
2. `sources.py` knows whom to ask. With DNS_SERVERS set, all of these servers, and nobody else: whoever sets it closes
   the way to all others. Else those in charge of the name, found by `walk.py` from the root down, every one of them.
3. `inquiry.py` asks one server (no RD; AA wanted), again where it is silent, within the queries that a search may send;
   `transport.py` sends them: UDP with EDNS and 1232 bytes, TCP for what was cut off, 4 at once to one address.
4. `reading.py` makes a value of a message, `views.py` one answer of what several servers say.

**DNSSEC.** Nothing is validated here. Servers in charge sign, they don't check, so their answers look sound whatever the
signatures are worth. Whether somebody who checks gets an answer, which is what a certificate authority needs, is told by
a resolver that checks: one of DNS_SERVERS, or beside a walk one of the system's. SERVFAIL there, and an answer with
checking disabled (CD), is `bogus`. A machine whose resolver does not validate never finds anything bogus.

Where no root server answers (a network that lets out queries to its own resolver only) the system's resolvers are
believed instead, and the log says so.
"""

from router.dns.lookup import DnsLookup

__all__ = ["DnsLookup"]
