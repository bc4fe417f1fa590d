"""What a program is told of who its visitor is: the claims of the JSON Web Token in `X-Miosa-Identity` (RFC 7519).

    iss                 the issuer of this edge and tenant
    aud                 the host that was asked for, in canonical form: a program that checks it can't be told what another was
    sub                 who it is, after the way in and a colon; the same at every visit
    email               where it is known
    how                 the way in (`entry.Way`)
    tenant, resource    ids of whose program it is, and of what it runs on
    port                which port of that
    iat, nbf, exp       when it was signed, and `LIFE` later

Where everybody may come in, nobody was asked who they are: `how` is `public` and there is no `sub`. So a program of a
preview with `identity` gets the header with every request, and one without it has not come through this edge.
"""

from typing import Any, Final

from router.access.entry import Entry
from router.access.rules import AccessRules

NAME: Final = b"X-Miosa-Identity"
LIFE: Final = 300.0  # seconds
REUSED: Final = 120.0  # seconds for which a token is sent again: what arrives has some minutes left


def claims_of(issuer: str, rules: AccessRules, entry: Entry, now: float) -> dict[str, Any]:
    """The claims about who came in by `entry`. `issuer` is that of the edge, `now` in seconds of the epoch."""
    claims: dict[str, Any] = {"iss": f"{issuer}/tenants/{rules.tenant_id}", "aud": rules.host, "how": entry.how.value}
    if entry.subject:
        claims["sub"] = f"{entry.how.value}:{entry.subject}"
    if entry.email:
        claims["email"] = entry.email
    at = int(now)
    return claims | {
        "tenant": rules.tenant_id,
        "resource": rules.resource_id,
        "port": rules.port,
        "iat": at,
        "nbf": at,
        "exp": at + int(LIFE),
    }
