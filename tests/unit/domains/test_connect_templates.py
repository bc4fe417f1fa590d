"""Our templates against the rules of their format: what the schema of the public repository of templates asks
(Domain-Connect/Templates, template.schema), what its review asks beyond that, and what our links need."""

import ipaddress
import re
from dataclasses import replace
from typing import Any

import pytest

from docs.domain_connect import FOLDER, files
from router.certificates.delegation import challenge_names
from router.domains.checks.challenge import txt_name
from router.domains.connect_templates import DELEGATED, EXAMPLE, Names, Service, file_name, key_records, template
from router.domains.names import WILDCARDS

# template.schema: which properties there are, of which type; and which of them each template needs.
PROPERTIES = {
    **dict.fromkeys(("providerId", "providerName", "serviceId", "serviceName", "logoUrl"), str),
    **dict.fromkeys(("description", "variableDescription", "syncRedirectDomain", "syncPubKeyDomain"), str),
    **dict.fromkeys(("syncBlock", "shared", "multiInstance", "warnPhishing", "hostRequired"), bool),
    "version": int,
    "records": list,
}
REQUIRED = {"providerId", "providerName", "serviceId", "serviceName", "records"}
# Of the types that we use: the properties of a record, and those that it needs.
COMMON = {"type": str, "host": str, "ttl": int, "groupId": str, "essential": str}
RECORDS: dict[str, tuple[dict[str, type], set[str]]] = {
    **{kind: ({**COMMON, "pointsTo": str}, {"host", "pointsTo"}) for kind in ("A", "AAAA", "CNAME")},
    "TXT": (
        {**COMMON, "data": str, "txtConflictMatchingMode": str, "txtConflictMatchingPrefix": str},
        {"host", "data"},
    ),
}
DC_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
VARIABLE = re.compile(r"%([A-Za-z0-9_-]+)%")
# Names of parameters that a link has for itself, which no variable may have (draft-ietf-dconn-domainconnect, "Special and Built-In
# Variables").
RESERVED = {
    *("domain", "host", "fqdn", "groupId", "providerName", "serviceName", "instanceId"),
    *("redirect_uri", "state", "crit", "sig", "key"),
}
ALL = tuple(Service)


def made(service: Service, names: Names = EXAMPLE) -> dict[str, Any]:
    return template(names, service)


@pytest.mark.parametrize("service", ALL)
def test_the_schema(service: Service) -> None:
    """No property that the schema does not have, each of its type, and all that it needs."""
    found = made(service)
    assert set(found) <= set(PROPERTIES)
    assert set(found) >= REQUIRED
    assert all(type(value) is PROPERTIES[name] for name, value in found.items())
    for record in found["records"]:
        properties, required = RECORDS[record["type"]]
        assert set(record) <= set(properties)
        assert set(record) >= {"type", "ttl", *required}
        assert all(type(value) is properties[name] for name, value in record.items())


@pytest.mark.parametrize("service", ALL)
def test_the_rules_beyond_the_schema(service: Service) -> None:
    """Ids that may stand in a URL; signed, so that no warning of phishing is needed; no variable in the name of a record or with
    a reserved name; no name that the provider adds by itself."""
    found = made(service)
    assert DC_ID.fullmatch(found["providerId"])
    assert DC_ID.fullmatch(found["serviceId"])
    assert found["syncPubKeyDomain"]
    assert found["syncRedirectDomain"]
    assert "warnPhishing" not in found
    assert not found.get("syncBlock")
    variables = {name for record in found["records"] for name in VARIABLE.findall(str(record))}
    assert variables
    assert not variables & RESERVED
    assert all(name in found["variableDescription"] for name in variables)
    for record in found["records"]:
        assert record["host"]
        assert not VARIABLE.search(record["host"])
        assert 0 < record["ttl"] < 2**31


@pytest.mark.parametrize("service", ALL)
def test_no_name_has_a_cname_beside_others(service: Service) -> None:
    """A CNAME stands alone (RFC 1034 §3.6.2), and at the host that is applied only where a host is required."""
    found = made(service)
    kinds: dict[str, list[str]] = {}
    for record in found["records"]:
        kinds.setdefault(record["host"], []).append(record["type"])
    assert all(len(of_name) == 1 for of_name in kinds.values() if "CNAME" in of_name)
    assert found.get("hostRequired", False) is ("CNAME" in kinds.get("@", ()))


@pytest.mark.parametrize("service", ALL)
def test_the_proof_takes_the_place_of_an_older_one(service: Service) -> None:
    """Only our TXT record stands at its name: one of another registration goes (txtConflictMatchingMode)."""
    (proof,) = (record for record in made(service)["records"] if record["type"] == "TXT")
    assert f"{proof['host']}.app.example.com" == txt_name("app.example.com")
    assert (proof["data"], proof["txtConflictMatchingMode"]) == ("%token%", "All")


@pytest.mark.parametrize("service", ALL)
def test_a_link_can_not_lead_elsewhere(service: Service) -> None:
    """Whatever is filled in, a record leads below our names or to our addresses."""
    below = (f".{EXAMPLE.verify_target}", f".{EXAMPLE.proxy_target}", f".{EXAMPLE.acme_zone}")
    for record in made(service)["records"]:
        if record["type"] == "CNAME":
            variable, _, rest = record["pointsTo"].partition(".")
            assert VARIABLE.fullmatch(variable)
            assert f".{rest}" in below
        elif record["type"] != "TXT":
            assert ipaddress.ip_address(record["pointsTo"]) in EXAMPLE.addresses


def test_which_records_each_sets() -> None:
    """A host, the top of a zone, a preview domain, and one whose certificate is validated by us."""
    shown = {
        service: [(record["type"], record["host"]) for record in made(service)["records"]]
        for service in EXAMPLE.services
    }
    wildcards = [("CNAME", name) for name in WILDCARDS]
    proof = ("TXT", "_miosa-challenge")
    assert shown == {
        Service.HOST: [("CNAME", "@"), proof],
        Service.APEX: [("A", "@"), ("AAAA", "@"), proof],
        Service.ZONE: [*wildcards, proof],
        Service.WILDCARD: [*wildcards, *(("CNAME", name) for name in DELEGATED), proof],
    }


def test_the_names_that_are_delegated() -> None:
    """Those at which certificates look for their challenges."""
    assert [f"{name}.preview.example.com" for name in DELEGATED] == list(challenge_names("preview.example.com"))


def test_what_an_installation_does_not_have() -> None:
    """Without addresses none for the top of a zone, without a zone of ours none with a certificate."""
    bare = replace(EXAMPLE, addresses=(), acme_zone=None)
    assert bare.services == (Service.HOST, Service.ZONE)


def test_the_records_of_a_key() -> None:
    """Numbered parts that fit into a string of a TXT record each, and are the key again one after the other."""
    records = key_records("A" * 200 + "B" * 192)
    assert records == [f"p=1,a=RS256,d={'A' * 200}", f"p=2,a=RS256,d={'B' * 192}"]
    assert all(len(record) <= 255 for record in records)


def test_the_files_are_current() -> None:
    """deploy/domain-connect has what `make docs` writes, each under the name that the repository of templates asks for, no other."""
    assert {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")} == files(), "run `make docs`"
    assert all(file_name(EXAMPLE, Service(service)) == f"miosa.ai.{service}.json" for service in EXAMPLE.services)
