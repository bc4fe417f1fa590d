"""What one worker knows of keys: API keys, JSON Web Tokens, those that sign cookies, and who was let in by which."""

from collections.abc import Iterable

from router.access.tokens import Claims, EarlyTokenError, ExpiredTokenError, InvalidTokenError, VerifiedTokens
from router.access.visitors import Visitors
from router.proxy.key_cache import KeyCache
from router.proxy.secret_uses import SecretUses
from router.proxy.signing_key_cache import SigningKeyCache
from router.routes.records import SigningKeysRecord


class WorkerKeys:
    """access.keys.AccessKeys. `tokens` is None where no JSON Web Token is accepted."""

    def __init__(
        self,
        *,
        api_keys: KeyCache,
        signing_keys: SigningKeyCache,
        tokens: VerifiedTokens | None,
        uses: SecretUses,
        visitors: Visitors,
    ) -> None:
        self._api_keys = api_keys
        self._signing_keys = signing_keys
        self._tokens = tokens
        self.visitors = visitors
        self.uses = uses
        self.peek = api_keys.peek
        self.resolve = api_keys.resolve
        self.on_drop = api_keys.on_drop
        self.ready = signing_keys.ready
        self.note_use = uses.note

    @property
    def signing(self) -> SigningKeysRecord | None:
        return self._signing_keys.record

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
        """Begin to read the signing keys."""
        self._signing_keys.start()

    def drop(self, keys: Iterable[str]) -> None:
        """The records under these keys have changed."""
        keys = tuple(keys)
        self._api_keys.drop(keys)
        self._signing_keys.drop(keys)

    def drop_all(self) -> None:
        """Changes may have been missed."""
        self._api_keys.drop_all()
        self._signing_keys.drop_all()

    async def close(self) -> None:
        """End what is being read."""
        await self._api_keys.close()
        await self._signing_keys.close()
