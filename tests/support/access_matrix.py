"""Who may open a preview, as tables: what is promised, written down apart from the code that keeps the promise.

A row of the matrix is a preview (its visibility and its options), a way in, and a kind of request. What has to come of it
follows from three tables: `WAYS` says what something that a visitor brings is worth, `KINDS` what a kind of request makes of
that, `OPTIONS` what the preview's settings put before it. `tests/wire/test_access_matrix.py` sends every row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

VISIBILITIES: Final = ("public", "private", "tenant", "key")

# What is brought, and what that is worth where the preview is private, the tenant's, or for programs only. The words of a
# way are `PLACE=THING`; `test_access_matrix.py` knows the texts of the things.
#
#   token     it opens the preview
#   link      it opens it, and on a navigation it is exchanged for a cookie first
#   once      it is a link that works once, and nobody has used it
#   again     such a link, brought by who has used it
#   cookie    it opens it, except for what another site's page must not do in the visitor's name
#   -         it is nothing of ours: 401 token_missing
#   other     the code of the refusal
WAYS_TABLE: Final = """
# nothing, or nothing of ours
nothing                                      -              -              -
auth=basic                                   -              -              -
auth=opaque                                  -              -              -
auth=foreign-jwt                             -              -              -
header=empty                                 -              -              -
query=empty                                  -              -              -
link=empty                                   -              -              -

# tokens of programs
header=ci                                    token          token          token
query=ci                                     token          token          token
bearer=ci                                    token          token          token
link=ci                                      link           link           token
header=ci-past                               token_expired  token_expired  token_expired
query=ci-past                                token_expired  token_expired  token_expired
bearer=ci-past                               token_expired  token_expired  token_expired
header=ci-gone                               token_revoked  token_revoked  token_revoked
query=ci-gone                                token_revoked  token_revoked  token_revoked
bearer=ci-gone                               token_revoked  token_revoked  token_revoked
header=unknown                               token_wrong    token_wrong    token_wrong
query=unknown                                token_wrong    token_wrong    token_wrong
bearer=unknown                               token_wrong    token_wrong    token_wrong
link=unknown                                 token_wrong    token_wrong    token_wrong
header=neighbour                             token_wrong    token_wrong    token_wrong
bearer=neighbour                             token_wrong    token_wrong    token_wrong
header=huge                                  token_wrong    token_wrong    token_wrong
header=garbage                               token_wrong    token_wrong    token_wrong

# share links
link=mail                                    link           link           token_wrong
header=mail                                  token          token          token_wrong
query=mail                                   token          token          token_wrong
bearer=mail                                  token          token          token_wrong
link=mail-past                               token_expired  token_expired  token_expired
link=mail-gone                               token_revoked  token_revoked  token_revoked
header=mail-past                             token_expired  token_expired  token_expired
link=neighbour-mail                          token_wrong    token_wrong    token_wrong

# links that work once
link=once                                    once           once           token_wrong
header=once                                  token_wrong    token_wrong    token_wrong
query=once                                   token_wrong    token_wrong    token_wrong
bearer=once                                  token_wrong    token_wrong    token_wrong
link=once-used                               used           used           token_wrong
link=once-past                               token_expired  token_expired  token_expired
link=once-gone                               token_revoked  token_revoked  token_revoked
link=once-used cookie=once-used              again          again          token_wrong

# API keys
bearer=key-tenant                            token          token          token
bearer=key-workspace                         token          token          token
bearer=key-project                           token          token          token
bearer=key-platform                          token          token          token
bearer=key-other-workspace                   token_wrong    token          token_wrong
bearer=key-other-project                     token_wrong    token          token_wrong
bearer=key-other-tenant                      token_wrong    token_wrong    token_wrong
bearer=key-twin-project                      token_wrong    token_wrong    token_wrong
bearer=key-past                              token_expired  token_expired  token_expired
bearer=key-gone                              token_revoked  token_revoked  token_revoked
bearer=key-other-tenant-gone                 token_wrong    token_wrong    token_wrong
bearer=key-other-tenant-past                 token_wrong    token_wrong    token_wrong
bearer=key-unknown                           token_wrong    token_wrong    token_wrong
header=key-tenant                            token          token          token
query=key-project                            token          token          token
header=key-other-tenant                      token_wrong    token_wrong    token_wrong
link=key-tenant                              token_wrong    token_wrong    token_wrong

