"""What the segments of lines hold in the columns that a mapping asks a line for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from plant3d_sync.connectors.plant3d.catalog import ROOT, Discovery
from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.relations import SEGMENTS, Relations
from plant3d_sync.model.catalog import Column
from plant3d_sync.model.record import Value

SegmentValues = dict[str, dict[int, Value]]
"""Column in lower case -> segment -> value; None: empty, or the class lacks the column. A segment whose row is missing is left out."""


def segment_values(
    connection: sqlite3.Connection,
    tolerant: sqlite3.Connection,
    discovery: Discovery,
    names: Iterable[str],
    relations: Relations,
) -> SegmentValues:
    """The values of these columns on every segment. A default of the class counts as empty, as in any column."""
    class_of = _classes(connection, discovery, set(relations.groups_of) | relations.loose)
    return {name: _column(tolerant, discovery, name, class_of) for name in sorted(names)}


def _classes(connection: sqlite3.Connection, discovery: Discovery, wanted: set[int]) -> dict[int, str]:
    """Segment -> its class, as the catalogue spells it."""
    key, name = (discovery.table_column(ROOT, column) for column in ("PnPID", "PnPClassName"))
    spelled = {one.lower(): one for one in discovery.catalog.descendants(SEGMENTS)}
    if not spelled or not wanted:
        return {}
    rows = connection.execute(f"SELECT {key}, {name} FROM {discovery.table(ROOT)}")
    return {
        pnpid: spelled[of_class.lower()]
        for pnpid, of_class in rows
        if pnpid in wanted and isinstance(of_class, str) and of_class.lower() in spelled
    }


def _column(
    tolerant: sqlite3.Connection, discovery: Discovery, name: str, class_of: dict[int, str]
) -> dict[int, Value]:
    columns: dict[str, Column | None] = {
        one: discovery.catalog.column(one, name) for one in set(class_of.values())
    }
    stored = {
        table_class: _stored(tolerant, discovery, table_class, name)
        for table_class in {column.table_class for column in columns.values() if column is not None}
    }
    found: dict[int, Value] = {}
    for segment, of_class in class_of.items():
        column = columns[of_class]
        if column is None:
            found[segment] = None
        elif segment in stored[column.table_class]:
            found[segment] = _filled(stored[column.table_class][segment], column)
    return found


def _stored(
    tolerant: sqlite3.Connection, discovery: Discovery, table_class: str, name: str
) -> dict[int, Value]:
    physical = discovery.catalog.classes[table_class].physical
    key, column = (discovery.table_column(physical, one) for one in ("PnPID", name))
    if key is None or column is None:
        return {}
    rows = tolerant.execute(f"SELECT {key}, {column} FROM {quoted(physical)} WHERE typeof({key}) = 'integer'")
    return dict(rows)


def _filled(value: Value, column: Column) -> Value:
    if not isinstance(value, str):
        return value if isinstance(value, (int, float)) else None
    text = value.strip()
    default = column.default
    if default is not None and column.picklist is None and text.casefold() == default.strip().casefold():
        return None
    return text or None
