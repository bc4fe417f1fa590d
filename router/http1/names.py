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
        b"x-real-ip",
        b"forwarded",
    )
)

# How the names begin of what only we may say, in either direction.
OURS = b"x-miosa-"

# How all of a request's begin that only proxies may say: some tell there who is logged in (X-Forwarded-User).
X_FORWARDED = b"x-forwarded-"

# What `Connection` can never remove: routing, framing, authentication, and what we add. Its own options stand here too.
STICKY = FORWARDING | frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"trailer",
        b"te",
        b"upgrade",
        b"expect",
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

# Never taken from a trailer section (RFC 9110 §6.5.1): framing, routing, authentication, content, and our own. First
# how such names begin, then the other names.
NOT_BEGINNING_TRAILERS = (OURS, X_FORWARDED, b"content-")
NOT_IN_TRAILERS = (
    STICKY
    | HOP_BY_HOP
    | frozenset(
        (
            b"cache-control",
            b"max-forwards",
            b"www-authenticate",
            b"location",
            b"range",
            b"age",
            b"date",
            b"expires",
            b"retry-after",
            b"vary",
            b"warning",
        )
    )
)
