"""Which zone a name is in, and who answers for it, from what DNS says."""

from typing import Any

import pytest

from router.domains.checks.name_servers import NameServers, find_name_servers, noted_name_servers
from router.domains.lookup import RecordType
from tests.support.memory_dns import MemoryLookup

NS, CNAME = RecordType.NS, RecordType.CNAME
NEVER = float("inf")
APP, TOP = "app.preview.example.com", "example.com"
ABOVE = NameServers(TOP, ("ns1.example.net", "ns2.example.net"))


def zone(dns: MemoryLookup) -> None:
    dns.put(TOP, NS, *ABOVE.servers)


def delegated(dns: MemoryLookup) -> None:
    dns.put("preview.example.com", NS, "ns.example.org")


def aliased(dns: MemoryLookup) -> None:
    """The name is an alias into a zone of ours, whose servers are not its own, or to a name that fails."""
    dns.put(APP, CNAME, "verify.miosa.ai")
    dns.put("verify.miosa.ai", NS, "ns.miosa.ai")


def aliased_to_silence(dns: MemoryLookup) -> None:
    dns.put(APP, CNAME, "dead.example.org")
    dns.fail("dead.example.org", "timeout")


def silent(dns: MemoryLookup) -> None:
    """It is not known whether a zone begins here."""
    dns.fail("preview.example.com", "timeout")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("also", "found"),
    [
        (lambda _: None, ABOVE),
        (delegated, NameServers("preview.example.com", ("ns.example.org",))),
        (aliased, ABOVE),
        (aliased_to_silence, ABOVE),
        (silent, None),
    ],
)
async def test_the_nearest_zone(also: Any, found: NameServers | None) -> None:
    """The nearest name above that has servers of its own."""
    dns = MemoryLookup()
    zone(dns)
    also(dns)
    assert await find_name_servers(dns, APP, NEVER) == found


@pytest.mark.asyncio
async def test_no_more_is_asked_than_was_bought() -> None:
    """A registry's zone is never a customer's."""
    dns = MemoryLookup()
    dns.put("com", NS, "a.gtld-servers.net")
    assert await find_name_servers(dns, APP, NEVER) is None
    assert {question.name for question in dns.asked} == {APP, "preview.example.com", TOP}


@pytest.mark.asyncio
async def test_many_servers() -> None:
    """A stranger's zone may name as many as it likes: eight are kept."""
    dns = MemoryLookup()
    dns.put(TOP, NS, *(f"ns{number:02}.example.net" for number in range(40)))
    found = await find_name_servers(dns, TOP, NEVER)
    assert found is not None
    assert len(found.servers) == 8


def test_as_it_is_stored() -> None:
    """What is noted is read again; a check from before it was noted has none."""
    assert noted_name_servers(ABOVE.noted()) == ABOVE
    assert noted_name_servers({"records": []}) is None
    assert noted_name_servers(None) is None
