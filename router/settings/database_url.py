"""Where the store is: the forms of the setting `database_url`. No I/O.

    sqlite:///relative.db                       a file below the working folder
    sqlite:////absolute.db                      a file
    postgresql://user[:password@]host[:port]/name[?option=…]

Several PostgreSQL servers that stand in for each other are named by `host`, and the one that takes writes is used:

    postgresql://user@/name?host=db1:5432,db2:5432&target_session_attrs=read-write

Options are libpq's, as the driver understands them (`sslmode`, `host`, `port`, `target_session_attrs`). Characters that
mean something in an address are percent-encoded.
"""

import re
from urllib.parse import parse_qs

FORMS = "sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/name"
SEVERAL_HOSTS = "postgresql://user@/name?host=db1:5432,db2:5432&target_session_attrs=read-write"

_POSTGRESQL = re.compile(
    r"postgresql://(?:(?P<user>[^/?]*)@)?(?P<host>[^/?@]*)(?:/(?P<name>[^?]*))?(?:\?(?P<options>.*))?"
)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:,\s]*)(?::(?P<port>[0-9]{1,5}))?")
# Of several servers only one takes writes; the others would be asked for them in turn.
_WRITABLE = frozenset(("read-write", "primary"))


def check_database_url(url: str) -> str:
    """`url` as it came. Raises ValueError, which says what is wrong and never repeats a password."""
    scheme = next((scheme for scheme in ("sqlite:///", "postgresql://") if url.startswith(scheme)), url)
    if url == scheme:
        raise ValueError(f"must be {FORMS}")
    if scheme == "postgresql://":
        _check_postgresql(url)
    return url


def _check_postgresql(url: str) -> None:
    match = _POSTGRESQL.fullmatch(url)
    if match is None:
        raise ValueError(f"must be {FORMS}; an @, / or ? in the password is written %40, %2F, %3F")
    if "," in match["host"]:
        raise ValueError(f"names several hosts before the path, which can't be used: write {SEVERAL_HOSTS}")
    _check_host(match["host"])
    options = parse_qs(match["options"] or "", keep_blank_values=True)
    hosts = [host for value in options.get("host", []) for host in value.split(",")]
    for host in hosts:
        if not host.startswith("/"):  # the folder of a socket
            _check_host(host)
    for port in (port for value in options.get("port", []) for port in value.split(",")):
        _check_port(port)
    if len(hosts) > 1 and options.get("target_session_attrs", [""])[-1] not in _WRITABLE:
        raise ValueError(
            f"names several hosts, and not that writes go to the one that takes them: write {SEVERAL_HOSTS}"
        )


def _check_host(host: str) -> None:
    match = _HOST.fullmatch(host)
    if match is None:
        raise ValueError(f"has no usable host and port in {host!r}")
    if match["port"] is not None:
        _check_port(match["port"])


def _check_port(port: str) -> None:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"has {port!r} for a port, which must be 1 to 65535")
