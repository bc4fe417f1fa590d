"""The settings: where they come from, and that nothing wrong in them goes unnoticed."""

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from router.settings import PREFIX, Settings, SettingsError, load, split_bind, split_server


def read(**variables: str) -> Settings:
    """The settings from these variables alone, named without their prefix."""
    return load(environ={PREFIX + name: value for name, value in variables.items()})


def groups() -> list[tuple[str, type[BaseModel]]]:
    found: list[tuple[str, type[BaseModel]]] = [("", Settings)]
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found.append((f"{name}.", field.annotation))
    return found


FIELDS = [(group + name, field) for group, model in groups() for name, field in model.model_fields.items()]


def test_the_defaults_are_those_of_the_design() -> None:
    """Without a file and variables there is a router on loopback with an SQLite file."""
    settings = load(environ={})
    assert (settings.proxy_bind, settings.api_bind, settings.admin_bind) == (
        "127.0.0.1:8080",
        "127.0.0.1:8081",
        "127.0.0.1:8082",
    )
    assert (settings.platform_domain, settings.workers, settings.redis_url) == ("miosa.app", 1, None)
    assert settings.reserved_domains == ("miosa.ai", "miosa.app")
    assert settings.database_url.startswith("sqlite:///")
    assert settings.internal_token is None
    limits = settings.limits
    assert (limits.request_line, limits.header, limits.headers, limits.header_count) == (16384, 65536, 65536, 1000)
    assert (limits.head_time, limits.dial, limits.dial_tries, limits.dial_window) == (10, 5, 4, 1)
    assert (limits.client_idle, limits.backend_idle, limits.body_idle) == (75, 30, 300)
    assert (limits.tunnel_idle, limits.tunnel_lifetime) == (3600, 86400)
    assert (limits.connections, limits.exchanges_per_resource, limits.buffer) == (20_000, 256, 262_144)
    assert (limits.drain_not_ready, limits.drain_requests, limits.drain_tunnels) == (5, 30, 300)


@pytest.mark.parametrize(("key", "field"), FIELDS, ids=[key for key, _ in FIELDS])
def test_every_setting_is_documented(key: str, field: Any) -> None:
    """The description is the documentation: a sentence that ends with a full stop."""
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        assert field.annotation.__doc__
        return
    assert re.fullmatch(r"[A-Za-z].*[.…]", field.description or ""), f"{key} has no description"


def test_defaults_are_valid_themselves() -> None:
    """A default that the validators would refuse could not be written into a file."""
    values = load(environ={}).model_dump(exclude_none=True)
    assert Settings.model_validate(values).model_dump() == load(environ={}).model_dump()


def test_the_process_variables_are_the_default_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `environ` the process's own are read."""
    monkeypatch.setenv("MIOSA_ROUTER_WORKERS", "3")
    assert load().workers == 3


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    """Both are read; a variable replaces one key and leaves its neighbours."""
    file = tmp_path / "router.toml"
    file.write_text('workers = 2\nplatform_domain = "a.example"\n[limits]\ndial = 1.0\ndial_tries = 2\n')
    settings = load(
        file, {"MIOSA_ROUTER_WORKERS": "4", "MIOSA_ROUTER_LIMITS__DIAL": "1.5", "HOME": "/", "WORKERS": "9"}
    )
    assert (settings.workers, settings.platform_domain) == (4, "a.example")
    assert (settings.limits.dial, settings.limits.dial_tries) == (1.5, 2)


def test_lists_are_written_in_either_way(tmp_path: Path) -> None:
    """`a,b` in a variable, a list or `a,b` in the file."""
    file = tmp_path / "router.toml"
    file.write_text(
        'reserved_domains = ["a.example", "B.example."]\nroles = "proxy, admin"\nreserved_ports = [22, 80]\n'
    )
    settings = load(file, {PREFIX + "TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8,192.0.2.1,"})
    assert settings.reserved_domains == ("a.example", "b.example")
    assert settings.roles == {"proxy", "admin"}
    assert settings.reserved_ports == {22, 80}
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"]
    assert read(TRUSTED_PROXIES="").trusted_proxies == ()
    assert read(RESERVED_PORTS="22,49152").reserved_ports == {22, 49152}


@pytest.mark.parametrize(
    ("given", "kept"),
    [("Bücher.example", "xn--bcher-kva.example"), ("EXAMPLE.com.", "example.com"), ("localhost", "localhost")],
)
def test_domains_are_kept_in_their_canonical_form(given: str, kept: str) -> None:
    """So that they compare with what a Host header says."""
    assert read(PLATFORM_DOMAIN=given).platform_domain == kept


