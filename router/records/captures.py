"""Captures as they are stored and shown: the headers and the beginning of the bodies of one exchange, with secrets masked.

What comes from the proxy (`ExchangeCapture.told`) is masked first, by the process that stores it, and then sealed where the router has a
key for that (`secrets_key`). Who reads one gets it from here, opened.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from router.base.secret_box import SecretBox, SecretLostError
from router.records.masking import Masks

_SEALED: Final = "1."  # how a sealed text begins; what is not sealed begins with `{`


class StoredCapture(NamedTuple):
    """A capture as a store has it. `tenant` and `resource` are the bytes of UUIDs, `at` when the exchange was admitted, in microseconds
    since 1970; `data` is JSON, sealed where there is a key."""

    tenant: bytes
    resource: bytes
    request_id: str
    at: int
    data: str


@dataclass(frozen=True, slots=True)
class Header:
    """`cut`: its value was longer than what is kept. `masked`: it had a secret."""

    name: str
    value: str
    cut: bool = False
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """The beginning of a body of `size` bytes; `whole` where that is all of it."""

    content: bytes
    size: int
    whole: bool
    masked: bool = False


@dataclass(frozen=True, slots=True)
class CapturedRequest:
    """What the program got. `headers_cut`: there were more of them."""

    method: str
    target: str
    target_cut: bool
    target_masked: bool
    scheme: str
    version: int
    headers: tuple[Header, ...]
    headers_cut: bool
    upgrade: bool
    body: Body


@dataclass(frozen=True, slots=True)
class CapturedResponse:
    """What the program sent."""

    status: int
    headers: tuple[Header, ...]
    headers_cut: bool
    body: Body


@dataclass(frozen=True, slots=True)
class Capture:
    """One exchange. `response` None: the program has sent none."""

    host: str
    request: CapturedRequest
    response: CapturedResponse | None


class CaptureCodec:
    """Makes what is stored of what the proxy tells, and captures of what is stored."""

    def __init__(self, masks: Masks, box: SecretBox) -> None:
        self._masks = masks
        self._box = box

    def stored(self, told: Mapping[str, Any]) -> StoredCapture:
        """Raises ValueError, LookupError or TypeError where it is not what `ExchangeCapture.told` tells."""
        tenant, resource = UUID(told["tenant"]).bytes, UUID(told["resource"]).bytes
        request_id = str(told["request_id"])
        text = json.dumps(_as_json(self.masked(told)), separators=(",", ":"))
        if self._box.can_seal:
            text = self._box.seal(text, purpose=_purpose(tenant, resource, request_id))
        return StoredCapture(tenant, resource, request_id, int(told["at"] * 1e6), text)

    def masked(self, told: Mapping[str, Any]) -> Capture:
        """What the proxy tells, with secrets masked. Raises as `stored` does."""
        asked, answered = told["request"], told["response"]
        headers, cut = self._headers(asked["headers"])
        target = self._masks.target(asked["target"])
        request = CapturedRequest(
            method=asked["method"],
            target=target,
            target_cut=asked["target_cut"],
            target_masked=target != asked["target"],
            scheme=asked["scheme"],
            version=asked["version"],
            headers=headers,
            headers_cut=cut,
            upgrade=asked["upgrade"],
            body=self._body(asked, headers),
        )
        return Capture(told["host"], request, None if answered is None else self.response(answered))

    def response(self, told: Mapping[str, Any]) -> CapturedResponse:
        """A response as the proxy tells it, with secrets masked."""
        headers, cut = self._headers(told["headers"])
        return CapturedResponse(told["status"], headers, cut, self._body(told, headers))

    def opened(self, stored: StoredCapture) -> Capture:
        """Raises SecretLostError where none of this router's keys has sealed it."""
        text = stored.data
        if text.startswith(_SEALED):
            text = self._box.open(text, purpose=_purpose(stored.tenant, stored.resource, stored.request_id))
        try:
            return _of_json(json.loads(text))
        except (ValueError, LookupError, TypeError) as error:
            raise SecretLostError("it is not as it was stored") from error

    def _headers(self, told: Collection[Any]) -> tuple[tuple[Header, ...], bool]:
        found = []
        cut_off = False
        for name, value, cut in told:
            if not name:
                cut_off = True
                continue
            shown, masked = self._masks.header(name, value)
            found.append(Header(name, shown, cut, masked))
        return tuple(found), cut_off

    def _body(self, told: Mapping[str, Any], headers: Collection[Header]) -> Body:
        content = b64decode(told["body"])
        masked = self._masks.body(content, value_of(headers, "content-type"), value_of(headers, "content-encoding"))
        return Body(masked, told["body_size"], told["body_whole"], masked != content)


def value_of(headers: Collection[Header], name: str) -> str:
    """The values of a lower-case name, as one."""
    return ", ".join(header.value for header in headers if header.name.lower() == name)


def _purpose(tenant: bytes, resource: bytes, request_id: str) -> str:
    return f"request_captures {tenant.hex()} {resource.hex()} {request_id}"


def _as_json(capture: Capture) -> dict[str, Any]:
    fields = asdict(capture)
    for part in (fields["request"], fields["response"]):
        if part is not None:
            part["body"]["content"] = b64encode(part["body"]["content"]).decode("ascii")
    return fields


def _of_json(fields: Mapping[str, Any]) -> Capture:
    asked, answered = fields["request"], fields["response"]
    request = CapturedRequest(**{**asked, **_parts(asked)})
    response = None if answered is None else CapturedResponse(**{**answered, **_parts(answered)})
    return Capture(cast("str", fields["host"]), request, response)


def _parts(of: Mapping[str, Any]) -> dict[str, Any]:
    body = of["body"]
    return {
        "headers": tuple(Header(**header) for header in of["headers"]),
        "body": Body(**{**body, "content": b64decode(body["content"])}),
    }
