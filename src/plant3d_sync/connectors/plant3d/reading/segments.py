"""What the segments of lines hold in the columns that a mapping asks a line for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.reading.catalog import ROOT, Discovery
from plant3d_sync.connectors.plant3d.reading.relations import SEGMENTS, Relations, text_rows
from plant3d_sync.model.catalog import Column
from plant3d_sync.model.record import Value

SegmentValues = dict[str, dict[int, Value]]
"""Column in lower case -> segment -> value; None: empty, or the class lacks the column. A segment whose row is missing is left out."""

_Both = tuple[sqlite3.Connection, sqlite3.Connection]
"""The copy, read fast and read tolerantly."""


def segment_values(
    connection: sqlite3.Connection,
    tolerant: sqlite3.Connection,
    discovery: Discovery,
    names: Iterable[str],
    relations: Relations,
) -> SegmentValues:
    """The values of these columns on every segment. A default of the class counts as empty, as in any column."""
    class_of = _classes(tolerant, discovery, set(relations.groups_of) | relations.loose)
    both = (connection, tolerant)
    return {name: _column(both, discovery, name, class_of) for name in sorted(names)}


def _classes(tolerant: sqlite3.Connection, discovery: Discovery, wanted: set[int]) -> dict[int, str]:
    """Segment -> its class, as the catalogue spells it. The class of some other row may be no text at all."""
    key, name = (discovery.table_column(ROOT, column) for column in ("PnPID", "PnPClassName"))
    spelled = {one.lower(): one for one in discovery.catalog.descendants(SEGMENTS)}
    if not spelled or not wanted:
        return {}
    table = discovery.table(ROOT)
    stored = [one for (one,) in tolerant.execute(f"SELECT DISTINCT {name} FROM {table}")]
    ours = [one for one in stored if isinstance(one, str) and one.lower() in spelled]
    found: dict[int, str] = {}
    for one in ours:
        rows = tolerant.execute(f"SELECT {key} FROM {table} WHERE {name} = ?", (one,))
        found.update(dict.fromkeys(wanted.intersection([pnpid for (pnpid,) in rows]), spelled[one.lower()]))
    return found


def _column(both: _Both, discovery: Discovery, name: str, class_of: dict[int, str]) -> dict[int, Value]:
    columns: dict[str, Column | None] = {
        one: discovery.catalog.column(one, name) for one in set(class_of.values())
    }
    stored = {
        table_class: _stored(both, discovery, table_class, name)
        for table_class in {column.table_class for column in columns.values() if column is not None}
    }
    texts: dict[tuple[str, str], Value] = {}  # most segments hold the same few
    found: dict[int, Value] = {}
    for segment, of_class in class_of.items():
        column = columns[of_class]
        if column is None:
            found[segment] = None
            continue
        rows = stored[column.table_class]
        if segment not in rows:
            continue
        value = rows[segment]
        if not isinstance(value, str):
            found[segment] = _filled(value, column)
            continue
        same = (of_class, value)
        if same not in texts:
            texts[same] = _filled(value, column)
        found[segment] = texts[same]
    return found


def _stored(both: _Both, discovery: Discovery, table_class: str, name: str) -> dict[int, Value]:
    physical = discovery.catalog.classes[table_class].physical
    key, column = (discovery.table_column(physical, one) for one in ("PnPID", name))
    if key is None or column is None:
        return {}
    statement = f"SELECT {key}, {column} FROM {quoted(physical)} WHERE typeof({key}) = 'integer'"
    rows: list[tuple[int, Value]] = list(text_rows(*both, statement))
    return dict(rows)


def _filled(value: Value, column: Column) -> Value:
    if not isinstance(value, str):
        return value if isinstance(value, (int, float)) else None
    text = value.strip()
    default = column.default
    if default is not None and column.picklist is None and text.casefold() == default.strip().casefold():
        return None
    return text or None
