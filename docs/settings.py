"""Writes docs/settings.md from router/settings/: `make docs`. A unit test says when the page is out of date."""

import ipaddress
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from router.settings import PREFIX, Settings
from router.settings.acme import AcmeSettings
from router.settings.certificate_listener import CertificateListenerSettings

INTRODUCTION = f"""\
# Settings

Made from `router/settings/` by `make docs`; don't edit it here.

Each setting is a key of the TOML file (`miosa-router serve --config FILE`) or a variable; the variable wins. Lists are
TOML lists, or words separated by commas. Sizes are in bytes, times in seconds. An unknown key or a bad value keeps
the router from starting, and is named. `miosa-router check-config` shows what is in force, without secrets.

```toml
workers = 4
database_url = "postgresql://router@db.internal/router"

[limits]
body_idle = 600
```

is the same as `{PREFIX}WORKERS=4 {PREFIX}DATABASE_URL=… {PREFIX}LIMITS__BODY_IDLE=600`.
"""


def page() -> str:
    """The whole page."""
    groups = [(name, field) for name, field in Settings.model_fields.items() if _group(field)]
    plain = [(name, field) for name, field in Settings.model_fields.items() if not _group(field)]
    # A base class's fields come first; here last.
    plain.sort(key=lambda item: item[0] in AcmeSettings.model_fields | CertificateListenerSettings.model_fields)
    parts = [INTRODUCTION, *_table("", plain)]
    for name, field in groups:
        group = _group(field)
        if group is not None:
            parts += [f"\n## {name}\n", f"{_sentence(group)}\n", *_table(name, group.model_fields.items())]
    return "\n".join(parts) + "\n"


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _sentence(group: type[BaseModel]) -> str:
    return " ".join((group.__doc__ or "").split())


def _table(group: str, fields: Iterable[tuple[str, FieldInfo]]) -> Iterator[str]:
    yield "| key | variable | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in fields:
        key = f"{group}.{name}" if group else name
        variable = PREFIX + key.upper().replace(".", "__")
        meaning = (field.description or "").replace("|", "\\|")
        yield f"| `{key}` | `{variable}` | {_shown(field)} | {meaning} |"


def _shown(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    return "none" if value is None else "empty" if value in ("", (), frozenset(), {}) else f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(_plain(item) for item in value)
    if isinstance(value, frozenset):
        return ",".join(sorted(_plain(item) for item in value))
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network | int | float | str):
        return str(value)
    if isinstance(value, SecretStr):
        return "secret"
    raise TypeError(f"no spelling for {value!r}")


if __name__ == "__main__":
    sys.stdout.write(page())
