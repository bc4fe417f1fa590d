"""The resolvers of the machine."""

from pathlib import Path

from router.dns.system_resolvers import system_resolvers

FILE = """\
# nameserver 192.0.2.9
; nameserver 192.0.2.8
domain example.com
search example.com a.example.com
nameserver 192.0.2.1
nameserver\t2001:db8::1 # beside it
nameserver fe80::1%eth0
nameserver
nameserver resolver.example.com
options edns0 trust-ad
"""


def test_resolvers_are_read_as_libc_reads_them(tmp_path: Path) -> None:
    """Addresses of `nameserver` lines, in their order; what is no address is skipped."""
    file = tmp_path / "resolv.conf"
    file.write_text(FILE)
    assert system_resolvers(file) == ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"]


def test_a_machine_without_resolvers(tmp_path: Path) -> None:
    """There are none, which is said in the log and fails nothing."""
    assert system_resolvers(tmp_path / "missing") == []
    (tmp_path / "resolv.conf").write_text("domain example.com\n")
    assert system_resolvers(tmp_path / "resolv.conf") == []
