"""Where Redis is: the forms of the setting `redis_url`, read into one value. No I/O.

    redis://[user:password@]host[:port][/db]                              one server
    unix://[user:password@]/path/to/socket[?db=N]                         one server on this machine
    redis+sentinel://[user:password@]host[:port],host[:port]/service[/db] the master that the Sentinels agree on
    redis+cluster://[user:password@]host[:port],host[:port]               a Cluster, found through any of its nodes

`rediss` in place of `redis` means TLS, towards the servers and the Sentinels alike. A password alone is `:password@`;
characters that mean something in an address are percent-encoded.
"""

import enum
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

REDIS_PORT, SENTINEL_PORT = 6379, 26379

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")
_SERVICE = re.compile(r"[A-Za-z0-9_.-]+")
_DB = re.compile(r"[0-9]{1,5}")


class Layout(enum.StrEnum):
    """How many servers there are, and who says which one to ask."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """What a `redis_url` says. `nodes` are servers, Sentinels or some nodes of a Cluster; none with `path`."""

    layout: Layout
    nodes: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    service: str | None = None
    db: int = 0
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)


_SCHEMES = {
    "redis": (Layout.SINGLE, False),
    "rediss": (Layout.SINGLE, True),
    "redis+sentinel": (Layout.SENTINEL, False),
    "rediss+sentinel": (Layout.SENTINEL, True),
    "redis+cluster": (Layout.CLUSTER, False),
    "rediss+cluster": (Layout.CLUSTER, True),
}


def parse_redis_url(url: str) -> RedisAddress:
    """Raises ValueError, which says what is wrong and never repeats a password."""
    scheme = url.partition("://")[0]
    if scheme == "unix":
        return _unix(url)
    if scheme not in _SCHEMES or "://" not in url:
        raise ValueError(f"must be a {'://, '.join(_SCHEMES)}:// or unix:// address")
    layout, tls = _SCHEMES[scheme]
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ValueError("takes no ?options; the group `redis` has them")
    username, password, hosts = _credentials(parts.netloc)
    nodes = _nodes(hosts, SENTINEL_PORT if layout is Layout.SENTINEL else REDIS_PORT)
    path = [unquote(part) for part in parts.path.removeprefix("/").split("/")] if parts.path not in ("", "/") else []
    service = None
    if layout is Layout.SINGLE and len(nodes) > 1:
        raise ValueError("names several servers: use redis+sentinel:// or redis+cluster://")
    if layout is Layout.SENTINEL:
        if not path or not _SERVICE.fullmatch(path[0]):
            raise ValueError("must name the service that the Sentinels watch: redis+sentinel://host,host/service")
        service = path.pop(0)
    if layout is Layout.CLUSTER and path:
        raise ValueError("a Cluster has no databases: nothing may follow its nodes")
    if len(path) > 1:
        raise ValueError("ends with a path that is no database number")
    db = _db(path[0]) if path else 0
    return RedisAddress(layout, nodes, service=service, db=db, tls=tls, username=username, password=password)


def _unix(url: str) -> RedisAddress:
    parts = urlsplit(url)
    username, password, host = _credentials(parts.netloc)
    if host or not parts.path.startswith("/") or parts.path == "/":
        raise ValueError("must be unix:///path/to/socket")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    db = _db(options.pop("db", "0"))
    if options or parts.fragment:
        raise ValueError("takes no option but ?db=N")
    return RedisAddress(Layout.SINGLE, path=unquote(parts.path), db=db, username=username, password=password)


def _credentials(netloc: str) -> tuple[str | None, str | None, str]:
    """User, password and what follows them."""
    given, at, hosts = netloc.rpartition("@")
    if not at:
        return None, None, hosts
    username, colon, password = given.partition(":")
    if not colon or not password or "@" in given:
        raise ValueError("has credentials that are not user:password@ or :password@, percent-encoded")
    return unquote(username) or None, unquote(password), hosts


def _nodes(hosts: str, default_port: int) -> tuple[tuple[str, int], ...]:
    nodes = []
    for text in hosts.split(","):
        match = _HOST.fullmatch(text)
        port = int(match["port"] or default_port) if match else 0
        if match is None or not 0 < port <= 65535:
            raise ValueError(f"{text!r} is not HOST or HOST:PORT")
        nodes.append((match["host"].strip("[]"), port))
    return tuple(nodes)


def _db(text: str) -> int:
    if not _DB.fullmatch(text):
        raise ValueError(f"{text!r} is not a database number")
    return int(text)
