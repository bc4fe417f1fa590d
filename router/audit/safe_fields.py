"""What of a record's values may stand in an entry.

Values are kept of the fields below alone: names, domains, numbers, words of closed sets, times. Of any other field an entry has the
name, so a field that somebody adds tomorrow is safe. What looks like a secret is masked wherever it stands, also in a name.
"""

import enum
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

_MASK: Final = "***"
_MAX_TEXT: Final = 200
_MAX_ITEMS: Final = 20
_MAX_FIELDS: Final = 60
_MAX_BYTES: Final = 8192  # of the changes of one entry

# The ends of secrets of ours and of others, as they are written: keys and tokens by their first characters, JSON Web Tokens, private
# keys, what follows Bearer and Basic, and the password in a URL.
_SECRETS: Final = re.compile(
    r"""
    \b(?:msk|mcs|mpt|mpl|mpo|whsec|sk|pk|rk|ghp|gho|ghs|ghu|github_pat|glpat|xox[abprs]|AKIA)[_-]?[A-Za-z0-9_+/=-]{12,}
    | \beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}
    | -----BEGIN[^\n]*PRIVATE[\s\S]*
    | \b(?:bearer|basic)\s+[^\s,;]{6,}
    | (?<=://)[^/\s@]+@
    """,
    re.VERBOSE | re.IGNORECASE,
)

# By the class of a record. A test compares them with the classes.
SAFE: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "Tenant": "name slug plan auto_expose suspended default_visibility default_wake default_keeps_awake pings_keep_awake",
        "Workspace": "name slug is_default",
        "Project": "name slug workspace_id is_default",
        "Key": "name scope scope_id expires_at revoked_at",
        "Resource": "name slug kind state workspace_id project_id suspended default_port exposed_ports first_byte visibility wake"
        " keeps_awake identity capture_since capture_until capture_by size vcpus memory_mb disk_gb auto_stop_seconds deleted_at",
        "Deployment": "source_type auto_deploy active_version_id active_release_id current_build_id custom_domain_id",
        "Preview": "name port visibility host_mode scheme protocol expires_at hide identity networks cors cors_origins",
        "PreviewSecret": "name kind preview_id expires_at",
        "TrustedIssuer": "name issuer audience enabled workspace_id project_id",
        "LogDrain": "name kind format resource_id errors_only state",
        "Login": "issuer client_id email_domains anyone session_hours console_role",
        "Version": "number kind state environment port promoted_at",
        "Release": "number version_id previous_version_id environment action",
        "EnvVar": "environment secret",
        "CustomDomain": "fqdn status resource_id redirect_policy redirect_status suspended failure_reason removed_at",
        "PreviewDomain": "scope scope_id domain status dns_status failure_reason",
        "HeldCertificate": "domain origin names issuer serial not_before not_after",
        "CertificateRequest": "domain names",
        "Webhook": "event_types enabled workspace_id project_id",
        "Block": "kind subject public_reason expires_at lifted_at",
        "StoredEndpoint": "resource_id address version_id state ports",
    }.items()
}

# Fields that change with every write, or say nothing to a reader of the log.
SILENT: Final = frozenset(
    {
        "id",
        "tenant_id",
        "created_at",
        "updated_at",
        "last_used_at",
        "used_at",
        "check",
        "checked_at",
        "generation",
        "detail",
    }
    | {"digest", "prefix", "token", "proof", "computer_count"}
)


def masked(text: str) -> str:
    """The text, with what looks like a secret taken out."""
    return _SECRETS.sub(_MASK, text)


def cut(text: str, most: int) -> str:
    """The text as it may stand in an entry: masked, without control characters, no longer than that."""
    # Masked before it is cut: half a secret would not look like one.
    clean = "".join(letter if letter.isprintable() else " " for letter in masked(text[: 8 * most]))
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def bounded(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The changes as an entry may have them: of too many bytes the names alone."""
    some = dict(list(changes.items())[:_MAX_FIELDS])
    return some if len(json.dumps(some)) <= _MAX_BYTES else dict.fromkeys(some)


def shown(value: Any) -> Any:
    """A value of a safe field as JSON has it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return cut(value, _MAX_TEXT)
    if isinstance(value, Mapping):
        return {str(key): shown(one) for key, one in list(value.items())[:_MAX_ITEMS]}
    if isinstance(value, frozenset | set):
        return [shown(one) for one in sorted(value)[:_MAX_ITEMS]]
    if isinstance(value, tuple | list):
        return [shown(one) for one in value[:_MAX_ITEMS]]
    return None
