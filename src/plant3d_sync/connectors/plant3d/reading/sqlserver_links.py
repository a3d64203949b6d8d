"""Links and registry entries in the local copy: their rows of `PnPBase` are made from their own tables.

More than a third of the rows of `PnPBase` belong to links and entries of the tag registry [seen: DMPP]. What anybody asks of
those rows is whether they are there, of which class, how many, and the newest stamp. So the server tells number and stamp,
and where the class's own table has exactly as many, each of its rows stands for one. Where it has not (an audit is due, or
somebody saves just now), the rows are read like every other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.reading.sqlserver_layout import (
    ROOT,
    Layout,
    where_class_is,
)
from plant3d_sync.connectors.plant3d.reading.sqlserver_values import TEXT_KINDS
from plant3d_sync.model.catalog import LINK_CLASSES

MADE: Final = "[PnPID], [PnPClassName], [PnPTimestamp]"
"""Columns of a row that is made; what it does not hold is NULL."""


def counting_statement(links: Iterable[str]) -> str:
    """How many rows of `PnPBase` each of these classes has, and the newest stamp among them."""
    where = where_class_is(links)
    return f"SELECT [PnPClassName], COUNT(*), MAX([PnPTimestamp]) FROM [dbo].[PnPBase]{where} GROUP BY [PnPClassName]"


def stand_in(target: sqlite3.Connection, layout: Layout, link: str, count: int, newest: object) -> bool:
    """Make the rows of one class in the copy. False, and nothing is made, where it has not exactly so many."""
    base, table = quoted(layout.tables[ROOT].name), quoted(layout.tables[link].name)
    free = f"FROM {table} AS l WHERE NOT EXISTS (SELECT 1 FROM {base} AS b WHERE b.[PnPID] = l.[PnPID])"
    (found,) = target.execute(f"SELECT count(*) {free}").fetchone()
    (rows,) = target.execute(f"SELECT count(*) FROM {table}").fetchone()
    if found != count or rows != count:
        return False
    target.execute("BEGIN")
    target.execute(
        f"INSERT INTO {base} ({MADE}) SELECT [PnPID], ?, ? FROM {table}", (LINK_CLASSES[link], newest)
    )
    target.execute("COMMIT")
    return True


def stored(target: sqlite3.Connection, layout: Layout, link: str) -> set[tuple[object, ...]]:
    """The rows of this class's own table in the copy, text as bytes."""
    table = layout.tables[link]
    columns = ", ".join(
        f"CAST({quoted(name)} AS BLOB)" if kind in TEXT_KINDS else quoted(name)
        for name, kind in table.columns
    )
    return {tuple(row) for row in target.execute(f"SELECT {columns} FROM {quoted(table.name)}")}
