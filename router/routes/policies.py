"""Who may open a preview: the policy of one port, as it stands in its resource's record. Values only.

What a visitor brings is compared with this alone, without a look in the store: so it holds the hashes of every secret that
opens the port, and of those that did until lately, which are told apart from what never did.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


class Visibility(enum.StrEnum):
    """Who may open a port.

    `private`: who has a secret of the preview, or a key or token of the API that reaches the resource. `tenant`: those, and
    whoever has any key or token of the resource's tenant. `key`: programs only; as `private`, without links and cookies.
    """

    PUBLIC = "public"
    PRIVATE = "private"
    TENANT = "tenant"
    KEY = "key"


class Cors(enum.StrEnum):
    """Which other origins' scripts may read a port's responses: as its program says (`passthrough`), those of a list, or those
    of the same owner's hosts. A program's own headers win in each."""

    PASSTHROUGH = "passthrough"
    ALLOWLIST = "allowlist"
    SAME_OWNER = "same-owner"


class SecretKind(enum.StrEnum):
    """How a secret is meant to be used: by programs in a header, in a link by people, in a link once, or in a form.

    What a newer version of ours means by another word opens nothing here (`UNKNOWN`)."""

    PROGRAM = "program"
    LINK = "link"
    ONCE = "once"
    PASSWORD = "password"  # noqa: S105 - the name of a kind
    UNKNOWN = "unknown"


def secret_kind(word: str) -> SecretKind:
    """The kind of that word."""
    try:
        return SecretKind(word)
    except ValueError:
        return SecretKind.UNKNOWN


@dataclass(frozen=True, slots=True)
class AccessSecret:
    """A secret that opens a port. `digest` is its SHA-256 in hexadecimal, `until` an instant in seconds of the epoch, None for
    ever. One that is `revoked` opens nothing, nor does what it has let in before, and it is kept a while so that we can say so.
    One of `ONCE` that was `used` lets nobody else in; who came in by it stays. One of `PASSWORD` has no digest."""

    id: str
    kind: SecretKind
    digest: str
    until: float | None = None
    revoked: bool = False
    used: bool = False


@dataclass(frozen=True, slots=True)
class AccessIssuer:
    """A rule of the resource's tenant about the tokens of a CI system: those of `issuer` for `audience` may open the port. What
    else they have to say only the control process knows. Whatever changes of the rule is another `generation`."""

    id: str
    issuer: str
    audience: str
    generation: int


def issuer_use(issuer_id: str) -> str:
    """The name by which it is noted that a rule let somebody in, beside secrets' ids."""
    return ISSUER_USE + issuer_id


ISSUER_USE: Final = "issuer:"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """One port's policy. `generation` grows whenever all that was handed out before is void: cookies name it.

    `networks` are those that visitors' addresses have to lie in; empty allows any. From `until` on (seconds of the epoch)
    the preview has expired. `hide`: strangers are answered as if there were no such host. `origins` is the list of `cors`.
    `identity`: its program is told who each visitor is, also where everybody may come in.
    `tenant` is the slug of the resource's tenant, which JSON Web Tokens may name it by. `login`: who has signed in by the
    tenant's login may come in. `issuers` are the rules by which pipelines of CI systems may.
    """

    visibility: Visibility = Visibility.PUBLIC
    generation: int = 0
    tenant: str = ""
    secrets: tuple[AccessSecret, ...] = ()
    networks: tuple[str, ...] = ()
    until: float | None = None
    hide: bool = False
    cors: Cors = Cors.PASSTHROUGH
    origins: tuple[str, ...] = ()
    login: bool = False
    issuers: tuple[AccessIssuer, ...] = ()
    identity: bool = False

    @property
    def restricts(self) -> bool:
        """Whether it says anything at all. One that doesn't stands in no record: its visitors pay nothing for it."""
        return (
            self.visibility is not Visibility.PUBLIC
            or bool(self.secrets)
            or bool(self.networks)
            or self.until is not None
            or self.cors is not Cors.PASSTHROUGH
            or self.identity
        )


OTHER_PORTS: Final = 0  # the key of the policy of every port that has none of its own
PolicyByPort = Mapping[int, AccessPolicy]
