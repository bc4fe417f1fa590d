"""Header names that mean something to a proxy, lower-case, with the reason of each set."""

# Between two hops only (RFC 9110 §7.6.1). `http2-settings` belongs to the h2c offer that we never pass on.
HOP_BY_HOP = frozenset(
    (b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"http2-settings")
)

# What proxies say about the client. Believed from trusted ones, rebuilt in any case.
FORWARDING = frozenset(
    (
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-forwarded-scheme",
        b"x-forwarded-prefix",
        b"forwarded",
    )
)

# How the names begin of what only we may say, in either direction.
OURS = b"x-miosa-"

# How often a request has come through here: a preview that proxies to itself is noticed by it. `Via` would be for that (RFC
# 9110 §7.6.3 wants it of gateways), but nginx, IIS and others don't compress for a request that has one.
HOPS = b"x-miosa-hops"

# What `Connection` can never remove: routing, framing, authentication, how far it may go, and what we add. Its own options stand here too.
STICKY = FORWARDING | frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"trailer",
        b"te",
        b"upgrade",
        b"expect",
        b"max-forwards",
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"x-request-id",
        b"via",
        b"close",
        b"keep-alive",
        b"connection",
    )
)

# Never taken from a trailer section (RFC 9110 §6.5.1), beside those of `router/base/proxy_only_headers.py`: framing, routing, authentication, content, and our own. First
# how such names begin, then the other names.
NOT_BEGINNING_TRAILERS = (OURS, b"content-")
NOT_IN_TRAILERS = (
    STICKY
    | HOP_BY_HOP
    | frozenset(
        (
            b"cache-control",
            b"www-authenticate",
            b"location",
            b"range",
            b"age",
            b"date",
            b"expires",
            b"retry-after",
            b"vary",
            b"warning",
            b"alt-svc",
        )
    )
)
