"""Did anything happen in a database on SQL Server? One row a table, counted and summed by the server itself.

A save of Plant 3D moves stamp and revision of the item's row in `PnPBase`, whose sums are exact. What changes without a
stamp shows in the number of rows and in `BINARY_CHECKSUM`, which may, rarely, not move where several values change
places; so of the ids in a relation the sums of products are taken as well, and a look is believed for a day only. The database is not altered, and no right is needed but to read its tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from plant3d_sync.connectors.plant3d.names import bracketed
from plant3d_sync.connectors.plant3d.reading.sqlserver_layout import (
    ROOT,
    SCHEMA,
    Layout,
    Table,
    layout_of,
)
from plant3d_sync.connectors.plant3d.reading.sqlserver_session import Row, Session

TABLES_AT_ONCE: Final = 40
"""Tables in one statement."""

_SUMMED: Final = ("PnPID", "PnPTimestamp", "PnPRevision")
_WHOLE: Final = frozenset({"int", "bigint", "smallint", "tinyint"})
_INCOMPARABLE: Final = frozenset(
    {"text", "ntext", "image", "xml", "geometry", "geography", "hierarchyid", "sql_variant"}
)
"""Types that `BINARY_CHECKSUM` does not take."""


def look(session: Session) -> str:
    """A digest that stays the same while nothing moves. Raises ConfigError or RetryLaterError."""
    layout = layout_of(session)
    digest = hashlib.blake2b(digest_size=16)
    names = layout.needed()
    for start in range(0, len(names), TABLES_AT_ONCE):
        some = names[start : start + TABLES_AT_ONCE]
        digest.update(repr([layout.tables[name] for name in some]).encode("utf-8", "surrogatepass"))
        digest.update(repr(sums_of(session, layout, some)).encode())
    return digest.hexdigest()


def sums_of(session: Session, layout: Layout, names: Sequence[str]) -> list[Row]:
    """What the server counts and sums of these tables, in their order. Raises ConfigError or RetryLaterError."""
    found: list[Row] = []
    for start in range(0, len(names), TABLES_AT_ONCE):
        found += sorted(map(tuple, session.all(statement(layout, names[start : start + TABLES_AT_ONCE]))))
    return found


def statement(layout: Layout, names: Sequence[str]) -> str:
    """One row for each of these tables: its place, its rows, its checksum, its sums as text."""
    return " UNION ALL ".join(
        _of_table(place, layout.tables[name], layout.roles(name) if name in layout.relations else ())
        for place, name in enumerate(names)
    )


def _of_table(place: int, table: Table, roles: Sequence[str]) -> str:
    compared = [bracketed(name) for name, kind in table.columns if kind not in _INCOMPARABLE]
    checksum = f"CHECKSUM_AGG(BINARY_CHECKSUM({', '.join(compared)}))" if compared else "0"
    known = {name.lower(): name for name, kind in table.columns if kind in _WHOLE}
    summed = [known[name.lower()] for name in _SUMMED if name.lower() in known]
    sums = [_sum(bracketed(name)) for name in summed]
    if table.name.lower() == ROOT:  # stamps that two items exchange leave every plain sum as it was
        sums += [_sum(bracketed(summed[0]), bracketed(one)) for one in summed[1:]]
    sums += [
        _sum(bracketed(one), bracketed(other))
        for at, one in enumerate(roles)
        for other in [*roles[at + 1 :], *(known[name] for name in ("pnpid",) if name in known)]
    ]
    text = " + ',' + ".join(sums) or "''"
    return f"SELECT {place}, COUNT_BIG(*), {checksum}, {text} FROM [{SCHEMA}].{bracketed(table.name)}"


def _sum(*columns: str) -> str:
    """The exact sum of a product of whole numbers, as text."""
    product = " * ".join(f"CAST({one} AS decimal(19,0))" for one in columns)
    return f"ISNULL(CAST(SUM(CAST({product} AS decimal(38,0))) AS varchar(40)), '')"