REFUSED = [
    ("PROXY_BIND", "", "proxy_bind"),
    ("PROXY_BIND", "8080", "proxy_bind"),
    ("PROXY_BIND", ":8080", "proxy_bind"),
    ("PROXY_BIND", "localhost", "proxy_bind"),
    ("PROXY_BIND", "localhost:", "proxy_bind"),
    ("PROXY_BIND", "localhost:http", "proxy_bind"),
    ("PROXY_BIND", "localhost:65536", "proxy_bind"),
    ("PROXY_BIND", "localhost:٨٠", "proxy_bind"),
    ("PROXY_BIND", "localhost:" + "9" * 5000, "proxy_bind"),
    ("PROXY_BIND", "local host:80", "proxy_bind"),
    ("PROXY_BIND", "::1:80", "proxy_bind"),
    ("PROXY_BIND", "[::1:80", "proxy_bind"),
    ("PROXY_BIND", "http://localhost:80", "proxy_bind"),
    ("WORKERS", "0", "workers"),
    ("WORKERS", "many", "workers"),
    ("WORKERS", "257", "workers"),
    ("WORKERS", "1.5", "workers"),
    ("ROLES", "", "roles"),
    ("ROLES", "proxy,chef", "roles.1"),
    ("DATABASE_URL", "", "database_url"),
    ("DATABASE_URL", "sqlite:///", "database_url"),
    ("DATABASE_URL", "sqlite+aiosqlite:///x.db", "database_url"),
    ("DATABASE_URL", "postgresql://", "database_url"),
    ("DATABASE_URL", "postgresql+asyncpg://u@h/d", "database_url"),
    ("DATABASE_URL", "mysql://u@h/d", "database_url"),
    ("DATABASE_URL", "postgresql://u@h1,h2/d", "database_url"),
    ("REDIS_URL", "", "redis_url"),
    ("REDIS_URL", "localhost:6379", "redis_url"),
    ("REDIS_URL", "http://localhost:6379", "redis_url"),
    ("PLATFORM_DOMAIN", "", "platform_domain"),
    ("PLATFORM_DOMAIN", "app", "platform_domain"),
    ("PLATFORM_DOMAIN", "*.miosa.app", "platform_domain"),
    ("PLATFORM_DOMAIN", "10.0.0.1", "platform_domain"),
    ("RESERVED_DOMAINS", "miosa.ai,a b", "reserved_domains.1"),
    ("TRUSTED_PROXIES", "10.0.0.0/8,everybody", "trusted_proxies.1"),
    ("TRUSTED_PROXIES", "10.0.0.1/8", "trusted_proxies.0"),
    ("BACKEND_NETWORKS", "10.0.0.0/33", "backend_networks.0"),
    ("RESERVED_PORTS", "22,0", "reserved_ports.1"),
    ("RESERVED_PORTS", "65536", "reserved_ports.0"),
    ("INTERNAL_TOKEN", "", "internal_token"),
    ("SECRETS_KEY", "", "secrets_key"),
    ("SECRETS_KEY", "ab" * 31, "secrets_key"),
    ("SECRETS_KEY", "ab" * 33, "secrets_key"),
    ("SECRETS_KEY", "xy" * 32, "secrets_key"),
    ("SECRETS_KEY", "ab" * 32 + ",short", "secrets_key"),
    ("DOCS_URL", "javascript:alert(1)", "docs_url"),
    ("IDENTITY_ISSUER", "miosa.app", "identity_issuer"),
    ("PUBLIC_SCHEME", "gopher", "public_scheme"),
    ("PUBLIC_PORT", "0", "public_port"),
    ("LOG_LEVEL", "loud", "log_level"),
    ("LOG_FORMAT", "xml", "log_format"),
    ("JWT__SECRET", "x" * 31, "jwt.secret"),
    ("LIMITS__DIAL", "0", "limits.dial"),
    ("LIMITS__DIAL", "-1", "limits.dial"),
    ("LIMITS__DIAL", "nan", "limits.dial"),
    ("LIMITS__DIAL", "inf", "limits.dial"),
    ("LIMITS__DIAL", "1s", "limits.dial"),
    ("LIMITS__DIAL__X", "1", "limits.dial"),
    ("LIMITS__DRAIN_TUNNELS", "inf", "limits.drain_tunnels"),
    ("LIMITS__BUFFER", "1023", "limits.buffer"),
    ("LIMITS__BODY", "-1", "limits.body"),
    ("LIMITS", "x", "limits"),
    ("CACHE__TTL", "0", "cache.ttl"),
    ("WORKRES", "2", "workres"),
    ("LIMITS__DAIL", "2", "limits.dail"),
    ("LIMITS__", "2", "limits."),
    ("", "2", ""),
]


