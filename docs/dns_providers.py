"""Writes docs/dns-providers.md from router/domains/dns_providers.py: `make docs`. A unit test says when the page is out of date."""

import sys

from router.domains.dns_providers import PROVIDERS, DnsProvider

INTRODUCTION = """\
# DNS providers

Made from `router/domains/dns_providers.py` by `make docs`; don't edit it here.

The API names a domain's DNS provider in `dns_provider`, beside the `records` to add: it is known by the name servers of the zone, as
the last check of the domain saw them. For each provider this page has the link to where its customers change DNS records, and
what its form calls the fields.

| in `records` | at the provider |
|---|---|
| `type` | the type of the record |
| `host` | its field for the name, called `host_field` here; where `host` is `@`, what `apex` says |
| `value` | its field for the value, called `value_field` here |

A domain itself (`example.com`, not `www.example.com`) can't be a CNAME. Where the provider has a record type that does the same there,
it is in the column "for the domain itself"; elsewhere add A and AAAA records with the addresses of the target. Where the
provider supports Domain Connect, the API has an `apply_url` that sets all records in one click ([domain-connect.md](domain-connect.md)).

| provider | name servers | name field | value field | name of the domain itself | for the domain itself |
|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = [_row(provider) for provider in PROVIDERS]
    hints = [f"- **{one.name}**: {one.hint}" for one in PROVIDERS if one.hint is not None]
    return INTRODUCTION + "\n".join(rows) + "\n\n## What goes wrong most often\n\n" + "\n".join(hints) + "\n"


def _row(one: DnsProvider) -> str:
    servers = ", ".join(f"`{suffix}`" for suffix in one.suffixes)
    apex = f"`{one.apex}`" if one.apex else "leave empty"
    fields = (
        f"[{one.name}]({one.panel_url})",
        servers,
        one.host_field,
        one.value_field,
        apex,
        one.apex_record or "A, AAAA",
    )
    return f"| {' | '.join(fields)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
