"""How the policies of a resource's ports are kept in its record: a part of the JSON that `encoding.py` writes."""

from collections.abc import Mapping, Sequence
from sys import intern
from typing import Any

from router.routes.policies import (
    AccessIssuer,
    AccessPolicy,
    AccessSecret,
    Cors,
    PolicyByPort,
    Visibility,
    secret_kind,
)


def fields_of_policies(policies: PolicyByPort) -> dict[str, Any]:
    """What a resource's record has of them. Each secret and each issuer once: one of a whole resource opens all of up to 256 ports. Policies name them by their
    places."""
    places: dict[AccessSecret, int] = {}
    issuers: dict[AccessIssuer, int] = {}
    by_port = {port: _of_policy(policy, places, issuers) for port, policy in policies.items()}
    secrets = [[one.id, one.kind, one.digest, one.until, one.revoked, one.used] for one in places]
    trusted = [[one.id, one.issuer, one.audience, one.generation] for one in issuers]
    return {"policies": by_port, "secrets": secrets, "issuers": trusted}


def policies_in(fields: Mapping[str, Any]) -> dict[str, AccessPolicy]:
    """What `fields_of_policies` was given, among the fields of a record. Raises ValueError, LookupError, TypeError or
    AttributeError where these are not ours."""
    secrets = [_secret(*one) for one in fields.get("secrets", ())]
    issuers = [_issuer(*one) for one in fields.get("issuers", ())]
    return {port: _policy(said, secrets, issuers) for port, said in fields.get("policies", {}).items()}


def _of_policy(
    policy: AccessPolicy, places: dict[AccessSecret, int], issuers: dict[AccessIssuer, int]
) -> dict[str, Any]:
    secrets = [places.setdefault(one, len(places)) for one in policy.secrets]
    fields: dict[str, Any] = {"visibility": policy.visibility, "generation": policy.generation, "tenant": policy.tenant}
    seldom = {
        "secrets": secrets,
        "networks": policy.networks,
        "hide": policy.hide,
        "cors": None if policy.cors is Cors.PASSTHROUGH else policy.cors,
        "origins": policy.origins,
        "login": policy.login,
        "issuers": [issuers.setdefault(one, len(issuers)) for one in policy.issuers],
        "identity": policy.identity,
    }
    if policy.until is not None:
        fields["until"] = policy.until
    return fields | {name: value for name, value in seldom.items() if value}


def _policy(
    fields: Mapping[str, Any], secrets: Sequence[AccessSecret], issuers: Sequence[AccessIssuer]
) -> AccessPolicy:
    return AccessPolicy(
        visibility=Visibility(fields["visibility"]),
        generation=fields["generation"],
        tenant=intern(fields["tenant"]),
        secrets=tuple(secrets[place] for place in fields.get("secrets", ())),
        networks=tuple(map(str, fields.get("networks", ()))),
        until=fields.get("until"),
        hide=fields.get("hide", False) is True,
        cors=Cors(fields.get("cors", Cors.PASSTHROUGH)),
        origins=tuple(map(str, fields.get("origins", ()))),
        login=fields.get("login", False) is True,
        issuers=tuple(issuers[place] for place in fields.get("issuers", ())),
        identity=fields.get("identity", False) is True,
    )


def _secret(
    secret_id: str, kind: str, digest: str, until: float | None, revoked: object, used: object = False, *_: object
) -> AccessSecret:
    # What is not plainly false is a revocation: a mistake here must not open anything.
    return AccessSecret(secret_id, secret_kind(kind), digest, until, revoked is not False, used is not False)


def _issuer(issuer_id: str, issuer: str, audience: str, generation: int, *_: object) -> AccessIssuer:
    return AccessIssuer(issuer_id, intern(issuer), intern(audience), int(generation))