@pytest.mark.parametrize(
    ("variable", "value", "key"), REFUSED, ids=[f"{name}={value[:20]}" for name, value, _ in REFUSED]
)
def test_what_is_wrong_is_refused_by_name(variable: str, value: str, key: str) -> None:
    """One wrong value is one problem, under the key that the operator wrote."""
    with pytest.raises(SettingsError) as caught:
        read(**{variable: value})
    assert [name for name, _ in caught.value.problems] == [key]
    ((_, what),) = caught.value.problems
    assert what
    assert not what.startswith("Value error")
    assert str(caught.value) == f"{key}: {what}"


def test_all_problems_are_told_at_once() -> None:
    """Nobody should have to start the router once per mistake."""
    with pytest.raises(SettingsError) as caught:
        read(WORKERS="0", NONSENSE="1", LIMITS__DIAL="x")
    assert {key for key, _ in caught.value.problems} == {"workers", "nonsense", "limits.dial"}
    assert dict(caught.value.problems)["nonsense"] == "unknown setting"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REDIS_URL", "redis://cache:6379/0"),
        ("REDIS_URL", "redis+sentinel://a:26379,b:26379/main"),
        ("DATABASE_URL", "postgresql://u@h/d"),
        ("DATABASE_URL", "sqlite:////var/lib/router.db"),
        ("ACCESS_LOG", ""),
    ],
)
def test_addresses_are_kept_as_they_are_written(variable: str, value: str) -> None:
    """They are read by those who use them."""
    assert getattr(read(**{variable: value}), variable.lower()) == value


@pytest.mark.parametrize("order", [("LIMITS", "LIMITS__DIAL"), ("LIMITS__DIAL", "LIMITS")])
def test_a_group_is_not_a_value(order: tuple[str, str]) -> None:
    """A group that is given a value and a key of its own is refused, in either order."""
    with pytest.raises(SettingsError, match=r"(?i)limits"):
        read(**dict.fromkeys(order, "1"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("workers = ", "is not valid TOML"),
        ("workers = 1\nworkers = 2", "is not valid TOML"),
        ("workres = 1", "workres: unknown setting"),
        ("Workers = 1", "Workers: unknown setting"),
        ("[limits]\ndail = 1", "limits.dail: unknown setting"),
        ("limits = 3", "limits: "),
        ("trusted_proxies = [5]", "trusted_proxies.0: must be a network"),
        ("trusted_proxies = 5", "trusted_proxies: "),
        ("proxy_bind = 8080", "proxy_bind: "),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """Bad syntax names the file; an unknown key or a bad value names the key."""
    file = tmp_path / "router.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(says)):
        load(file, {})


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    """A missing file is an error, never the defaults."""
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml", {})
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path, {})
    (tmp_path / "latin.toml").write_bytes(b'platform_domain = "b\xfccher.example"')
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load(tmp_path / "latin.toml", {})


def test_secrets_are_not_shown() -> None:
    """Neither by repr nor in the message of an error."""
    secret = "s3cr3t-" * 5
    settings = read(INTERNAL_TOKEN=secret, JWT__SECRET=secret)
    assert "s3cr3t" not in repr(settings)
    assert settings.internal_token is not None
    assert settings.internal_token.get_secret_value() == secret
    with pytest.raises(SettingsError) as caught:
        read(JWT__SECRET="s3cr3t")
    assert "s3cr3t" not in str(caught.value)


def test_keys_of_secrets_come_from_a_variable_or_a_file(tmp_path: Path) -> None:
    """The first encrypts; a key that is there twice counts once. Those of the file come last."""
    first, second = "ab12" * 16, "CD34" * 16
    keys = (bytes.fromhex(first), bytes.fromhex(second))
    file = tmp_path / "secrets.key"
    file.write_text(f"{first}\n{second}\n")
    assert read().secret_keys() == ()
    assert read(SECRETS_KEY=f"{first}, {second},{first}").secret_keys() == keys
    assert read(SECRETS_KEY_FILE=str(file)).secret_keys() == keys
    assert read(SECRETS_KEY=second, SECRETS_KEY_FILE=str(file)).secret_keys() == keys[::-1]
    with pytest.raises(SettingsError, match="secrets_key: is the example"):
        read(SECRETS_KEY="0" * 64).secret_keys()


@pytest.mark.parametrize("text", [None, "", "\n", "ab12" * 15, "ab12" * 16 + "\nzz", "é" * 64])
def test_a_file_without_keys_of_secrets_is_refused(tmp_path: Path, text: str | None) -> None:
    """By the setting's name, and without what stands in it."""
    file = tmp_path / "secrets.key"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="secrets_key_file") as caught:
        read(SECRETS_KEY_FILE=str(file)).secret_keys()
    assert "ab12" not in str(caught.value)


