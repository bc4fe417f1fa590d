"""What a JSON Web Token of ours says, and the tokens that visitors bring to previews: each is verified once.

`token_verifier.py` verifies them. It is apart because its libraries take 14 MB in every worker, which only those need that
have keys for tokens.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from router.base.clock import Clock

_MAX_TOKEN = 4096  # characters of one that opens a preview: it comes with every request
_MAX_REMEMBERED = 4096


class InvalidTokenError(Exception):
    """A token that is not accepted. `str()` says why, for the log; the client gets a 401 without the reason."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What an accepted token says. `scope` is not interpreted yet (`base.key_scopes.read_scope` does); from `until` on, in
    seconds of the epoch and with the leeway, it is accepted no more."""

    subject: str
    tenant: str
    scope: str
    until: float


class EarlyTokenError(InvalidTokenError):
    """A token of ours that is not accepted yet: the clock of who issued it may be ahead."""


class ExpiredTokenError(InvalidTokenError):
    """A token that was accepted until it expired. `claims` are what it said: only who could have come in by it is told more
    than that it is wrong."""

    def __init__(self, claims: Claims) -> None:
        super().__init__("expired")
        self.claims = claims


class VerifiedTokens:
    """The tokens of visitors: a signature is verified once, and its result remembered by the token's hash until the token
    expires. That one is none of ours is remembered too: a program's own tokens come with every request of its pages. Whoever
    makes up tokens only makes us forget some of those.

    At most `most` of either kind are remembered, of ours those that were used last.
    """

    def __init__(self, verify: Callable[[str], Claims], clock: Clock, *, most: int = _MAX_REMEMBERED) -> None:
        self._verify = verify
        self._clock = clock
        self._most = most
        self._known: OrderedDict[bytes, Claims] = OrderedDict()
        self._refused: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._known)

    def verify(self, token: str) -> Claims:
        """The claims of a valid token. Raises InvalidTokenError, as ExpiredTokenError where it was valid once."""
        if len(token) > _MAX_TOKEN:
            raise InvalidTokenError("too long")
        if not token.isascii():
            raise InvalidTokenError("not ASCII")
        digest = hashlib.sha256(token.encode("ascii")).digest()
        claims = self._known.get(digest)
        if claims is None:
            if digest in self._refused:
                raise InvalidTokenError("refused before")
            try:
                claims = self._verify(token)
            except (EarlyTokenError, ExpiredTokenError):
                raise
            except InvalidTokenError:
                if len(self._refused) >= self._most:
                    self._refused.clear()
                self._refused.add(digest)
                raise
            if len(self._known) >= self._most:
                self._known.popitem(last=False)
            self._known[digest] = claims
            return claims
        if self._clock.now().timestamp() >= claims.until:
            del self._known[digest]
            raise ExpiredTokenError(claims)
        self._known.move_to_end(digest)
        return claims
