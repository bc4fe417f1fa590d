"""Whether the numbers of what scopes hold are those of the rows."""

from collections import Counter

import sqlalchemy as sa

from router.settings import Database
from router.store.engine import parsed, writing_engine
from router.store.holdings import COUNTED, holding_changes, holdings

Numbers = dict[tuple[str, str], int]

_NOUNS = {"custom_domains": "custom_domain", "projects": "project", "workspaces": "workspace"}
_NOUNS |= {"preview_domains": "preview_domain"}
_SCOPES = ("tenant_id", "workspace_id", "project_id", "resource_id")


async def numbers(database: str) -> tuple[Numbers, Numbers]:
    """Those that are kept, and those that counting finds."""
    kept, counted = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    engine = writing_engine(parsed(database, create=False), Database())
    async with engine.connect() as connection:
        for table in (holdings, holding_changes):
            for scope_id, noun, number in await connection.execute(
                sa.select(table.c.scope_id, table.c.noun, table.c.number)
            ):
                kept[scope_id, noun] += int(number)
        for table in COUNTED:
            ended = next((table.c[name] for name in ("deleted_at", "removed_at") if name in table.c), None)
            for row in await connection.execute(sa.select(table).where(*([] if ended is None else [ended.is_(None)]))):
                for scope in _SCOPES:
                    if scope in table.c:
                        counted[getattr(row, scope), _NOUNS.get(table.name) or row.kind] += 1
    await engine.dispose()
    return {one: number for one, number in kept.items() if number}, dict(counted)
