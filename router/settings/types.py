"""The types of settings: what a value may be, and how a variable or a TOML string is read. All sections use them."""

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from router.base.addresses import Address, Network
from router.base.proxy_only_headers import is_asserted
from router.hostname import InvalidNameError, canonical_name
from router.settings.model import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from router.settings.redis_url import parse_redis_url

_BIND = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]+):([0-9]{1,5})")
_ORIGIN = re.compile(r"(https?)://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")


class SettingsError(Exception):
    """Settings that cannot be used. `problems` is [(key, what is wrong)]."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{key}: {what}" for key, what in problems))


def _split(value: object) -> object:
    """Variables and TOML strings may give lists as `a,b`."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _domain(value: str) -> str:
    try:
        return canonical_name(value)
    except InvalidNameError as error:
        if value == "localhost":  # the one single label that resolves everywhere without DNS
            return value
        raise ValueError(f"{value!r} {error}") from None


def _bind(value: str) -> str:
    match = _BIND.fullmatch(value)
    if match is None or int(match[2]) > 65535:
        raise ValueError(f"{value!r} is not HOST:PORT")
    return value


def _server(value: str) -> str:
    try:
        split_server(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address, or ADDRESS:PORT") from None
    return value


def _network(value: object) -> Network:
    # pydantic's own union of both families reports each fault twice, under names of its making.
    if not isinstance(value, (str, ipaddress.IPv4Network, ipaddress.IPv6Network)):
        raise ValueError("must be a network such as 10.0.0.0/8")  # noqa: TRY004 - pydantic reports ValueErrors only
    return ipaddress.ip_network(value)


def _by_network(value: object) -> object:
    """A variable gives pairs, as `10.0.0.5/32=CF-Connecting-IP,10.0.0.5/32=Client-Cert`."""
    if not isinstance(value, str):
        return value
    found: dict[Network, list[str]] = {}
    for pair in filter(None, (part.strip() for part in value.split(","))):
        network, _, name = pair.partition("=")
        found.setdefault(_network(network.strip()), []).append(name.strip())
    return found


def _by_name(value: object) -> object:
    """A variable gives pairs, as `ns1.example.com=192.0.2.1,ns1.example.com=2001:db8::1`."""
    if not isinstance(value, str):
        return value
    found: dict[str, list[str]] = {}
    for pair in filter(None, (part.strip() for part in value.split(","))):
        name, _, address = pair.partition("=")
        found.setdefault(name.strip(), []).append(address.strip())
    return found


def _address(value: object) -> Address:
    if isinstance(value, str):
        try:
            return ipaddress.ip_address(value)
        except ValueError:
            raise ValueError(f"{value!r} is not an IP address") from None
    if isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        return value
    raise ValueError("must be an IP address")


def _asserted(value: str) -> str:
    if not is_asserted(value.lower().encode("latin-1", "replace")):
        raise ValueError(
            f"{value} is not one of the headers that are dropped otherwise (router/base/proxy_only_headers.py)"
        )
    return value


def _of_trusted(value: dict[Network, tuple[str, ...]], info: ValidationInfo) -> dict[Network, tuple[str, ...]]:
    trusted: tuple[Network, ...] = info.data.get("trusted_proxies", ())
    for network in value:
        if not any(network.version == one.version and network.subnet_of(one) for one in trusted):  # type: ignore[arg-type]  # the version is the same
            raise ValueError(f"{network} is not in trusted_proxies")
    return value


def _http_url(value: str) -> str:
    address = urlsplit(value)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("must be an http:// or https:// address")
    return value


def _origin(value: str) -> str:
    if value == "*":
        return value
    match = _ORIGIN.fullmatch(value)
    if match is None or (match[2] is not None and not 1 <= int(match[2]) <= 65535):
        raise ValueError(f"{value!r} is not an origin such as https://console.example.com, in lower case, or *")
    if match[2] == {"http": "80", "https": "443"}[match[1]]:
        raise ValueError(f"{value!r} has its scheme's own port, which browsers leave out")
    return value


def _redis_url(value: str) -> str:
    parse_redis_url(value)
    return value


def _key_prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", value):
        raise ValueError("must be 1 to 64 letters, digits and _.:-")
    return value


def _https_origin(value: str) -> str:
    origin = _origin(value.removesuffix("/"))
    if not origin.startswith("https://") or len(origin) > 250:
        raise ValueError("must be an https origin, like https://api.example.com")
    return origin


HttpUrl = Annotated[str, AfterValidator(_http_url)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]
KeyPrefix = Annotated[str, AfterValidator(_key_prefix)]
Listed = BeforeValidator(_split)  # a list that may be given as `a,b`
Domain = Annotated[str, AfterValidator(_domain)]
Bind = Annotated[str, AfterValidator(_bind)]
Domains = Annotated[tuple[Domain, ...], BeforeValidator(_split)]
Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network)], ...], BeforeValidator(_split)]
Headers = Annotated[tuple[Annotated[str, AfterValidator(_asserted)], ...], BeforeValidator(_split)]
HeadersOf = Annotated[
    dict[Annotated[Network, BeforeValidator(_network)], Headers],
    BeforeValidator(_by_network),
    AfterValidator(_of_trusted),
]
AddressesOf = Annotated[
    dict[
        Domain,
        Annotated[
            tuple[Annotated[Address, BeforeValidator(_address)], ...], BeforeValidator(_split), Field(min_length=1)
        ],
    ],
    BeforeValidator(_by_name),
]
Ports = Annotated[frozenset[Annotated[int, Field(ge=1, le=65535)]], BeforeValidator(_split)]
Servers = Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], BeforeValidator(_split)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_split)]
HttpsOrigin = Annotated[str, AfterValidator(_https_origin)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
Seconds = Annotated[float, Field(gt=0, le=31 * 86400)]
SecondsOrZero = Annotated[float, Field(ge=0, le=31 * 86400)]
Window = Annotated[float, Field(gt=0, le=365 * 86400)]
Steps = Annotated[tuple[Seconds, ...], BeforeValidator(_split), Field(min_length=1)]
Bytes = Annotated[int, Field(ge=1024, le=1 << 30)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Cost = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def split_bind(bind: str) -> tuple[str, int]:
    """`127.0.0.1:8080` or `[::1]:8080` as (host, port)."""
    host, _, port = bind.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def split_server(server: str) -> tuple[str, int | None]:
    """`192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53` as (address, port). Raises ValueError."""
    try:
        return str(ipaddress.ip_address(server)), None
    except ValueError:
        host, port = split_bind(_bind(server))
        if port == 0:
            raise ValueError("port 0") from None
        return str(ipaddress.ip_address(host)), port