def test_settings_are_frozen() -> None:
    """They are read once; nothing changes them afterwards."""
    settings = load(environ={})
    for model, key in (
        (settings, "workers"),
        (settings.limits, "dial"),
        (settings.cache, "ttl"),
        (settings.jwt, "issuer"),
    ):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, key, 1)


def test_forwarding_headers_are_believed_from_loopback_only() -> None:
    """By default nobody but a front on the same machine is trusted, and no endpoint may lie there."""
    settings = load(environ={})
    loopback = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    assert all(any(address in network for network in settings.trusted_proxies) for address in loopback)
    assert not any(address in network for address in loopback for network in settings.backend_networks)
    assert not any(ipaddress.ip_address("169.254.169.254") in network for network in settings.backend_networks)


@pytest.mark.parametrize(
    ("bind", "parts"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
    ],
)
def test_a_bind_is_a_host_and_a_port(bind: str, parts: tuple[str, int]) -> None:
    """Brackets around IPv6 go."""
    assert read(PROXY_BIND=bind).proxy_bind == bind
    assert split_bind(bind) == parts


@pytest.mark.parametrize(
    ("server", "parts"),
    [
        ("192.0.2.1", ("192.0.2.1", None)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_a_name_server_is_an_address_and_perhaps_a_port(server: str, parts: tuple[str, int | None]) -> None:
    """As it is written in resolv.conf, or with the port behind it."""
    assert read(DNS_SERVERS=f"{server}, 127.0.0.1").dns_servers == (server, "127.0.0.1")
    assert split_server(server) == parts


@pytest.mark.parametrize("server", ["dns.example.com", "dns.example.com:53", "192.0.2.1:0", "192.0.2.1:dns", "192.0.2"])
def test_a_name_server_is_not_a_name(server: str) -> None:
    """Whom would one ask for its address?"""
    with pytest.raises(SettingsError, match=re.escape(f"{server!r} is not an IP address, or ADDRESS:PORT")):
        read(DNS_SERVERS=server)


def test_headers_that_a_proxy_is_believed() -> None:
    """By network, from a table or a variable; only what is dropped otherwise, and only of trusted proxies."""
    told = load(environ={"MIOSA_ROUTER_TRUSTED_HEADERS": "127.0.0.1/32=CF-Connecting-IP, 127.0.0.1=Client-Cert"})
    assert told.trusted_headers == {ipaddress.ip_network("127.0.0.1/32"): ("CF-Connecting-IP", "Client-Cert")}
    for value, problem in (
        ("10.0.0.0/8=CF-Connecting-IP", "10.0.0.0/8 is not in trusted_proxies"),
        ("127.0.0.1=X-Own", "X-Own is not one of the headers"),
        ("127.0.0.1=CF_Connecting_IP", "CF_Connecting_IP is not one of the headers"),
        ("127.0.0.1", " is not one of the headers"),
        ("here=Client-Cert", "does not appear to be"),
    ):
        with pytest.raises(SettingsError) as caught:
            load(environ={"MIOSA_ROUTER_TRUSTED_HEADERS": value})
        ((key, what),) = caught.value.problems
        assert key.startswith("trusted_headers")
        assert problem in what


def test_zones_that_share_cookies() -> None:
    """Names in their canonical form, or all of them."""
    assert load(environ={"MIOSA_ROUTER_COOKIE_ZONES": "Preview.Acme.com"}).cookie_zones == {"preview.acme.com"}
    assert load(environ={"MIOSA_ROUTER_COOKIE_ZONES": "*"}).cookie_zones == {"*"}
    with pytest.raises(SettingsError):
        load(environ={"MIOSA_ROUTER_COOKIE_ZONES": "*.acme.com"})


@pytest.mark.parametrize("url", ["http://api.example.com", "https://api.example.com/console", "api.example.com", "*"])
def test_the_console_is_reached_by_https_at_an_origin(url: str) -> None:
    """Anything else is refused: the cookie of a sign-in would not be kept there, or the way back not be found."""
    with pytest.raises(SettingsError, match=r"console\.url"):
        load(environ={"MIOSA_ROUTER_CONSOLE__URL": url})
    given = load(environ={"MIOSA_ROUTER_CONSOLE__URL": "https://api.example.com:8443/"})
    assert given.console.sign_in == "https://api.example.com:8443"
    assert load(environ={}).console.sign_in is None
    off = {"MIOSA_ROUTER_CONSOLE__URL": "https://api.example.com", "MIOSA_ROUTER_CONSOLE__ENABLED": "false"}
    assert load(environ=off).console.sign_in is None
