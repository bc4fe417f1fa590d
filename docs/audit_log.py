"""Writes docs/audit-log.md, with the table of actions made from the routes: `make docs`. A unit test says when the page is out of date."""

import sys
from collections.abc import Iterator

from router.api.operations import Auth, Handlers, Operation
from router.audit.actions import route_action
from router.audit.system import HAPPENED
from router.node import rest  # noqa: F401 - it imports every class of handlers

INTRODUCTION = """\
# Audit log: who did what with which key from where

Made by `make docs` from `docs/audit_log.py` and the routes of the API; don't edit it here.

Each act of somebody that may change something has an entry: over the API (every request but GET), by a command of `miosa-router`, by an operator at the
node's sockets (`traffic.tap`, `session.cut`, `log_level.set`), and what the router does by itself. The
entry is written in the transaction of the change, so there is none without the other. Entries are kept for a year (`audit.retention`),
up to 500,000 of a tenant (`audit.max_entries_per_tenant`), in the store; [retention.md](retention.md) has what else is kept for how long. No route, command or job changes one; only retention deletes, and the deletion of the
tenant, of which one entry stays: that it was deleted, when and by whom.

## Read it

```sh
api() { curl -sS -H "Authorization: Bearer $KEY" "http://127.0.0.1:8081/api/v1$1"; echo; }
api "/audit-log?limit=20"                                   # the newest first; `page.next_cursor` of the answer is the next `cursor`
api "/audit-log?action=custom_domain.*&outcome=refused"
api "/audit-log?resource_id=$ID&since=2026-05-17T10:00:00Z"
api "/audit-log?actor_id=$KEY_ID"
```

`/audit-log/export` takes the same conditions and sends everything as a file, `format=ndjson` (a JSON object in each line) or `csv`, while it is
read: a connection that is cut says that the file is not whole. Four of an organization may be under way at a node; more get 429. In CSV a text that a spreadsheet would take for a formula has a quote before it. Operators
have `miosa-router audit list` and `miosa-router audit export FILE [--csv]`, over all tenants or one.

| condition | finds |
|---|---|
| `action` (or `type`) | one action, or all of a kind: `custom_domain.*` |
| `actor_type`, `actor_id` | whose acts |
| `resource_type`, `resource_id` | about what |
| `outcome` | `ok`, `refused` or `failed` |
| `request_id` | the act of one request |
| `workspace_id`, `project_id` | what was done there |
| `since`, `until` | when, RFC 3339 |

The official client calls it `client.audit_log.list(type=…, actor_id=…, resource_type=…, resource_id=…, after=…, limit=…)`.

Who sees what: a key of the tenant all of its entries; a key of a workspace or project those of what lies there, and of what was done with
such a key; a key of the platform everything, also what is about no tenant. Of acts of the platform's own people a tenant sees that it was they
(`actor_id` is `platform`), what they did and when: no name, address, request id or program, and conditions on `actor_id` and `request_id` leave
these acts out.

## An entry

| field | has |
|---|---|
| `actor_type` | `api_key`, `jwt` (a JSON Web Token), `person` (somebody signed in to the console), `platform` (the internal token), `operator` (a user of the operating system), `system` (the router itself) |
| `actor_id`, `actor_name` | of a key its id and its name then; of a token its `sub` and the issuer; of an operator the number and name of the user |
| `actor_scope` | how far the key or token reaches |
| `via` | `api`, `cli`, `socket` (the node's own socket for operators) or `job` |
| `action` | a noun and what was done to it: below |
| `resource_type`, `resource_id`, `resource_name` | what it was done to; the name is as it was then |
| `outcome`, `status`, `code` | `ok`, `refused` or `failed` (a fault of ours), with the status and error code of the answer |
| `changes` | the fields that changed: `{"name": {"old": "a", "new": "b"}, "metadata": null}`; where no field says it, the [events](webhooks.md) that came of it, under `events` |
| `address` | where the request came from |
| `request_id`, `user_agent` | as on the log lines of the request; the program's name, 200 characters of it |
| `count` | for how many equal refusals it stands |

**Values.** The values of a field are in `changes` only where the field is on a list of fields that hold no secret: names, domains,
numbers, words such as a visibility, times (`router/audit/safe_fields.py`). Of every other field, and of one that is added tomorrow, there
is the name, with null. What looks like a secret (a key, a token, a private key, a password in a URL) is `***` wherever it stands, in names too.

**Addresses.** They are whole, of IPv6 the /64, unlike those of visitors in [request logs](request-logs.md): who acts here holds a key of the tenant and is
no visitor, and after a key was stolen the first question is where from. Only who may read the tenant's entries sees them.

**Refused acts** are requests that were understood and came with a valid key, and got 403, 404 (also for what belongs to others), 409, 410, 412, 423, 424 or
451. A wrong field (422), a rate (429) or a key that nobody has (401) is no act: the log lines have it. Equal refusals become one entry with a `count`, and of
a tenant at most 50 different ones each second have entries of their own; what comes on top is counted in one, `audit.more_refusals`. Where a tenant has more entries than it may, those of refused acts go first.

**Not here**: visits, and passwords and sign-ins of visitors at previews, which are in the access log; share links, passwords and tokens that are made or
revoked are. A request that is sent again with the same `Idempotency-Key` was one act.

**When it is there.** With the change, in the same transaction. Entries of acts that changed nothing follow within about a second; where the store can't be
reached they wait, up to 10,000 on a node, and what comes on top or is left when the node ends is lost and counted (`audit_entries_lost`).

## Actions
"""

_SYSTEM = """\

Two kinds of actions have no row above: `session.begin`, when somebody signs in to the console, and what only commands do: `tenant.create`,
`certificate.renew`, `delegation.check`, `signing_key.rotate`, `secrets_key.rotate` and `acme_account.rotate`.

By itself (`actor_type` `system`) the router writes an entry where a domain, preview domain or block changes its state without a request, and where
somebody's act changes what belongs to another tenant: """


def operations() -> Iterator[Operation]:
    """The operations of every class of handlers, as they are served."""
    kinds = [Handlers]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        for member in vars(kind).values():
            row: Operation | None = getattr(member, "__operation__", None)
            if row is not None and row.mutates and kind.auth is not Auth.NONE and kind.__module__.startswith("router."):
                yield Operation(**{**_fields(row), "path": kind.prefix + row.path})


def _fields(row: Operation) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def page() -> str:
    """The whole page."""
    routes: dict[str, set[str]] = {}
    for row in operations():
        action = route_action(row.method, row.path).action
        path = row.path.removeprefix("/api/v1").replace(":text", "")
        routes.setdefault(action, set()).add(f"`{row.method} {path}`")
    lines = [f"| `{action}` | {', '.join(sorted(found))} |" for action, found in sorted(routes.items())]
    happened = ", ".join(f"`{word}`" for word in sorted(HAPPENED))
    return "\n".join([INTRODUCTION, "| action | routes |", "|---|---|", *lines, _SYSTEM + happened + ".", ""])


if __name__ == "__main__":
    sys.stdout.write(page())