# JSON Web Tokens
bearer=jwt-tenant                            token          token          token
bearer=jwt-slug                              token          token          token
bearer=jwt-workspace                         token          token          token
bearer=jwt-project                           token          token          token
bearer=jwt-platform                          token          token          token
bearer=jwt-other-workspace                   token_wrong    token          token_wrong
bearer=jwt-other-project                     token_wrong    token          token_wrong
bearer=jwt-other-tenant                      token_wrong    token_wrong    token_wrong
bearer=jwt-garbled-scope                     token_wrong    token_wrong    token_wrong
bearer=jwt-early                             token_wrong    token_wrong    token_wrong
bearer=jwt-past                              token_expired  token_expired  token_expired
bearer=jwt-other-tenant-past                 token_wrong    token_wrong    token_wrong

# tokens of CI systems; those of another audience or issuer are the program's
bearer=job                                   token          token          token
bearer=job-other-repository                  token_wrong    token_wrong    token_wrong
bearer=job-forged                            token_wrong    token_wrong    token_wrong
bearer=job-past                              token_expired  token_expired  token_expired
bearer=job-other-repository-past             token_wrong    token_wrong    token_wrong
bearer=job-old-rule                          token_wrong    token_wrong    token_wrong
bearer=job-elsewhere                         token_wrong    token_wrong    token_wrong
bearer=job-unknown                           identity_provider_unavailable identity_provider_unavailable identity_provider_unavailable
auth=job-other-audience                      -              -              -
auth=job-other-issuer                        -              -              -
header=job                                   token_wrong    token_wrong    token_wrong
query=job                                    token_wrong    token_wrong    token_wrong
link=job                                     token_wrong    token_wrong    token_wrong
bearer=job cookie=mail                       token          token          token
bearer=job-forged cookie=mail                token_wrong    token_wrong    token_wrong
auth=job-other-audience cookie=mail          cookie         cookie         -
bearer=job auth=basic                        token          token          token
bearer=job auth=job-other-audience           token          token          token
header=ci bearer=job                         token_wrong    token_wrong    token_wrong
bearer=key-tenant bearer=job                 token_wrong    token_wrong    token_wrong

# cookies
cookie=mail                                  cookie         cookie         -
cookie=once-used                             cookie         cookie         -
cookie=older-key                             cookie         cookie         -
cookie=mail-past                             token_expired  token_expired  -
cookie=past                                  token_expired  token_expired  -
cookie=mail-gone                             token_revoked  token_revoked  -
cookie=no-secret                             token_revoked  token_revoked  -
cookie=old-generation                        token_revoked  token_revoked  -
cookie=next-generation                       token_revoked  token_revoked  -
cookie=other-port                            token_wrong    token_wrong    -
cookie=other-resource                        token_wrong    token_wrong    -
cookie=other-tenant                          token_wrong    token_wrong    -
cookie=future                                token_wrong    token_wrong    -
cookie=tampered                              token_wrong    token_wrong    -
cookie=truncated                             token_wrong    token_wrong    -
cookie=foreign-key                           token_wrong    token_wrong    -
cookie=withdrawn-key                         token_wrong    token_wrong    -
cookie=quoted                                token_wrong    token_wrong    -
cookie=huge                                  token_wrong    token_wrong    -
cookie=empty                                 token_wrong    token_wrong    -
cookie=tampered cookie=mail                  cookie         cookie         -
cookie=mail cookie=past                      cookie         cookie         -
cookie=other-port cookie=mail-gone           token_revoked  token_revoked  -

