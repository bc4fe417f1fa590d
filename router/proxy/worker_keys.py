"""What one worker knows of keys and sessions: API keys, JSON Web Tokens, keys that sign cookies or who visitors are, and what
let somebody in."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from router.access.tokens import Claims, EarlyTokenError, ExpiredTokenError, InvalidTokenError, VerifiedTokens
from router.access.visitors import Visitors
from router.base.clock import Clock
from router.proxy.ci_token_cache import CiTokenCache
from router.proxy.identity import IdentityKeys
from router.proxy.record_cache import RecordCache
from router.proxy.secret_uses import SecretUses
from router.proxy.signing_key_cache import SigningKeyCache
from router.routes.records import KeyRecord, SessionRecord, SigningKeysRecord

if TYPE_CHECKING:
    from router.access.identity_signer import IdentitySigner


class WorkerKeys:
    """access.keys.AccessKeys. `tokens` is None where no JSON Web Token is accepted."""

    def __init__(
        self,
        *,
        api_keys: RecordCache[KeyRecord],
        sessions: RecordCache[SessionRecord],
        signing_keys: SigningKeyCache,
        identity_keys: IdentityKeys,
        tokens: VerifiedTokens | None,
        uses: SecretUses,
        visitors: Visitors,
        clock: Clock,
    ) -> None:
        self._api_keys = api_keys
        self._sessions = sessions
        self._signing_keys = signing_keys
        self._identity_keys = identity_keys
        self._tokens = tokens
        self.visitors = visitors
        self._ci_tokens = CiTokenCache(visitors, clock)
        self.peek_ci = self._ci_tokens.peek
        self.verify_ci = self._ci_tokens.resolve
        self.uses = uses
        self.peek = api_keys.peek
        self.resolve = api_keys.resolve
        self.peek_session = sessions.peek
        self.resolve_session = sessions.resolve
        self.ready = signing_keys.ready
        self.identity_ready = identity_keys.ready
        self.note_use = uses.note

    @property
    def signing(self) -> SigningKeysRecord | None:
        return self._signing_keys.record

    @property
    def identity(self) -> "IdentitySigner | None":
        return self._identity_keys.signer

    def on_drop(self, listener: Callable[[str], None]) -> None:
        self._api_keys.on_drop(listener)
        self._sessions.on_drop(listener)

    def verify_jwt(self, token: str) -> Claims | None:
        if self._tokens is None:
            return None
        try:
            return self._tokens.verify(token)
        except (EarlyTokenError, ExpiredTokenError):
            raise
        except InvalidTokenError:
            return None

    def start(self) -> None:
        """Begin to read the keys that sign cookies."""
        self._signing_keys.start()

    def drop(self, keys: Iterable[str]) -> None:
        """The records under these keys have changed."""
        keys = tuple(keys)
        self._api_keys.drop(keys)
        self._sessions.drop(keys)
        self._signing_keys.drop(keys)
        self._identity_keys.drop(keys)

    def drop_all(self) -> None:
        """Changes may have been missed."""
        self._api_keys.drop_all()
        self._sessions.drop_all()
        self._signing_keys.drop_all()
        self._identity_keys.drop_all()

    async def close(self) -> None:
        """End what is being read."""
        await self._api_keys.close()
        await self._sessions.close()
        await self._signing_keys.close()
        await self._identity_keys.close()
        await self._ci_tokens.close()
