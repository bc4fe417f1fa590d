"""Proof: whose a name is, as far as its DNS shows. A table, and what has to be known for it.

A CNAME to a target that all tenants share says that the name's owner wants it here. It does not say which tenant that
owner is. So there are two kinds of records:

    own       the TXT token at `_miosa-challenge.<name>`, or a CNAME to `<token>.<target>`: published for one tenant's
              registration of one name, whose token no other tenant is given
    shared    a CNAME to the target itself, its addresses, or a target of another name of the same tenant

A proof of one's own is always enough. Shared records are enough where no other tenant could be meant: no rule of `RULES`
applies. Only a domain that is not verified yet (or no longer) is judged: what another tenant claims without a proof takes
nothing down. The tenant that proves a claim has the name at once (`transfers.py`).
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from router.domains.claims import LET_GO_TIME
from router.domains.names import enclosing, registered_domain
from router.domains.transaction import Tx


class Need(enum.StrEnum):
    """Why a proof of one's own is needed: public codes."""

    ANOTHERS_TARGET = "leads_to_another_account"
    CLAIMED = "claimed_by_another_account"
    RECENT = "recently_held_by_another_account"
    AROUND = "inside_another_accounts_domain"
    DOMAIN = "domain_used_by_another_account"
    WILDCARD = "wildcard_record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What DNS shows of a name that leads to us.

    `own` is whether a proof of one's own is there, `names` the name and the aliases on its way that are not ours,
    `tokens` those of targets on its way that are some other registration's own, `wildcard` whether a wildcard record gave
    one of the answers.
    """

    own: bool
    names: tuple[str, ...]
    tokens: tuple[str, ...] = ()
    wildcard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """What other tenants have to do with a name: `target`, it leads to a target of theirs; `claimed`, they have an open
    claim to it; `recent`, they had it within the last 30 days; `around`, they have or had a preview domain around it;
    `domain`, any of these with a name of the same registered domain as it or an alias on its way. `own_zone` is that the
    tenant itself has a verified preview domain around it: what a wildcard there gives was meant for this tenant."""

    target: bool = False
    claimed: bool = False
    recent: bool = False
    around: bool = False
    domain: bool = False
    own_zone: bool = False


NONE = Others()

# The first that applies is told.
RULES: tuple[tuple[Need, Callable[[Evidence, Others], bool]], ...] = (
    (Need.ANOTHERS_TARGET, lambda _, others: others.target),
    (Need.CLAIMED, lambda _, others: others.claimed),
    (Need.RECENT, lambda _, others: others.recent),
    (Need.AROUND, lambda _, others: others.around),
    (Need.DOMAIN, lambda _, others: others.domain),
    (Need.WILDCARD, lambda evidence, others: evidence.wildcard and not others.own_zone),
)

_WHY: Mapping[Need, str] = MappingProxyType(
    {
        Need.ANOTHERS_TARGET: "it leads to a record that was given to another account or for another name",
        Need.CLAIMED: "another account wants it too",
        Need.RECENT: "another account had it within the last 30 days",
        Need.AROUND: "it lies inside a preview domain that another account has, or had within the last 30 days",
        Need.DOMAIN: "another account has, or had within the last 30 days, a name of the same domain",
        Need.WILDCARD: "a wildcard record answers for it, which says nothing about this name",
    }
)


def needed(evidence: Evidence, others: Others) -> Need | None:
    """Why what the records show is not enough; None where it is."""
    if evidence.own:
        return None
    return next((need for need, applies in RULES if applies(evidence, others)), None)


def why(need: Need) -> str:
    """Half a sentence for its owner. It does not say who the other account is, nor which name of theirs."""
    return _WHY[need]


async def others_of(tx: Tx, evidence: Evidence, tenant_id: str, now: datetime) -> Others:
    """What other tenants have to do with the name, the first of `evidence.names`."""
    custom, zones, claims = tx.custom_domains, tx.preview_domains, tx.claims
    since, name = now - LET_GO_TIME, evidence.names[0]
    above = enclosing(name)
    domains = {registered_domain(one) for one in evidence.names}
    tokens = frozenset(evidence.tokens)
    return Others(
        target=bool(tokens - await custom.own_tokens(tokens, tenant_id) - await zones.own_tokens(tokens, tenant_id)),
        claimed=await claims.foreign(name, tenant_id, now),
        recent=bool(await custom.released([name], tenant_id, since) or await zones.released([name], tenant_id, since)),
        around=bool(await zones.foreign(above, tenant_id) or await zones.released(above, tenant_id, since)),
        domain=await custom.foreign_of(domains, tenant_id)
        or await zones.foreign_of(domains, tenant_id)
        or await claims.foreign_of(domains, tenant_id, now)
        or await custom.released_of(domains, tenant_id, since)
        or await zones.released_of(domains, tenant_id, since),
        # An alias on the way leads out of the zone, to where another owner's wildcard may answer.
        own_zone=len(evidence.names) == 1 and await zones.has_verified(above, tenant_id),
    )


async def need_of(tx: Tx, evidence: Evidence, tenant_id: str, now: datetime) -> Need | None:
    """As `needed`, with what the store knows."""
    if evidence.own:
        return None
    return needed(evidence, await others_of(tx, evidence, tenant_id, now))