# cookies of who has signed in by the tenant's login
cookie=pass                                  cookie         cookie         -
cookie=pass-past                             token_expired  token_expired  -
cookie=pass-gone                             token_revoked  token_revoked  -
cookie=pass-old-generation                   token_revoked  token_revoked  -
header=ci-gone cookie=pass                   token_revoked  token_revoked  token_revoked
link=unknown cookie=pass                     token_wrong    token_wrong    token_wrong
cookie=session                               cookie         cookie         -
cookie=session-not-known-yet                 cookie         cookie         -
cookie=session-past                          token_expired  token_expired  -
cookie=session-cookie-past                   token_expired  token_expired  -
cookie=session-ended                         token_revoked  token_revoked  -
cookie=session-forgotten                     token_revoked  token_revoked  -
cookie=session-old-generation                token_revoked  token_revoked  -
cookie=session-other-port                    token_wrong    token_wrong    -
cookie=session-other-resource                token_wrong    token_wrong    -
cookie=session-other-tenant                  token_wrong    token_wrong    -
cookie=session-foreign-key                   token_wrong    token_wrong    -
cookie=session-ended cookie=mail             cookie         cookie         -
cookie=mail-gone cookie=session              cookie         cookie         -
header=unknown cookie=session                token_wrong    token_wrong    token_wrong

