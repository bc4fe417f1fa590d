"""An authority by ACME (RFC 8555), with renewal information (RFC 9773) and profiles where it has them.

Each method is one bounded step of a few requests: none waits for the authority to get on. What it answers is checked before
it is taken: addresses must be its own, an order must be for the names that were asked for, and a chain must be one.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, TypeVar

from acme import challenges, messages
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.json_util import field
from josepy.jwk import JWKEC

from router.base.x509_errors import UNREADABLE
from router.certificates.authority import (
    BadAnswerError,
    Challenge,
    OrderSeen,
    Problem,
    RefusedError,
    RenewalWindow,
    Stage,
    UnreachableError,
)
from router.outbound.acme_http import AcmeHttp, AcmeResponse, Signer, problem_of

STEP_TIMEOUT: Final = 30.0  # seconds for one method, whatever number of requests it takes
_MAX_LISTED: Final = 300  # orders of an account that are read to find one
_MAX_PAGES: Final = 100
_MAX_CHAIN: Final = 10  # certificates
_CHAIN: Final = "application/pem-certificate-chain"
# RFC 9773 §4.3.2: clients should ask neither more nor less often than this. In seconds.
_SHORTEST: Final = 60.0
_LONGEST: Final = 86400.0
_ASK_AGAIN: Final = 6 * 3600.0  # where it does not say (§4.3.3)
_POLL_AGAIN: Final = 3600.0  # the longest that an order's Retry-After is believed

T = TypeVar("T")


class NewOrder(messages.NewOrder):
    """With the certificate that it replaces (RFC 9773 §5), which the library does not know."""

    replaces: str | None = field("replaces", omitempty=True)


class AcmeAuthority:
    """certificates.authority.Authority. `profile` is asked for with every order; None leaves the choice to the authority.
    `contact` is an e-mail address for what it has to say."""

    def __init__(self, http: AcmeHttp, *, profile: str | None = None, contact: str | None = None) -> None:
        self._http = http
        self._profile = profile
        self._contact = contact
        self._signer: Signer | None = None

    def __repr__(self) -> str:
        return f"<AcmeAuthority {self.directory}>"

    @property
    def directory(self) -> str:
        return self._http.url

    async def open_account(self, key: str, uri: str | None) -> str:
        signer = Signer(_account_key(key))
        wanted = messages.NewRegistration.from_data(email=self._contact, terms_of_service_agreed=True)
        if uri is not None:  # §7.3.1
            wanted = messages.NewRegistration(only_return_existing=True)
        async with _step():
            response = await self._http.post(await self._http.resource("newAccount"), wanted.to_json(), signer)
        status = response.json().get("status")
        if status != "valid":
            raise RefusedError("unauthorized", f"the account is {status if status in _ENDED else 'not valid'} there")
        found = self._http.check_url(response.headers.get("Location"))
        self._signer = Signer(signer.key, found)
        return found

    async def place(self, names: Sequence[str], *, replaces: str | None = None) -> OrderSeen:
        async with _step():
            directory = await self._http.directory()
            wanted = NewOrder(
                identifiers=[messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name) for name in names],
                profile=self._check_profile(directory),
                replaces=replaces if "renewalInfo" in directory else None,
            )
            response = await self._post(await self._http.resource("newOrder"), wanted.to_json())
            return await self._seen(self._http.check_url(response.headers.get("Location")), response, names)

    def _check_profile(self, directory: Mapping[str, Any]) -> str | None:
        """An authority without profiles would ignore the field, and an operator who wants certificates of six days would get
        some of ninety."""
        meta = directory.get("meta")
        offered = meta.get("profiles") if isinstance(meta, dict) else None
        names = [name for name in offered if isinstance(name, str)] if isinstance(offered, dict) else []
        if self._profile is not None and self._profile not in names:
            listed = ", ".join(name for name in sorted(names)[:20] if name.isprintable())[:300]
            raise RefusedError("invalidProfile", f"it has no profile {self._profile}; it has {listed or 'none'}")
        return self._profile

    async def find(self, names: Sequence[str]) -> str | None:
        async with _step():
            signer = self._account()
            account = (await self._post(str(signer.account), None)).json()
            page = account.get("orders")
            read = 0
            for _ in range(_MAX_PAGES):
                if page is None:
                    return None
                response = await self._post(page, None)
                for url in _strings(response.json().get("orders")):
                    if await self._is_open(url, names):
                        return url
                    read += 1
                    if read >= _MAX_LISTED:
                        return None
                page = next((target for relation, target in response.links if relation == "next"), None)
            return None

    async def _is_open(self, url: str, names: Sequence[str]) -> bool:
        try:
            order = _parsed(messages.Order.from_json, (await self._post(url, None)).json())
        except RefusedError:  # a list may name orders that are gone
            return False
        open_now = order.status in {messages.STATUS_PENDING, messages.STATUS_READY}
        return open_now and _names(order) == sorted(names)

    async def look(self, url: str) -> OrderSeen:
        self._check_known(url)
        async with _step():
            return await self._seen(url, await self._post(url, None), None)

    async def answer(self, url: str) -> None:
        self._check_known(url)
        async with _step():
            order = _parsed(messages.Order.from_json, (await self._post(url, None)).json())
            for authorization in [await self._authorization(one) for one in _strings(order.authorizations)]:
                if authorization.status == messages.STATUS_PENDING:
                    challenge = _dns01(authorization)
                    if challenge.status == messages.STATUS_PENDING:
                        await self._post(challenge.uri, {})

    async def finalize(self, url: str, csr: str) -> OrderSeen:
        self._check_known(url)
        async with _step():
            order = _parsed(messages.Order.from_json, (await self._post(url, None)).json())
            request = messages.CertificateRequest(csr=x509.load_pem_x509_csr(csr.encode()))
            response = await self._post(order.finalize, request.to_json())
            return await self._seen(url, response, None)

    async def fetch(self, certificate: str) -> str:
        self._check_known(certificate)
        async with _step():
            return _chain((await self._post(certificate, None, _CHAIN)).body)

    async def renewal_window(self, ari_id: str) -> RenewalWindow | None:
        async with _step():
            if "renewalInfo" not in await self._http.directory():
                return None
            base = (await self._http.resource("renewalInfo")).rstrip("/")
            try:
                response = await self._http.get(f"{base}/{ari_id}")
            except RefusedError:  # it does not know the certificate: another authority's, from before
                return None
        found = response.json()
        window = _parsed(messages.RenewalInfo.from_json, found).suggested_window
        start, end = window.start, window.end
        if not isinstance(start, datetime) or not isinstance(end, datetime) or start >= end:
            raise BadAnswerError("its renewal window has no length")
        asked = _ASK_AGAIN if response.retry_after is None else response.retry_after
        page = found.get("explanationURL")
        shown = page if isinstance(page, str) and len(page) <= 500 and page.isprintable() else None
        return RenewalWindow(start, end, min(max(asked, _SHORTEST), _LONGEST), shown)

    async def revoke(self, chain: str, reason: int) -> None:
        leaf = x509.load_pem_x509_certificate(chain.encode())
        async with _step():
            url = await self._http.resource("revokeCert")
            try:
                await self._post(url, messages.Revocation(certificate=leaf, reason=reason).to_json())
            except RefusedError as error:
                if error.kind != "alreadyRevoked":
                    raise

    async def roll_key(self, new_key: str) -> None:
        signer, new = self._account(), _account_key(new_key)
        async with _step():
            url = await self._http.resource("keyChange")
            inner = {"account": signer.account, "oldKey": signer.key.public_key().to_json()}
            # The new key signs that it takes the account, the old one that it gives it away.
            await self._post(url, Signer(new).sign(inner, url, None))
        self._signer = Signer(new, signer.account)

    async def close(self) -> None:
        """Nothing is kept open between two calls."""

    def _check_known(self, url: str) -> None:
        """What lies elsewhere was placed at another authority, before the operator chose this one."""
        try:
            self._http.check_url(url)
        except BadAnswerError:
            raise RefusedError("notFound", "it was placed at another authority") from None

    def _account(self) -> Signer:
        if self._signer is None:
            raise RuntimeError("open_account comes first")
        return self._signer

    async def _post(self, url: object, payload: object, accept: str | None = None) -> AcmeResponse:
        return await self._http.post(url, payload, self._account(), accept)

    async def _seen(self, url: str, response: AcmeResponse, names: Sequence[str] | None) -> OrderSeen:
        """An order with its authorizations. `names` are those that it must be for, where that is not known yet."""
        order = _parsed(messages.Order.from_json, response.json())
        stage = _STAGES.get(order.status)
        if stage is None:
            raise BadAnswerError("its order has no status that RFC 8555 knows")
        if names is not None and _names(order) != sorted(names):
            raise BadAnswerError("it made an order for other names than those that were asked for")
        # After they have been proved there is nothing to see in them.
        of_interest = stage in {Stage.PENDING, Stage.INVALID}
        urls = _strings(order.authorizations)[: len(_names(order))] if of_interest else []
        found = [await self._authorization(one) for one in urls]
        proofs = tuple(sorted(map(self._challenge, found), key=lambda one: one.name)) if stage is Stage.PENDING else ()
        if stage is Stage.PENDING and [one.name for one in proofs] != _names(order):
            raise BadAnswerError("its authorizations are for other names than the order")
        problem = problem_of(order.error.to_json()) if order.error is not None else None
        retry = response.retry_after
        return OrderSeen(
            url=url,
            stage=stage,
            challenges=proofs,
            problem=next((one for one in map(_failure, found) if one is not None), problem),
            certificate=None if order.certificate is None else self._http.check_url(order.certificate),
            retry_after=None if retry is None else min(retry, _POLL_AGAIN),
        )

    async def _authorization(self, url: object) -> messages.Authorization:
        response = await self._post(url, None)
        found: messages.Authorization = _parsed(messages.Authorization.from_json, response.json())
        return found

    def _challenge(self, authorization: messages.Authorization) -> Challenge:
        prefix = "*." if authorization.wildcard else ""
        done = authorization.status == messages.STATUS_VALID
        txt = "" if done else _dns01(authorization).chall.validation(self._account().key)
        return Challenge(f"{prefix}{authorization.identifier.value}", txt, done)


_ENDED: Final = ("deactivated", "revoked")
_STAGES: Final[Mapping[object, Stage]] = {
    messages.STATUS_PENDING: Stage.PENDING,
    messages.STATUS_READY: Stage.READY,
    messages.STATUS_PROCESSING: Stage.PROCESSING,
    messages.STATUS_VALID: Stage.VALID,
    messages.STATUS_INVALID: Stage.INVALID,
}


@asynccontextmanager
async def _step() -> AsyncIterator[None]:
    """The deadline of one method."""
    try:
        async with asyncio.timeout(STEP_TIMEOUT):
            yield
    except TimeoutError as error:
        raise UnreachableError(f"it was not done within {STEP_TIMEOUT:g} s") from error


def _parsed(parse: Callable[[Any], T], value: object) -> T:
    """What the library makes of a JSON value. Raises BadAnswerError where that is nothing that it knows: for most of that it has
    an error, but a list in place of a text goes wrong somewhere in it."""
    try:
        return parse(value)
    except (JoseError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadAnswerError(f"it sent what RFC 8555 does not allow: {type(error).__name__}") from error


def _account_key(pem: str) -> JWKEC:
    """Raises ValueError where it is no key of P-256, which is for ES256."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return JWKEC(key=key)
    raise ValueError("an account's key is one of P-256")


