"""What is derived from a route's policy once, and asked by every request to it."""

import hashlib
import ipaddress
from collections.abc import Collection
from typing import Final

from router.access.ci_tokens import stated_origin
from router.base.addresses import Network
from router.hostname import InvalidHostError, host_meanings, parse_host
from router.routes.policies import AccessIssuer, AccessPolicy, AccessSecret, Cors, SecretKind, Visibility
from router.routes.records import ResourceRecord
from router.routes.route import Route, cookie_scope

_MAX_ADDRESSES: Final = 4096  # visitors whose addresses are remembered


class AccessRules:
    """The policy of one host: the port that it leads to, and what to look up in it.

    `visibility`, `login`, `hide`, `identity`, `generation`, `until` and `cors` are the policy's. `restricted`: not everybody
    may come in. `secrets` are the policy's by their hashes, `secrets_by_id` by their ids. `password` is the one that is set; it
    may have expired. `issuers` are the rules about tokens of CI systems.
    """

    def __init__(self, route: Route, policy: AccessPolicy, resource: ResourceRecord, shared: Collection[str]) -> None:
        """`shared` are the zones that one party has to itself (`cookie_zones`)."""
        self.policy = policy
        self.resource_id = resource.id
        self.tenant_id = resource.tenant_id
        self.tenant_slug = policy.tenant
        self.workspace_id = resource.workspace_id
        self.project_id = resource.project_id
        self.port: int = route.port or 0
        self.public = policy.visibility is Visibility.PUBLIC
        self.programs_only = policy.visibility is Visibility.KEY
        self.restricted = not self.public or bool(policy.networks)
        self.whole_tenant = policy.visibility is Visibility.TENANT
        self.login = policy.login
        self.hide = policy.hide
        self.identity = policy.identity
        self.generation = policy.generation
        self.until = float("inf") if policy.until is None else policy.until
        self.passes_preflights = self.public and policy.cors is Cors.PASSTHROUGH
        self.cors = policy.cors
        known = [secret for secret in policy.secrets if secret.kind is not SecretKind.UNKNOWN]
        self.secrets: dict[str, AccessSecret] = {
            secret.digest: secret for secret in known if secret.kind is not SecretKind.PASSWORD
        }
        self.secrets_by_id: dict[str, AccessSecret] = {secret.id: secret for secret in known}
        self.password: AccessSecret | None = _password(known)
        self.issuers = () if self.public else policy.issuers
        # The same for all hosts that the same rules open: what a token is worth is remembered by it.
        self.issuers_mark = _mark_of(resource.tenant_id, self.issuers)
        self._origins = frozenset(origin.lower().encode("ascii", "replace") for origin in policy.origins)
        # Whether it depends on nothing but what a request brings who may come in.
        self.by_credential = not policy.networks and policy.cors is Cors.PASSTHROUGH and not self.public
        # Whether everybody may come in, without a look at anything but what must not reach the program.
        plain = policy.until is None and policy.cors is Cors.PASSTHROUGH and not policy.identity
        self.open = self.public and not policy.networks and plain
        self._any_address = not policy.networks
        self._networks = [network for network in map(_network, policy.networks) if network is not None]
        self._addresses: dict[str, bool] = {}
        self.host = route.host
        self._slug = resource.slug
        self._zone = route.decision.zone
        scope = cookie_scope(route, shared)
        self._scope = None if scope is None else scope.decode("ascii")

    def takes_address(self, client: str) -> bool:
        """Whether visitors may come from that address, in canonical form."""
        if self._any_address:
            return True
        known = self._addresses.get(client)
        if known is None:
            if len(self._addresses) >= _MAX_ADDRESSES:
                self._addresses.clear()
            known = self._addresses[client] = _within(client, self._networks)
        return known

    def until_for(self, secret_id: str) -> float:
        """Until when who came in by a secret may stay, or by none of this policy's: as the policy says now."""
        secret = self.secrets_by_id.get(secret_id)
        return self.until if secret is None or secret.until is None else min(self.until, secret.until)

    def trusted_in(self, token: bytes) -> bool:
        """Whether a token says that it is one that there is a rule for. Any other belongs to the program."""
        stated = stated_origin(token) if self.issuers else None
        if stated is None:
            return False
        issuer, audiences = stated
        return any(rule.issuer == issuer and rule.audience in audiences for rule in self.issuers)

    def is_listed(self, origin: bytes) -> bool:
        """Whether an origin is one of the policy's list."""
        return origin.lower() in self._origins

    def is_same_party(self, origin: bytes | None, site: bytes | None, *, secure: bool) -> bool:
        """Whether a request was sent by a page of who owns this host, by its `Origin` and its `Sec-Fetch-Site`.

        That is: a page of this host, of another port of the same resource, or of the same registered domain where that is
        its owner's. Browsers call two neighbours under the platform's domain or under a preview domain the same site, as
        long as that is not on the Public Suffix List; they are strangers all the same. `secure`: the request came by https,
        so that a page that did not can be anybody's on the way.
        """
        if site is not None:
            word = site.lower()
            if word in (b"same-origin", b"none") or (word == b"same-site" and self._scope is None):
                return True
        if origin is None:
            return False
        host = origin_host(origin, secure=secure)
        if host is None:
            return False
        if host == self.host:
            return True
        if self._scope is not None and self._scope != self.host and f".{host}".endswith(f".{self._scope}"):
            return True
        return self._zone is not None and any(
            meaning.slug == self._slug and meaning.zone == self._zone for meaning in host_meanings(host)
        )


def _password(secrets: Collection[AccessSecret]) -> AccessSecret | None:
    return next((one for one in secrets if one.kind is SecretKind.PASSWORD and not one.revoked), None)


def _mark_of(tenant_id: str, issuers: tuple[AccessIssuer, ...]) -> bytes:
    if not issuers:
        return b""
    rules = " ".join(f"{rule.id}.{rule.generation}" for rule in issuers)
    return hashlib.sha256(f"{tenant_id} {rules}".encode()).digest()


def origin_host(origin: bytes, *, secure: bool) -> str | None:
    """The canonical host of an Origin; None where it has none. `secure`: it has to be of https."""
    scheme, mark, host = origin.partition(b"://")
    if not mark or scheme.lower() not in ((b"https",) if secure else (b"https", b"http")):
        return None
    try:
        return parse_host(host)
    except InvalidHostError:
        return None


def _network(text: str) -> Network | None:
    """None where it is none: then it has nobody's address in it."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _within(client: str, networks: list[Network]) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    return any(address in network for network in networks)
