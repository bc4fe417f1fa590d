"""Who may open the ports of a resource, out of its rows and its tenant's."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from router.routes.policies import (
    OTHER_PORTS,
    AccessIssuer,
    AccessPolicy,
    AccessSecret,
    Cors,
    SecretKind,
    Visibility,
    secret_kind,
)

_TEXTS = frozenset((SecretKind.PROGRAM, SecretKind.LINK, SecretKind.ONCE))  # that visitors bring as they are


def policies_of(
    resource: Any, previews: Sequence[Any], secrets: Sequence[Any], issuers: Sequence[Any]
) -> Mapping[int, AccessPolicy]:
    """The policies by port, as the resource's record has them; nothing where everybody may open everything.

    The rows are the resource's with its tenant's `tenant_slug`, `default_visibility` and `has_login`, its previews', and
    those of all secrets that open any of them; `issuers` are those of the CI systems that its tenant trusts.
    """
    trusted = tuple(
        AccessIssuer(row.id, row.issuer, row.audience, row.generation) for row in issuers if _is_for(row, resource)
    )
    usual = visibility_of(resource.visibility or resource.default_visibility)
    opening: dict[str | None, tuple[AccessSecret, ...]] = {}
    for row in secrets:
        opening[row.preview_id] = (*opening.get(row.preview_id, ()), _secret(row))
    of_all = opening.get(None, ())
    found = {
        OTHER_PORTS: AccessPolicy(
            usual,
            tenant=resource.tenant_slug,
            secrets=_opening(usual, (), of_all),
            login=_takes_login(resource, usual),
            issuers=() if usual is Visibility.PUBLIC else trusted,
            identity=resource.identity,
        )
    }
    for preview in previews:
        visibility = own_visibility(preview) or usual
        found[preview.port] = AccessPolicy(
            visibility,
            generation=preview.generation,
            tenant=resource.tenant_slug,
            secrets=_opening(visibility, opening.get(preview.id, ()), of_all, hide=preview.hide),
            networks=tuple(preview.networks),
            until=_epoch(preview.expires_at),
            hide=preview.hide,
            cors=Cors(preview.cors),
            origins=tuple(preview.cors_origins),
            login=_takes_login(resource, visibility),
            issuers=() if visibility is Visibility.PUBLIC else trusted,
            identity=resource.identity if preview.identity is None else preview.identity,
        )
    if found[OTHER_PORTS].restricts:
        return found  # those that don't restrict are exceptions to it
    return {port: policy for port, policy in found.items() if policy.restricts}


def is_public(resource: Any, previews: Sequence[Any]) -> bool:
    """Whether everybody may open all of it, whoever its tenant trusts. The rows are as `policies_of` takes them."""
    usual = visibility_of(resource.visibility or resource.default_visibility)
    return {usual, *(own_visibility(preview) or usual for preview in previews)} == {Visibility.PUBLIC}


def own_visibility(preview: Any) -> Visibility | None:
    """What a preview's row says of itself; None where it says nothing."""
    if preview.visibility == Visibility.PUBLIC and not preview.always_public:
        return None
    return visibility_of(preview.visibility)


def visibility_of(text: str) -> Visibility:
    """A stored visibility. What a newer version of ours has stored that this one does not know opens nothing to strangers."""
    try:
        return Visibility(text)
    except ValueError:
        return Visibility.PRIVATE


def _opening(
    visibility: Visibility, own: tuple[AccessSecret, ...], of_all: tuple[AccessSecret, ...], *, hide: bool = False
) -> tuple[AccessSecret, ...]:
    """Those that a policy has: its preview's own, and those of the resource as a whole. A public port's are what its program
    must not learn: what still opens other ports, or opened this one while it was private, and does once it is again.

    Its own password takes the place of the resource's. Programs type none, and who is hidden from is asked for none.
    """
    if visibility is Visibility.PUBLIC:
        return tuple(secret for secret in own + of_all if secret.kind in _TEXTS and not secret.revoked)
    if hide or visibility is Visibility.KEY:
        return tuple(one for one in own + of_all if one.kind is not SecretKind.PASSWORD)
    if any(map(_is_password, own)):
        of_all = tuple(one for one in of_all if not _is_password(one))
    return own + of_all


def _is_password(secret: AccessSecret) -> bool:
    return secret.kind is SecretKind.PASSWORD and not secret.revoked


def _takes_login(resource: Any, visibility: Visibility) -> bool:
    return bool(resource.has_login) and visibility in (Visibility.PRIVATE, Visibility.TENANT)


def _is_for(issuer: Any, resource: Any) -> bool:
    """Whether a rule is for everything, or for where the resource is."""
    if issuer.project_id is not None:
        return bool(issuer.project_id == resource.project_id)
    return issuer.workspace_id is None or issuer.workspace_id == resource.workspace_id


def _secret(row: Any) -> AccessSecret:
    kind = secret_kind(row.kind)
    return AccessSecret(
        row.id,
        kind,
        "" if kind is SecretKind.PASSWORD else row.digest,
        _epoch(row.expires_at),
        revoked=row.revoked_at is not None,
        used=row.used_at is not None,
    )


def _epoch(instant: datetime | str | None) -> float | None:
    """Seconds of the epoch. What PostgreSQL puts into JSON is a text, with its offset."""
    if isinstance(instant, str):
        instant = datetime.fromisoformat(instant)
    return None if instant is None else instant.timestamp()
