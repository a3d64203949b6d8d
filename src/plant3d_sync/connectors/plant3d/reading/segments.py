"""What the segments of lines hold in the columns that a mapping asks a line for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from operator import itemgetter

from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.reading.catalog import ROOT, Discovery
from plant3d_sync.connectors.plant3d.reading.relations import SEGMENTS, Relations, tolerantly
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
    stored_classes: Iterable[str | None],
) -> SegmentValues:
    """The values of these columns on every segment. A default of the class counts as empty, as in any column.

    `stored_classes`: every class as `PnPBase` spells it.
    """
    segments = _classes(tolerant, discovery, set(relations.groups_of) | relations.loose, stored_classes)
    both = (connection, tolerant)
    return {name: _column(both, discovery, name, segments) for name in sorted(names)}


def _classes(
    tolerant: sqlite3.Connection, discovery: Discovery, wanted: set[int], stored: Iterable[str | None]
) -> dict[str, set[int]]:
    """Class, as the catalogue spells it -> its segments. The class of some other row may be no text at all."""
    key, name = (discovery.table_column(ROOT, column) for column in ("PnPID", "PnPClassName"))
    spelled = {one.lower(): one for one in discovery.catalog.descendants(SEGMENTS)}
    if not spelled or not wanted:
        return {}
    table = discovery.table(ROOT)
    found: dict[str, set[int]] = {}
    for one in stored:
        if isinstance(one, str) and one.lower() in spelled:
            rows = tolerant.execute(f"SELECT {key} FROM {table} WHERE {name} = ?", (one,))
            mine = wanted.intersection(map(itemgetter(0), rows))
            found.setdefault(spelled[one.lower()], set()).update(mine)
    return found


def _column(
    both: _Both, discovery: Discovery, name: str, segments: Mapping[str, set[int]]
) -> dict[int, Value]:
    stored: dict[str, dict[int, Value]] = {}
    found: dict[int, Value] = {}
    for of_class, every in segments.items():
        column = discovery.catalog.column(of_class, name)
        if column is None:
            found.update(dict.fromkeys(every))
            continue
        if column.table_class not in stored:
            stored[column.table_class] = _stored(both, discovery, column.table_class, name)
        rows = stored[column.table_class]
        texts: dict[str, Value] = {}  # most segments hold the same few
        for segment in every & rows.keys():
            value = rows[segment]
            if not isinstance(value, str):
                found[segment] = _filled(value, column)
                continue
            if value not in texts:
                texts[value] = _filled(value, column)
            found[segment] = texts[value]
    return found


def _stored(both: _Both, discovery: Discovery, table_class: str, name: str) -> dict[int, Value]:
    physical = discovery.catalog.classes[table_class].physical
    key, column = (discovery.table_column(physical, one) for one in ("PnPID", name))
    if key is None or column is None:
        return {}
    statement = f"SELECT {key}, {column} FROM {quoted(physical)} WHERE typeof({key}) = 'integer'"
    return tolerantly(*both, statement, (), dict[int, Value])


def _filled(value: Value, column: Column) -> Value:
    if not isinstance(value, str):
        return value if isinstance(value, (int, float)) else None
    text = value.strip()
    default = column.default
    if default is not None and column.picklist is None and text.casefold() == default.strip().casefold():
        return None
    return text or None
