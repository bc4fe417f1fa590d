"""Verifies tokens of CI systems by the rules of a tenant. Only the control process does: workers ask it.

A token is right where its issuer has signed it for the audience of a rule, it is valid now and not for longer than a day, and
its claims are what the rule says. Of one tenant only a few are verified at the same time, so that one whose issuers are slow
keeps no other's waiting.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from router.access.ci_tokens import CiOutcome, CiVerdict, audiences_of, stated_origin
from router.base.clock import Clock
from router.outbound.identity_providers import (
    LEEWAY,
    ExpiredIdentityTokenError,
    Providers,
    WrongTokenError,
    instant,
)
from router.outbound.provider_http import ProviderUnavailableError
from router.tenancy.trusted_issuers import TrustedIssuers

_LONGEST: Final = 86400.0  # seconds for which a token may be valid from now on
_MAX_OF_TENANT: Final = 8  # that are verified at once
_MAX_SUBJECT: Final = 1000  # characters
_WRONG: Final = CiVerdict(CiOutcome.WRONG)
_UNAVAILABLE: Final = CiVerdict(CiOutcome.UNAVAILABLE)


class CiTokens:
    """See the module."""

    def __init__(self, issuers: TrustedIssuers, providers: Providers, clock: Clock) -> None:
        self._issuers = issuers
        self._providers = providers
        self._clock = clock
        self._under_way: Counter[str] = Counter()

    async def verify(self, tenant_id: str, token: str) -> CiVerdict:
        """What a token is worth, by the rules as they are now. Raises StoreUnavailableError."""
        stated = stated_origin(token.encode("latin-1", "replace"))
        if stated is None:
            return _WRONG
        issuer, audiences = stated
        rules = [rule for rule in await self._issuers.of_issuer(tenant_id, issuer) if rule.audience in audiences]
        if not rules:
            return _WRONG
        if self._under_way[tenant_id] >= _MAX_OF_TENANT:
            return _UNAVAILABLE
        self._under_way[tenant_id] += 1
        try:
            claims = await self._providers.verify(issuer, token, [rule.audience for rule in rules])
            outcome = CiOutcome.ACCEPTED
        except ExpiredIdentityTokenError as error:
            claims, outcome = error.claims, CiOutcome.EXPIRED
        except WrongTokenError:
            return _WRONG
        except ProviderUnavailableError:
            return _UNAVAILABLE
        finally:
            self._under_way[tenant_id] -= 1
            if not self._under_way[tenant_id]:
                del self._under_way[tenant_id]
        until = instant(claims, "exp") + LEEWAY
        if until > self._clock.now().timestamp() + _LONGEST + LEEWAY:
            return _WRONG
        said = audiences_of(claims.get("aud"))
        met = tuple((rule.id, rule.generation) for rule in rules if rule.is_met_by(claims, said))
        return CiVerdict(outcome, met, _subject(claims), until) if met else _WRONG


def _subject(claims: Mapping[str, Any]) -> str:
    """Whom a token is about; nobody where that can't be told in a header."""
    subject = claims.get("sub")
    return subject if isinstance(subject, str) and len(subject) <= _MAX_SUBJECT and subject.isprintable() else ""