def _names(order: messages.Order) -> list[str]:
    found = order.identifiers or ()
    return sorted(str(one.value) for one in found)


def _dns01(authorization: messages.Authorization) -> Any:
    """Its challenge by DNS, whose fields the library makes at run time. Raises BadAnswerError."""
    for challenge in authorization.challenges or ():
        if isinstance(challenge.chall, challenges.DNS01):
            return challenge
    raise BadAnswerError("it offers no challenge by DNS for a name")


def _failure(authorization: messages.Authorization) -> Problem | None:
    """Why a name was not proved."""
    for challenge in authorization.challenges or ():
        problem = problem_of(challenge.error.to_json()) if challenge.error is not None else None
        if problem is not None:
            return Problem(problem.kind, problem.detail, problem.names or (str(authorization.identifier.value)[:255],))
    return None


def _strings(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list | tuple) else []


def _chain(body: bytes) -> str:
    """A chain in which each certificate is signed by the next. Raises BadAnswerError."""
    try:
        found = x509.load_pem_x509_certificates(body)
        for certificate, issuer in itertools.pairwise(found):
            certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature) as error:
        raise BadAnswerError("it sent something that is no chain of certificates") from error
    if len(found) > _MAX_CHAIN:
        raise BadAnswerError(f"it sent a chain of more than {_MAX_CHAIN} certificates")
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in found)
