"""`gate.*`, `ca.*`, `checks.*`: certificates, and the checks of domains that lead to them."""

from typing import Annotated

from router.settings.model import Field
from router.settings.types import (
    Bind,
    Count,
    Domains,
    Group,
    HttpUrl,
    Listed,
    Networks,
    Seconds,
    SecondsOrZero,
    Steps,
    Window,
    Word,
)


class Gate(Group):
    """Which certificates Caddy may ask for. The numbers lie below Let's Encrypt's own. Times in seconds."""

    budgets: bool = Field(
        True, description="Whether first certificates are counted. Off where the authority is one's own."
    )
    host: Count = Field(3, description="Certificates for one exact name within `host_window`.")
    host_window: Window = Field(7 * 86400.0, description="See `host`.")
    registered_domain: Count = Field(
        40, description="Names of one registered domain that get a first certificate within `registered_domain_window`."
    )
    registered_domain_window: Window = Field(7 * 86400.0, description="See `registered_domain`.")
    account: Count = Field(240, description="First certificates for all names together within `account_window`.")
    account_window: Window = Field(3 * 3600.0, description="See `account`.")
    in_flight: Count = Field(10, description="First certificates that are being asked for at the same time.")
    in_flight_time: Seconds = Field(
        30.0, description="How long one of them holds its place at most; issuing takes seconds where it works."
    )
    wildcards: Domains = Field(
        (),
        description="Domains under whose `*.` Caddy has a certificate of yours: names right under them need none of their own.",
    )
    starts: Count = Field(10, description="First certificates begun within `starts_window`.")
    starts_window: Window = Field(10.0, description="See `starts`; Caddy's own throttle is ten in ten seconds.")
    attempt_time: Seconds = Field(
        200.0, description="How long one may take to appear before it counts as failed; Caddy itself gives up at 180."
    )
    unwritten: Count = Field(
        100, description="Attempts that may wait for a store that is away; then no further one begins."
    )
    caddy: Bind | None = Field(
        None,
        description="Caddy's https listener. With it a domain's certificate is fetched before the first visitor comes, and again when it is due; and the gate reads how long certificates live, and sees at once when a first one is there.",
    )
    handshake_time: Seconds = Field(
        190.0, description="How long Caddy may take for that; it gives up itself after 180, and says so."
    )
    handshakes: Count = Field(5, description="How many of these are under way at once.")
    backoff: Steps = Field(
        (60.0, 600.0, 6000.0, 86400.0),
        description="How long a name waits after its first, second, … failure in a row; the last one repeats.",
    )


class Ca(Group):
    """The certificate authority that Caddy orders from, as customers' CAA records know it (RFC 8659, RFC 8657)."""

    identities: Annotated[Domains, Field(min_length=1)] = Field(
        ("letsencrypt.org",), description="Its names in CAA records. The first is the one that customers are told."
    )
    methods: Annotated[tuple[Word, ...], Listed, Field(min_length=1)] = Field(
        ("http-01", "tls-alpn-01"), description="The ways of validation that Caddy uses, of which one must be allowed."
    )
    account_uri: HttpUrl | None = Field(
        None,
        description="Address of the account that Caddy has there. None: records that name an account stay undecided.",
    )


class Checks(Group):
    """Looks at customers' domains: whether they lead to us. Times in seconds."""

    background: bool = Field(True, description="Whether domains are checked again on a schedule, or only on request.")
    at_once: Annotated[int, Field(ge=1, le=1024)] = Field(
        64, description="Domains checked at the same time, over all nodes."
    )
    ask_every: SecondsOrZero = Field(10.0, description="Shortest time between two checks of one domain on request.")
    http_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        80, description="Port at which domains behind a CDN are asked whether they lead to us."
    )
    networks: Networks = Field((), description="Networks that may be asked so although they are not public.")
