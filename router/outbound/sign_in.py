"""Signing in at an identity provider (OpenID Connect Core 1.0): the way there, and who has come back.

Authorization code with PKCE by S256 (RFC 7636), state and nonce, whether or not the client has a secret. What the provider
says about itself, and the signature of its tokens, is for `identity_providers.py`; what an ID token has to say beyond that
(section 3.1.3.7) is looked at here.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import jwt

from router.outbound.identity_providers import Metadata, Providers, WrongTokenError
from router.outbound.provider_http import ProviderHttp, ProviderResponse, ProviderUnavailableError

_MAX_TOKEN: Final = 16 * 1024  # characters of an access token
_MAX_SUBJECT: Final = 255  # characters (section 2)
_MAX_EMAIL: Final = 320
_MAX_GROUPS: Final = 200
_MAX_GROUP: Final = 255  # characters of one
# Of RFC 6749 §5.2, those that say that the provider was told something else about this client than we were.
_REFUSALS: Final = frozenset({"invalid_client", "unauthorized_client", "invalid_request", "unsupported_grant_type"})


class SignInFailedError(Exception):
    """What a visitor came back with is no proof of who they are. `str()` says why, for the log, with no secret in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What was registered with a provider. `secret` is empty for a public client. `groups_claim` names the claim that has
    somebody's groups, and is empty where nobody asks for them."""

    issuer: str
    client_id: str
    secret: str = field(default="", repr=False)
    groups_claim: str = "groups"
    redirect_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What one sign-in is known by again, made at its start. `verifier` never leaves us before the end."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who has signed in: `subject` is the provider's own name for them, `email` None unless the provider has verified it."""

    subject: str
    email: str | None = None
    groups: tuple[str, ...] = ()


def new_proofs() -> Proofs:
    """For one sign-in."""
    return Proofs(state=secrets.token_urlsafe(32), nonce=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(48))


