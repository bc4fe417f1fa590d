"""Names under another, found by an index however many names there are.

Written from their end, all names under example.com begin with `moc.elpmaxe.`, so they lie side by side in an index. Each
table of names has them so in `reversed_name`. What a version of ours added that does not know that column has it empty, and is
compared by its end; the column is filled with its next change.
"""

import sqlalchemy as sa


def reversed_name(name: str) -> str:
    """What a row has in `reversed_name`."""
    return name[::-1]


def is_under(table: sa.Table, column: sa.Column[str], name: str) -> sa.ColumnElement[bool]:
    """Whether a row's name, in `column`, is under that one."""
    backwards, first = table.c.reversed_name, reversed_name(f".{name}")
    after = first[:-1] + chr(ord(first[-1]) + 1)
    unknown = sa.and_(backwards == "", column.endswith(f".{name}"))
    return sa.or_(sa.and_(backwards >= first, backwards < after), unknown)


def at_or_under(table: sa.Table, column: sa.Column[str], name: str, *, under: bool) -> sa.ColumnElement[bool]:
    """Whether a row has that name in `column`, or also one under it."""
    return sa.or_(column == name, is_under(table, column, name)) if under else column == name


def others(column: sa.Column[str], tenant_id: str) -> sa.ColumnElement[bool]:
    """Whether it is another tenant's: `!=` in a form in which an index skips what is this one's."""
    return sa.or_(column < tenant_id, column > tenant_id)
