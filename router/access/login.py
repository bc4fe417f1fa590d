"""What goes between a worker and the control process while somebody signs in by their tenant's login.

The login host is a name of the platform's: `login.D`. There a browser goes to the tenant's provider and comes back, and has a
cookie by which it is known for hours. Each tenant has a redirect URI of its own there, or one tenant's provider could send
browsers on to another's and be given the codes that they come back with (RFC 9700, section 4.4). A preview is another host, where that cookie is not sent: so it is handed over by a code
(`take`), to the browser alone that has set out from there, which is known by `binding`, the hash of a cookie of that host.

    HOST/.well-known/miosa/login       sets that cookie, and sends to
    login.D/start                      known already: hands over; else sends to the provider
    provider                           asks who it is, and sends to
    login.D/callback/TENANT            starts a session, and hands over by sending to
    HOST/.well-known/miosa/arrive      sets the preview's cookie, in the session's name, and sends to the page

Into the console it is the same way, with a session of its own each time:

    CONSOLE/console/login              sets the cookie of that origin, and sends to
    login.D/console                    sends to the provider, and so on; the callback hands over by sending to
    CONSOLE/console/#code=CODE         whose script asks for the session's token (`POST /api/v1/console/session`)

Values only. Cookies are those of ours alone, by name.
"""

import enum
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

COOKIE: Final = b"__Host-miosa-login"
"""At a preview's host: what the browser that has set out is known by."""
CONSOLE_COOKIE: Final = "__Host-miosa-console"
"""The same, at the console's origin."""
CONSOLE_PATH: Final = "/console"
"""On the login host: somebody wants into the console."""
COOKIE_TIME: Final = 600  # seconds that signing in may take
MAX_TARGET: Final = 8192  # bytes of a target on the login host
_MAX_PARAMETERS: Final = 20
_BINDING: Final = re.compile(r"[0-9a-f]{64}")
_SECRET: Final = re.compile(rb"[A-Za-z0-9_-]{43}")
_MAX_COOKIES: Final = 40


class LoginStep(enum.StrEnum):
    """What is asked for on the login host."""

    START = "start"
    CONSOLE = "console"
    CALLBACK = "callback"
    LOG_OUT = "log_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """`parameters` are the query's, each once; `client` is the visitor's address. On a `START` the worker has looked at `host`,
    `next` and `binding`, and `tenant_id` is the host's tenant; on a `CALLBACK` it is what the path says, as anybody wrote it. On a
    `CONSOLE` nobody has looked at anything, and the organization is one of the parameters."""

    step: LoginStep
    client: str
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    tenant_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginResponse:
    """Where the visitor goes, or the reason (else the code) of a problem; neither after a log-out. With a problem, `location` is where they may
    sign in once more, where that is known. `cookies` are values of Set-Cookie."""

    location: str = field(default="", repr=False)
    cookies: tuple[str, ...] = field(default=(), repr=False)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The session that a code was for; it holds until `until`, in seconds of the epoch."""

    session_id: str
    tenant_id: str
    until: float


def binding_of(secret: bytes) -> str:
    """What a browser is known by on the login host, of its cookie at the preview's."""
    return hashlib.sha256(secret).hexdigest()


def is_binding(text: str) -> bool:
    """Whether it may be one."""
    return _BINDING.fullmatch(text) is not None


def is_cookie(value: bytes) -> bool:
    """Whether it may be one that we have set: then several tabs can share it."""
    return _SECRET.fullmatch(value) is not None


def cookies_by_name(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Cookies of ours by their names; of several with one name the first."""
    found: dict[str, str] = {}
    for name, value in pairs[:_MAX_COOKIES]:
        found.setdefault(name.decode("ascii"), value.strip(b" \t").decode("latin-1"))
    return found


def parameters_of(target: bytes) -> dict[str, str] | None:
    """The query of a target; None where a parameter stands in it twice, or there are too many: nobody could say which one
    counts."""
    query = target.partition(b"?")[2]
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS, errors="strict"
        )
    except (ValueError, UnicodeError):
        return None
    found = dict(pairs)
    return found if len(found) == len(pairs) else None
