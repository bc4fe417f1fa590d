"""Records as they lie in Redis: what goes in comes out, and nothing that lies there can break a reader."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from router.access.rules import AccessRules
from router.routes.chain import Decision, Level
from router.routes.encoding import FORMAT, CorruptValueError, NewerFormatError, decode, encode
from router.routes.policies import OTHER_PORTS, AccessIssuer, AccessPolicy, AccessSecret, Cors, SecretKind, Visibility
from router.routes.records import (
    DomainStatus,
    Endpoint,
    Kind,
    ListeningSocket,
    NameRecord,
    Record,
    ResourceRecord,
    Scope,
    SessionRecord,
    State,
    ZoneMember,
    ZoneRecord,
)
from router.routes.route import Route
from router.routes.wakes import Wake, WakeRecord, WakeState
from tests.support import records as make

PORTS = some.integers(1, 65535)
TEXT = some.text(max_size=20)

ENDPOINTS = some.builds(
    Endpoint,
    address=some.ip_addresses().map(str),
    generation=TEXT,
    ports=some.dictionaries(PORTS, PORTS, max_size=3),
    listening=some.none()
    | some.lists(some.builds(ListeningSocket, PORTS, some.ip_addresses().map(str)), max_size=3).map(tuple),
)
INSTANTS = some.none() | some.floats(0, 1e11)
SECRETS = some.builds(
    AccessSecret,
    id=TEXT,
    kind=some.sampled_from(SecretKind),
    digest=TEXT,
    until=INSTANTS,
    revoked=some.booleans(),
    used=some.booleans(),
)
ISSUERS = some.builds(AccessIssuer, id=TEXT, issuer=TEXT, audience=TEXT, generation=some.integers(0, 2**31))
POLICIES = some.builds(
    AccessPolicy,
    visibility=some.sampled_from(Visibility),
    generation=some.integers(0, 2**31),
    tenant=TEXT,
    secrets=some.lists(SECRETS, max_size=3).map(tuple),
    networks=some.lists(TEXT, max_size=2).map(tuple),
    until=INSTANTS,
    hide=some.booleans(),
    cors=some.sampled_from(Cors),
    origins=some.lists(TEXT, max_size=2).map(tuple),
    login=some.booleans(),
    issuers=some.lists(ISSUERS, max_size=3).map(tuple),
    identity=some.booleans(),
)
RESOURCES = some.builds(
    ResourceRecord,
    id=TEXT,
    kind=some.sampled_from(Kind),
    slug=TEXT,
    tenant_id=TEXT,
    workspace_id=TEXT,
    project_id=TEXT,
    state=some.sampled_from(State),
    version=some.integers(0, 2**53),
    default_port=some.none() | PORTS,
    exposed_ports=some.none() | some.frozensets(PORTS, max_size=4),
    suspended=some.booleans(),
    endpoint=some.none() | ENDPOINTS,
    host_modes=some.dictionaries(PORTS, TEXT.filter(bool), max_size=3),
    protocols=some.dictionaries(PORTS, some.just("h2c"), max_size=3),
    schemes=some.dictionaries(PORTS, some.just("https"), max_size=3),
    first_byte=some.none() | some.floats(0.001, 1e6),
    branding=some.dictionaries(TEXT, TEXT, max_size=3),
    policies=some.dictionaries(some.just(OTHER_PORTS) | PORTS, POLICIES, max_size=3),
    wake=some.sampled_from(Wake),
    keeps_awake=some.booleans(),
    pings_keep_awake=some.booleans(),
    deployment_version=TEXT,
    capture_until=some.just(0.0) | some.floats(1.0, 4e9),
)
NAMES = some.builds(
    NameRecord,
    fqdn=TEXT,
    status=some.sampled_from(DomainStatus),
    suspended=some.booleans(),
    tenant_id=TEXT,
    resource=some.none() | RESOURCES,
    version=some.integers(0, 2**53),
    caa_forbidden=some.booleans(),
    not_pointing=some.booleans(),
    challenge=some.none() | some.tuples(TEXT, TEXT),
)
CLAIMS = some.builds(
    ZoneMember,
    scope=some.sampled_from(Scope),
    scope_id=TEXT,
    tenant_id=TEXT,
    verified=some.booleans(),
    caa_forbidden=some.booleans(),
    not_pointing=some.booleans(),
)
ZONES = some.builds(
    ZoneRecord, domain=TEXT, claims=some.lists(CLAIMS, max_size=3).map(tuple), version=some.integers(0, 2**53)
)
SESSIONS = some.builds(
    SessionRecord,
    id=TEXT,
    tenant_id=TEXT,
    subject=TEXT,
    email=some.none() | TEXT,
    version=some.integers(0, 2**53),
    until=some.floats(0, 1e11),
    revoked=some.booleans(),
)

WAKES = some.builds(
    WakeRecord,
    resource_id=TEXT,
    state=some.sampled_from(WakeState),
    since=some.floats(0, 1e11),
    until=some.floats(0, 1e11),
    version=some.integers(0, 2**53),
    place=some.none() | some.integers(1, 10_000),
    code=some.none() | some.integers(100, 599),
)


def key_of(record: Record) -> str:
    kinds = {
        NameRecord: "name:x",
        ZoneRecord: "zone:x",
        ResourceRecord: "slug:x",
        SessionRecord: "session:x",
        WakeRecord: "wake:x",
    }
    return kinds[type(record)]


@given(RESOURCES | NAMES | ZONES | SESSIONS | WAKES, some.integers(0, 2**53))
def test_what_goes_in_comes_out(record: Record, version: int) -> None:
    """Every field of every record, and the version beside it."""
    assert decode(key_of(record), encode(version, record)) == (version, record)


@pytest.mark.parametrize("said", ["true", "null", "0", '"no"', "[]"])
def test_what_is_not_plainly_a_session_that_goes_on_has_ended(said: str) -> None:
    """A mistake must open nothing."""
    body = '{"f":1,"id":"ses_1","tenant":"acme","subject":"ada","email":null,"version":1,"until":5,"revoked":%s}'
    assert decode("session:ses_1", b"1 " + (body % said).encode()) == (
        1,
        SessionRecord("ses_1", "acme", "ada", None, 1, 5.0, revoked=True),
    )


def test_redirects_come_out() -> None:
    """The fields that only some names have."""
    record = make.name("shop.org", make.resource(), redirect_to="www.shop.org", redirect_status=301)
    assert decode("name:shop.org", encode(3, record)) == (3, record)


@pytest.mark.parametrize("key", ["name:x", "zone:x", "slug:x", "session:x", "wake:x"])
def test_that_there_is_none_has_a_version_too(key: str) -> None:
    """So that a tombstone is not overwritten by what was there before it."""
    assert encode(7, None) == b"7 -"
    assert decode(key, b"7 -") == (7, None)


@given(some.binary(max_size=60))
def test_garbage_is_corrupt(garbage: bytes) -> None:
    """Whatever it is, it is an error of one kind, or a record."""
    for key in ("name:x", "zone:x", "slug:x", "session:x", "wake:x"):
        try:
            decode(key, garbage)
        except CorruptValueError:
            continue
        assert garbage.partition(b" ")[2] == b"-"


def broken(**changes: Any) -> bytes:
    head, _, body = encode(1, make.resource()).partition(b" ")
    return head + b" " + json.dumps(json.loads(body) | changes).encode()


@pytest.mark.parametrize(
    "value",
    [
        broken(kind="spaceship"),
        broken(state=None),
        broken(endpoint=["nowhere", "boot-1", {}]),
        broken(endpoint=["127.0.0.1"]),
        broken(exposed="all"),
        broken(hosts={"http": "x"}),
        broken(hosts=[]),
        broken(branding={"logo": ["x"]}),
        broken(f="one"),
        b"1 {}",
        b"1 []",
        b"1 null",
        b'1 {"f":1}',
        b"1",
        b"",
        b"one {}",
        b"1 " + b"[" * 100_000,
    ],
)
def test_a_damaged_record_is_corrupt(value: bytes) -> None:
    """A field of the wrong kind is damage, not a crash in whoever uses it later."""
    with pytest.raises(CorruptValueError):
        decode("slug:shop", value)


def test_fields_of_a_newer_version_are_skipped() -> None:
    """While a fleet is being upgraded, both versions read what either wrote."""
    assert decode("slug:shop", broken(colour="red", f=FORMAT)) == (1, make.resource())
    claims = b'1 {"f":1,"domain":"x.org","claims":[["tenant","acme","acme",true,"later"]],"version":1}'
    assert decode("zone:x.org", claims) == (1, make.zone("x.org", make.claim("tenant", "acme")))
    later = b'1 {"f":1,"domain":"x.org","claims":[["tenant","acme","acme",true,true,false,"later"]],"version":1}'
    assert decode("zone:x.org", later) == (1, make.zone("x.org", ZoneMember(Scope.TENANT, "acme", "acme", True, True)))


def test_a_word_of_a_newer_version_wakes_nothing() -> None:
    """The record is good for everything else; one without the word is as it always was."""
    assert decode("slug:shop", broken(wake="sometimes")) == (1, make.resource())
    assert decode("slug:shop", broken(wake="any", uncounted=True)) == (
        1,
        make.resource(wake=Wake.ANY, keeps_awake=False),
    )
    assert not {b"wake", b"uncounted"} & set(encode(1, make.resource()).split(b'"'))


def test_fields_that_an_older_version_does_not_write() -> None:
    """What it knows nothing of is not so."""
    name = make.name("shop.org", make.resource())
    head, _, body = encode(1, name).partition(b" ")
    fields = json.loads(body)
    assert not {"caa_forbidden", "not_pointing", "challenge"} & set(fields)
    assert decode("name:shop.org", head + b" " + body) == (1, name)


def test_a_newer_format_is_not_ours_to_read() -> None:
    """It is not damage either: whoever wrote it can read it."""
    with pytest.raises(NewerFormatError, match="format 3"):
        decode("slug:shop", broken(f=FORMAT + 1))


def test_a_tenants_marks_are_one_object() -> None:
    """A logo may have 64 KiB, and a tenant thousands of records."""
    logo = {"logo": "x" * 1000}
    first, second = (decode("slug:a", encode(1, make.resource(slug, branding=dict(logo))))[1] for slug in ("a", "b"))
    assert isinstance(first, ResourceRecord)
    assert isinstance(second, ResourceRecord)
    assert first.branding is second.branding


def test_a_secret_of_all_ports_is_written_once() -> None:
    """A record with many ports and one set of secrets grows by a few bytes a port, not by the secrets."""
    secrets = tuple(AccessSecret(f"secret-{number}", SecretKind.LINK, f"{number:064x}") for number in range(50))
    policies = {port: AccessPolicy(Visibility.PRIVATE, secrets=secrets) for port in range(1, 257)}
    assert len(encode(1, make.resource(policies=policies))) < 256 * 300 + 50 * 200


def test_a_kind_of_secret_that_a_newer_version_knows_breaks_nothing() -> None:
    """The record is read, and that secret opens nothing here: neither by its hash nor by a cookie that names it."""
    known = AccessSecret("mail", SecretKind.LINK, "a" * 64)
    newer = AccessSecret("newer", SecretKind.PASSWORD, "")
    written = encode(
        1, make.resource("shop", policies={OTHER_PORTS: AccessPolicy(Visibility.PRIVATE, secrets=(newer, known))})
    )
    _, record = decode("slug:shop", written.replace(b'"password"', b'"passkey"'))
    assert isinstance(record, ResourceRecord)
    policy = record.policies[OTHER_PORTS]
    assert [secret.kind for secret in policy.secrets] == [SecretKind.UNKNOWN, SecretKind.LINK]
    decision = Decision(Level.PLATFORM, "served", None, record, 3000, "miosa.app")
    route = Route("shop.miosa.app", decision, keys=(), source="memory", expires=60.0)
    rules = AccessRules(route, policy, record, ())
    assert set(rules.secrets) == {known.digest}
    assert set(rules.secrets_by_id) == {"mail"}


def test_an_issuer_of_all_ports_is_written_once() -> None:
    """Twenty rules cost a record with many ports some bytes a port."""
    issuers = tuple(AccessIssuer(f"rule-{number}", "https://ci.example.com" * 10, "a" * 255, 1) for number in range(20))
    policies = {port: AccessPolicy(Visibility.PRIVATE, issuers=issuers) for port in range(1, 257)}
    assert len(encode(1, make.resource(policies=policies))) < 256 * 200 + 20 * 600