# several at once
header=ci query=ci                           token          token          token
header=ci bearer=ci                          token          token          token
header=ci header=ci                          token          token          token
header=ci bearer=mail                        token_wrong    token_wrong    token_wrong
header=ci header=unknown                     token_wrong    token_wrong    token_wrong
header=ci link=mail                          token_wrong    token_wrong    token_wrong
header=ci bearer=key-tenant                  token_wrong    token_wrong    token_wrong
header=ci bearer=jwt-tenant                  token_wrong    token_wrong    token_wrong
bearer=jwt-early cookie=mail                 token_wrong    token_wrong    token_wrong
header=unknown cookie=mail                   token_wrong    token_wrong    token_wrong
bearer=key-unknown cookie=mail               token_wrong    token_wrong    token_wrong
header=ci-past cookie=mail                   token_expired  token_expired  token_expired
header=ci-gone cookie=mail                   token_revoked  token_revoked  token_revoked
link=unknown cookie=mail                     token_wrong    token_wrong    token_wrong
header=ci cookie=tampered                    token          token          token
link=mail cookie=past                        link           link           token_wrong
header=ci auth=basic                         token          token          token
header=ci auth=foreign-jwt                   token          token          token
cookie=mail auth=basic                       cookie         cookie         -
cookie=mail auth=opaque                      cookie         cookie         -
link=mail auth=basic                         link           link           token_wrong
bearer=ci auth=basic                         token          token          token
"""

# A kind of request: its method, what a link is on it, what a link is that works once, and whether a cookie is enough.
# `-` in the last column: the edge answers it before it looks at anything.
KINDS_TABLE: Final = """
navigation           GET      exchanged  page         yes
navigation-head      HEAD     exchanged  page         yes
old-browser          GET      exchanged  page         yes
curl                 GET      exchanged  page         yes
bot                  GET      exchanged  page         yes
prefetch             GET      exchanged  page         yes
early                GET      exchanged  page         yes
frame                GET      exchanged  page         yes
script-same-origin   GET      in-place   token_wrong  yes
fetch-anonymous      GET      in-place   token_wrong  yes
fetch-credentials    GET      in-place   token_wrong  yes
image                GET      in-place   token_wrong  yes
event-stream         GET      in-place   token_wrong  yes
event-stream-cors    GET      in-place   token_wrong  yes
form                 POST     in-place   used-up      yes
form-cross-site      POST     in-place   used-up      no
form-early           POST     in-place   too_early    yes
post-same-origin     POST     in-place   token_wrong  yes
post-other-port      POST     in-place   token_wrong  yes
post-cross-site      POST     in-place   token_wrong  no
post-neighbour       POST     in-place   token_wrong  no
delete-no-origin     DELETE   in-place   token_wrong  no
options              OPTIONS  in-place   token_wrong  yes
websocket            GET      in-place   token_wrong  yes
websocket-cross      GET      in-place   token_wrong  no
websocket-program    GET      in-place   token_wrong  no
grpc                 POST     in-place   used-up      no
preflight            OPTIONS  -          -            -
"""

# What a preview's settings put before that, in this order, as two tables. First for who asks without anything that is, or
# was, worth something here (`-`, token_wrong), then for who would come in, or would be sent on.
#
#   as-is    what the other tables say
#   other    the code of the refusal
OPTIONS_TABLE: Final = """
#                    stranger             who would come in
plain                as-is                as-is
hide                 host_not_found       as-is
inside               as-is                as-is
outside              address_not_allowed  address_not_allowed
expired              preview_expired      preview_expired
hide-inside          host_not_found       as-is
hide-outside         host_not_found       host_not_found
hide-expired         host_not_found       preview_expired
told                 as-is                as-is
"""


@dataclass(frozen=True)
class Kind:
    name: str
    method: str
    link: str
    once: str
    by_cookie: str


@dataclass(frozen=True)
class Row:
    """One request, and what has to come of it: `open`, `exchanged`, `page`, `used-up`, `again`, `preflight`, or the code of a
    refusal."""

    visibility: str
    option: str
    way: tuple[tuple[str, str], ...]
    kind: Kind
    outcome: str

    def __str__(self) -> str:
        way = " ".join(f"{place}={thing}" for place, thing in self.way) or "nothing"
        return f"{self.visibility}, {self.option}: {way}, {self.kind.name}"


def _lines(table: str) -> Iterator[list[str]]:
    for line in table.splitlines():
        if line and not line.startswith("#"):
            yield line.split()


KINDS: Final = tuple(Kind(*words) for words in _lines(KINDS_TABLE))
OPTIONS: Final = {words[0]: (words[1], words[2]) for words in _lines(OPTIONS_TABLE)}
_WAYS: Final = [(tuple(words[:-3]), words[-3:]) for words in _lines(WAYS_TABLE)]

# Every kind where nothing but what is brought decides, and elsewhere those that could be treated differently.
_SOME_KINDS: Final = ("navigation", "form-cross-site", "websocket", "preflight")
_MORE_KINDS: Final = (*_SOME_KINDS, "event-stream", "fetch-credentials", "grpc")


def rows(visibility: str, option: str) -> list[Row]:
    """All rows of one preview."""
    some = _MORE_KINDS if option == "hide" else _SOME_KINDS
    kinds = [kind for kind in KINDS if (option, visibility != "public") == ("plain", True) or kind.name in some]
    made = []
    for words, worths in _WAYS:
        way = tuple((word.partition("=")[0], word.partition("=")[2]) for word in words if word != "nothing")
        worth = "open" if visibility == "public" else worths[VISIBILITIES.index(visibility) - 1]
        link = any(place == "link" and thing != "empty" for place, thing in way)
        made += [
            Row(visibility, option, way, kind, _outcome(visibility, option, worth, kind, link=link)) for kind in kinds
        ]
    return made


def _outcome(visibility: str, option: str, worth: str, kind: Kind, *, link: bool) -> str:
    hide = option.startswith("hide")
    before, who_may = OPTIONS[option]
    if visibility == "public":  # everybody would come in, and who is kept out by the address or the time hears it so
        outcome = "open" if who_may == "as-is" else who_may
        if kind.name == "preflight" and outcome not in ("open", "host_not_found"):
            return "preflight"
        return "again" if outcome == "open" and link and kind.link == "exchanged" else outcome
    if kind.name == "preflight":
        return "host_not_found" if hide else "preflight"
    if not hide and who_may != "as-is":
        return who_may
    outcome = _of_kind(worth, kind)
    if outcome in ("token_missing", "token_wrong"):
        return outcome if before == "as-is" else before
    came_in = outcome in ("open", "exchanged", "page", "used-up", "again")
    if who_may == "host_not_found" or (came_in and who_may != "as-is"):
        return who_may
    return outcome


def _of_kind(worth: str, kind: Kind) -> str:
    if worth == "-":
        return "token_missing"
    if worth == "token":
        return "open"
    if worth == "link":
        return "exchanged" if kind.link == "exchanged" else "open"
    if worth == "cookie":
        return "open" if kind.by_cookie == "yes" else "origin_not_allowed"
    if worth in ("used", "again"):
        if kind.once == "token_wrong":
            return "token_wrong"
        return "token_revoked" if worth == "used" else "again"
    return kind.once if worth == "once" else worth
