"""The public suffix list, read by us."""

import idna
import pytest
import tldextract

from router.domains.public_suffixes import PublicSuffix, PublicSuffixes, public_suffixes

LIST = """
// ===BEGIN ICANN DOMAINS===
com
uk
co.uk
*.ck
!www.ck
cn
公司.cn
// ===BEGIN PRIVATE DOMAINS===
github.io   what follows a rule is no part of it
*.cloud.com
*.eu.cloud.com
"""

# Of `*.a.b` and `*.b` tldextract takes only the longer one, also for `a.b`, which the shorter one is about.
WILDCARDS_TOGETHER = {"customer-oci.com", "firenet.ch", "futurecms.at", "snowflake.app", "wc.psl.hrsn.dev"}


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("com", "com"),
        ("a.b.com", "com"),
        ("a.co.uk", "co.uk"),
        ("a.uk", "uk"),
        ("ck", None),
        ("a.ck", "a.ck"),
        ("b.a.ck", "a.ck"),
        ("www.ck", "ck"),
        ("a.www.ck", "ck"),
        ("a.xn--55qx5d.cn", "xn--55qx5d.cn"),
        ("xn--a.cn", "cn"),
        ("cloud.com", "com"),
        ("eu.cloud.com", "eu.cloud.com"),
        ("a.eu.cloud.com", "a.eu.cloud.com"),
        ("io", None),
        ("a.test", None),
    ],
)
def test_the_longest_rule_decides(name: str, suffix: str | None) -> None:
    """A `*` stands for one label, and `!` takes a name out of it; what no rule covers has no suffix."""
    found = PublicSuffixes(LIST).of(name)
    assert (found and found.name) == suffix


def test_a_company_s_zone_is_not_a_registry_s() -> None:
    """The second section of the list is told apart from the first."""
    suffixes = PublicSuffixes(LIST)
    assert suffixes.of("me.github.io") == PublicSuffix("github.io", private=True)
    assert suffixes.of("example.co.uk") == PublicSuffix("co.uk", private=False)


def test_the_list_says_what_tldextract_says() -> None:
    """For every rule of the whole list: the name itself, those below it, and the one above."""
    ours = public_suffixes()
    theirs = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)
    rules = theirs.tlds
    assert len(rules) > 9_000
    for rule in rules:
        base = rule.removeprefix("!").removeprefix("*.")
        name = ".".join(idna.encode(label).decode("ascii") for label in base.split("."))
        above = name.partition(".")[2]
        for one in filter(None, (name, f"x.{name}", f"z.y.x.{name}", above)):
            if one.partition(".")[2] in WILDCARDS_TOGETHER:
                continue
            read, found = theirs(one), ours.of(one)
            assert (read.suffix, read.is_private) == (("", False) if found is None else (found.name, found.private)), (
                one
            )
