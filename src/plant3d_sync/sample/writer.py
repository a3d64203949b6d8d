"""Adds rows to a sample database the way Plant 3D lays them out: a row at every level of the class tree."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random

from plant3d_sync.sample.schema import (
    Style,
    chain,
    class_defaults,
    class_defs,
    create_catalogue,
    create_class_table,
    create_relation_table,
    quoted,
    relation_defs,
)

TICKS_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
TICKS_PER_SECOND = 10_000_000

Value = str | int | float | bytes | None


def ticks_of(moment: datetime) -> int:
    """A time as .NET ticks: 100 ns steps since 0001-01-01 00:00 UTC."""
    return (moment - TICKS_EPOCH) // timedelta(microseconds=1) * 10


class Writer:
    """Adds rows at every level of the class tree, materialising tables with their first row.

    Ids come in blocks of 100 per session, so gaps are normal; relations have a number space of
    their own. Times are .NET ticks, UTC, and only ever grow.
    """

    def __init__(self, connection: sqlite3.Connection, rng: Random, *, style: Style, epoch: datetime) -> None:
        self.connection = connection
        self.rng = rng
        self.style: Style = style
        self.nocase = style == "2025"
        self.classes = class_defs(style)
        self.relations = relation_defs(style)
        self.ticks = ticks_of(epoch) + 4711
        self._next_id = 1
        self._next_relation = 1
        self._gaps: list[int] = []
        self._rows: dict[str, list[tuple[Value, ...]]] = {}
        self._relation_rows: dict[str, list[tuple[Value, ...]]] = {}
        self._row_relations: list[tuple[int, int, str]] = []
        self._made: set[str] = set()
        self._levels: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        self._defaults: dict[str, dict[str, str | int]] = {}
        create_catalogue(connection, self.classes, style, self.guid())

    def guid(self) -> bytes:
        """A version 4 GUID as 16 bytes in .NET order: the version nibble stands in byte 7."""
        raw = bytearray(self.rng.randbytes(16))
        raw[7] = (raw[7] & 0x0F) | 0x40
        raw[8] = (raw[8] & 0x3F) | 0x80
        return bytes(raw)

    def tick(self, seconds: float = 0.0) -> int:
        """The clock after `seconds` and a moment more."""
        self.ticks += int(seconds * TICKS_PER_SECOND) + self.rng.randrange(11_000, 9_000_000)
        return self.ticks

    def begin_session(self) -> None:
        """Start a session of a designer: a new block of 100 ids, some hours later."""
        start = -(-(self._next_id - 1) // 100) * 100 + 1
        self._gaps.extend(range(self._next_id, start))
        self._next_id = start
        self._next_relation = -(-(self._next_relation - 1) // 100) * 100 + 1
        self.tick(seconds=5 * 3600)

    def free_ids(self) -> list[int]:
        """Ids that were issued and belong to no row, as after deletions."""
        return list(self._gaps)

    def add(self, class_name: str, values: Mapping[str, Value], *, revision: int = 0) -> int:
        """Add an item of a class: one row in each table from its class up to `PnPBase`.

        Values for columns that a project of this style lacks are left out.
        """
        levels = self._levels.get(class_name)
        if levels is None:
            levels = self._prepare(class_name)
        pnpid = self._next_id
        self._next_id += 1
        row: dict[str, Value] = {
            **self._defaults[class_name],
            **values,
            "PnPID": pnpid,
            "PnPClassName": class_name,
            "PnPStatus": 0,
            "PnPRevision": revision,
            "PnPGuid": self.guid(),
            "PnPTimestamp": self.tick(),
        }
        for table, columns in levels:
            self._rows[table].append(tuple(map(row.get, columns)))
        return pnpid

    def relate(self, name: str, first: int, second: int, param: float | None = None) -> int:
        """Add a relation and its two rows in `PnPRowRelations`. Unknown in old projects: no effect, 0."""
        relation = self.relations.get(name)
        if relation is None:
            return 0
        if name not in self._made:
            create_relation_table(self.connection, relation)
            self._made.add(name)
            self._relation_rows[name] = []
        relid = self._next_relation
        self._next_relation += 1
        extra = (param,) if relation.extra else ()
        self._relation_rows[name].append((relid, self.guid(), self.ticks, first, second, *extra))
        self._row_relations += [(first, relid, name), (second, relid, name)]
        return relid

    def flush(self) -> None:
        """Hand the collected rows to SQLite."""
        for table, rows in (*self._rows.items(), *self._relation_rows.items()):
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                self.connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({marks})", rows)  # noqa: S608
                rows.clear()
        self.connection.executemany("INSERT INTO PnPRowRelations VALUES (?, ?, ?)", self._row_relations)
        self._row_relations.clear()

    def finish(self) -> None:
        """Write the rest and the two id counters (always at the end of a block)."""
        self.flush()
        for table, following in (
            ("PnPSys_PnPBase_PnPID", self._next_id),
            ("PnPSys_RelationshipSystem_PnPID", self._next_relation),
        ):
            block_end = -(-(following - 1) // 100) * 100
            self.connection.execute(f"INSERT INTO {table} (cnt) VALUES (?)", (block_end,))  # noqa: S608

    def _prepare(self, class_name: str) -> list[tuple[str, tuple[str, ...]]]:
        path = chain(self.classes, class_name)
        for depth, definition in enumerate(path, start=1):
            if definition.name not in self._made:
                create_class_table(self.connection, path[:depth], nocase=self.nocase)
                self._made.add(definition.name)
                self._rows[definition.name] = []
        levels = [(d.name, ("PnPID", *(c.name for c in d.columns))) for d in path]
        self._levels[class_name] = levels
        self._defaults[class_name] = class_defaults(self.classes, class_name)
        return levels