class SignIn:
    """Raises ProviderUnavailableError where the provider is down, slow, or says what must not be believed."""

    def __init__(self, http: ProviderHttp, providers: Providers) -> None:
        self._http = http
        self._providers = providers

    async def begin(self, client: Client, proofs: Proofs, *, anew: bool = False) -> str:
        """Where to send a visitor. `anew`: the provider is to ask who they are, although it may know."""
        metadata = await self._providers.metadata(client.issuer)
        endpoint = _endpoint(metadata, "authorization_endpoint")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(proofs.verifier.encode("ascii")).digest()).rstrip(b"=")
        query = urlencode(
            {
                "response_type": "code",
                "client_id": client.client_id,
                "redirect_uri": client.redirect_uri,
                "scope": "openid email profile",
                "state": proofs.state,
                "nonce": proofs.nonce,
                "code_challenge": challenge.decode("ascii"),
                "code_challenge_method": "S256",
            }
        )
        query += "&prompt=login" if anew else ""
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def finish(self, client: Client, proofs: Proofs, code: str, *, issuer: str | None = None) -> Identity:
        """Who has come back with `code`, by the word of `issuer`, where they said so (RFC 9207): nobody can be sent back with
        another provider's code. Raises SignInFailedError too."""
        metadata = await self._providers.metadata(client.issuer)
        if issuer != client.issuer and (issuer is not None or metadata.names_itself):
            raise SignInFailedError("the response is not the provider's")
        tokens = await self._redeem(metadata, client, proofs, code)
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token", "")
        if not isinstance(id_token, str):
            raise ProviderUnavailableError("it gave no ID token", lies=True)
        if not isinstance(access_token, str) or len(access_token) > _MAX_TOKEN or not _may_be_sent(access_token):
            raise ProviderUnavailableError("its access token can't be used", lies=True)
        try:
            claims = await self._providers.verify(client.issuer, id_token, [client.client_id])
        except WrongTokenError as error:
            raise SignInFailedError(f"the ID token is wrong: {error}") from None
        subject = _check(claims, client.client_id, proofs.nonce)
        _check_access_token(claims, id_token, access_token)
        identity = _identity(subject, claims, client.groups_claim)
        whole = identity.email and (identity.groups or not client.groups_claim)
        if whole or not access_token or "userinfo_endpoint" not in metadata.endpoints:
            return identity
        more = await self._userinfo(metadata, subject, access_token, client.groups_claim)
        return Identity(subject=subject, email=identity.email or more.email, groups=identity.groups or more.groups)

    async def _redeem(self, metadata: Metadata, client: Client, proofs: Proofs, code: str) -> Mapping[str, Any]:
        """Exchange the code for tokens (RFC 6749 §4.1.3)."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": proofs.verifier,
        }
        headers: dict[str, str] = {}
        methods = metadata.token_auth_methods
        if not client.secret:
            form["client_id"] = client.client_id
        elif "client_secret_post" in methods and "client_secret_basic" not in methods:
            form |= {"client_id": client.client_id, "client_secret": client.secret}
        else:  # each half is encoded as a form's values are (§2.3.1)
            pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode('ascii')).decode('ascii')}"
        response = await self._http.post(_endpoint(metadata, "token_endpoint"), form, headers)
        content = _object(response)
        if response.status == 200 and content:
            return content
        error = content.get("error")
        if response.status == 400 and error == "invalid_grant":
            raise SignInFailedError("the provider takes no such code: it was used, has expired, or is somebody else's")
        word = f" {error}" if isinstance(error, str) and error in _REFUSALS else ""
        raise ProviderUnavailableError(f"its token endpoint answered {response.status}{word}")

    async def _userinfo(self, metadata: Metadata, subject: str, access_token: str, groups_claim: str) -> Identity:
        """What the userinfo endpoint says beyond the ID token (section 5.3)."""
        url = _endpoint(metadata, "userinfo_endpoint")
        response = await self._http.get(url, {"Authorization": f"Bearer {access_token}"})
        claims = _object(response)
        if response.status != 200 or not claims:
            raise ProviderUnavailableError(f"its userinfo endpoint answered {response.status}, or with no JSON")
        if claims.get("sub") != subject:  # section 5.3.2: nothing that it says may be used then
            raise SignInFailedError("the userinfo endpoint speaks of somebody else")
        return _identity(subject, claims, groups_claim)


def _check(claims: Mapping[str, Any], client_id: str, nonce: str) -> str:
    """Whom an ID token is about, whose signature, issuer, audience and times are right. Raises SignInFailedError."""
    party, audience = claims.get("azp"), claims.get("aud")
    if party is None and isinstance(audience, list) and len(audience) > 1:
        raise SignInFailedError("the ID token is for several clients, and does not say for which it was made")
    if party is not None and party != client_id:
        raise SignInFailedError("the ID token was made for another client")
    if "iat" not in claims:
        raise SignInFailedError("the ID token does not say since when it is")
    stated = claims.get("nonce")
    if not isinstance(stated, str) or not hmac.compare_digest(stated.encode("utf-8", "replace"), nonce.encode()):
        raise SignInFailedError("the ID token has no nonce, or another's")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise SignInFailedError("the ID token does not say whom it is about")
    return subject


def _check_access_token(claims: Mapping[str, Any], id_token: str, access_token: str) -> None:
    """`at_hash` (section 3.1.3.6): the left half of the access token's hash, by the signature's. Raises SignInFailedError."""
    if "at_hash" not in claims or not access_token:
        return
    long = jwt.get_unverified_header(id_token)["alg"] == "EdDSA"
    hashed = (hashlib.sha512 if long else hashlib.sha256)(access_token.encode("ascii")).digest()
    half = base64.urlsafe_b64encode(hashed[: len(hashed) // 2]).rstrip(b"=").decode("ascii")
    if claims["at_hash"] != half:
        raise SignInFailedError("the ID token belongs to another access token")


def _identity(subject: str, claims: Mapping[str, Any], groups_claim: str) -> Identity:
    """What is of no use in claims is passed over: it lets nobody in. Some providers write `true` as a text."""
    email = claims.get("email")
    verified = claims.get("email_verified")
    counts = (verified is True or verified == "true") and isinstance(email, str) and _is_address(email)
    groups = claims.get(groups_claim) if groups_claim else None
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    kept = [one for one in listed[:_MAX_GROUPS] if isinstance(one, str) and 0 < len(one) <= _MAX_GROUP]
    return Identity(subject=subject, email=email if counts else None, groups=tuple(dict.fromkeys(kept)))


def _is_address(email: str) -> bool:
    name, at, domain = email.rpartition("@")
    return bool(name and at and domain) and len(email) <= _MAX_EMAIL and email.isprintable() and " " not in email


def _endpoint(metadata: Metadata, name: str) -> str:
    url = metadata.endpoints.get(name)
    if url is None:
        raise ProviderUnavailableError(f"its discovery document names no {name} that may be used", lies=True)
    return url


def _object(response: ProviderResponse) -> Mapping[str, Any]:
    """The JSON object in a response; empty where there is none."""
    try:
        content = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _may_be_sent(token: str) -> bool:
    """Whether it may stand in a header."""
    return token.isascii() and token.isprintable() and " " not in token
