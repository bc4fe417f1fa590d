"""What an endpoint knows a log drain by, beside our signature, as its owner sets it and as it is stored."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from router.base.secret_box import SecretBox
from router.drains.log_drain import LogDrain

MAX_HEADERS: Final = 8
MAX_HEADER_VALUE: Final = 1000
MAX_STRUCTURED_DATA: Final = 1000
LOST: Final = "its headers or structured data can't be decrypted, set them again"

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# What describes the message or the connection, or is ours to say.
_OURS: Final = re.compile(
    r"content-.*|transfer-.*|connection|host|te|trailer|upgrade|expect|keep-alive|proxy-.*|user-agent|accept-encoding|"
    r"miosa-.*|x-miosa-.*|webhook-.*",
    re.IGNORECASE,
)
_SD_NAME: Final = r'[^\s=\]"\x00-\x1f\x7f]{1,32}'
_SD_VALUE: Final = r'"(?:[^"\\\]\x00-\x1f\x7f]|\\["\\\]])*"'
_STRUCTURED_DATA: Final = re.compile(rf"(?:\[{_SD_NAME}(?: {_SD_NAME}={_SD_VALUE})*\])+")  # RFC 5424 §6.3


@dataclass(frozen=True, slots=True)
class Credentials:
    """Headers of an HTTP batch, or the structured data of each syslog line."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    structured_data: str | None = field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """What may be shown of them."""
        return tuple(self.headers)

    def __bool__(self) -> bool:
        return bool(self.headers or self.structured_data)


def seal_credentials(box: SecretBox, drain_id: str, credentials: Credentials) -> str | None:
    """As they are stored; None for none. Raises NoSecretsKeyError."""
    if not credentials:
        return None
    text = json.dumps({"headers": dict(credentials.headers), "structured_data": credentials.structured_data})
    return box.seal(text, purpose=purpose_of(drain_id))


def open_credentials(box: SecretBox, drain: LogDrain) -> Credentials:
    """What goes with each batch of a drain. Raises SecretLostError."""
    if drain.credentials is None:
        return Credentials()
    found: dict[str, Any] = json.loads(box.open(drain.credentials, purpose=purpose_of(drain.id)))
    return Credentials(headers=found["headers"], structured_data=found["structured_data"])


def purpose_of(drain_id: str) -> str:
    """What a drain's credentials are sealed for."""
    return f"log_drains/{drain_id}/credentials"


def refusal_of_header(name: str, value: str) -> str | None:
    """What is wrong with a header, in the words of a field; None where nothing is."""
    if _HEADER_NAME.fullmatch(name) is None:
        return "is no name of a header"
    if _OURS.fullmatch(name) is not None:
        return "is set by the router"
    plain = value.isascii() and value.isprintable() and value == value.strip()
    if not plain or not 0 < len(value) <= MAX_HEADER_VALUE:
        return f"must have a value of 1 to {MAX_HEADER_VALUE} printable ASCII characters"
    return None


def is_structured_data(text: str) -> bool:
    """Whether a text may stand in a syslog line as its structured data."""
    return len(text) <= MAX_STRUCTURED_DATA and text.isascii() and _STRUCTURED_DATA.fullmatch(text) is not None
