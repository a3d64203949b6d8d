"""Answers for the scripted TDS endpoint, made from a project file: named tables row by row.

Nothing here understands SQL. The statements of the reader are recognised by their form (`SELECT columns FROM table`,
with or without `WHERE key IN (numbers)`), everything else by its whole text. Rows can change between two statements,
as they do while people work: `before` is called ahead of every statement for data.
"""

from __future__ import annotations

import math
import re
import sqlite3
import uuid
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from plant3d_sync.connectors.plant3d.reading import sqlserver, sqlserver_layout, sqlserver_read
from tests.support.tds_endpoint import Answer, Rows

TYPES: dict[str, tuple[str, type]] = {
    "integer": ("bigint", int),
    "int": ("int", int),
    "smallint": ("smallint", int),
    "bit": ("bit", bool),
    "double": ("float", float),
    "guid": ("uniqueidentifier", uuid.UUID),
}
_NAME = r"\[(?:[^\]]|\]\])+\]"
_COLUMN = re.compile(
    rf"(?:CAST\((?P<cast>{_NAME}) AS (?:varbinary\(max\)|binary\(16\))\)|(?:CONVERT\(nvarchar\(40\), |CAST\()?"
    rf"(?P<plain>{_NAME})(?:, 121\)| AS nvarchar\((?:max|4000)\)\))?)(?:, )?"
)
_CLASSES = r" WHERE (?:\[PnPClassName\] IS NULL OR )?\[PnPClassName\] (?P<without>NOT )?IN \((?P<classes>'\w+'(?:, '\w+')*)\)"
_COUNT = re.compile(
    r"SELECT \[PnPClassName\], COUNT\(\*\), MAX\(\[PnPTimestamp\]\) FROM \[dbo\]\.\[PnPBase\]"
    rf"{_CLASSES} GROUP BY \[PnPClassName\]"
)
_SELECT = re.compile(
    rf"SELECT (?P<columns>.+) FROM \[dbo\]\.(?P<table>{_NAME})"
    rf"(?: WHERE (?P<key>{_NAME}) IN \((?P<ids>[\d, -]+)\)|{_CLASSES})?",
    re.DOTALL,
)

_LOOK = re.compile(
    r"SELECT (?P<place>\d+), COUNT_BIG\(\*\), CHECKSUM_AGG\(BINARY_CHECKSUM\([^()]+\)\), (?P<sums>.+) "
    rf"FROM \[dbo\]\.(?P<table>{_NAME})"
)
_PRODUCT = re.compile(r"SUM\(CAST\((.+?) AS decimal\(38,0\)\)\)")
_FACTOR = re.compile(rf"CAST\(({_NAME}) AS decimal\(19,0\)\)")


class PlantServer:
    """A handler for `TdsEndpoint`. `answers`: whole statements with an answer of their own, looked at first."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, Answer] = {}
        self.columns: list[list[str]] = []
        self.tables: dict[str, tuple[list[tuple[str, type]], list[list[Any]]]] = {}
        self.failing: dict[str, Answer] = {}
        """Tables whose whole reading is answered otherwise."""
        self.isolation, self.rights = 0, [1, 1]
        self.before: Callable[[str], None] = lambda _table: None
        with closing(sqlite3.connect(path)) as db:
            db.text_factory = lambda raw: raw.decode("utf-8", "surrogatepass")
            names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
            for (table,) in names:
                self._add(db, table)

    def _add(self, db: sqlite3.Connection, table: str) -> None:
        columns: list[tuple[str, type]] = []
        for _, name, declared, *_ in db.execute(f'PRAGMA table_info("{table}")'):
            kind, python = TYPES.get(declared.lower(), ("nvarchar", str))
            self.columns.append([table, name, kind])
            columns.append((name, python))
        rows = [
            [
                uuid.UUID(bytes_le=v) if k is uuid.UUID and isinstance(v, bytes) else v
                for (_, k), v in zip(columns, row, strict=True)
            ]
            for row in db.execute(f'SELECT * FROM "{table}"')
        ]
        self.tables[table] = (columns, rows)

    def hide(self, *tables: str) -> None:
        """What a login without rights on them sees: nothing."""
        self.columns = [row for row in self.columns if row[0] not in tables]
        for table in tables:
            del self.tables[table]

    def row(self, table: str, pnpid: int) -> dict[str, Any] | None:
        """One row by PnPID, None when there is none."""
        columns, rows = self.tables[table]
        names = [name for name, _ in columns]
        at = names.index("PnPID")
        return next((dict(zip(names, row, strict=True)) for row in rows if row[at] == pnpid), None)

    def set(self, table: str, pnpid: int, **values: Any) -> None:
        """Change cells of one row."""
        columns, rows = self.tables[table]
        names = [name for name, _ in columns]
        at = names.index("PnPID")
        for row in rows:
            if row[at] == pnpid:
                for name, value in values.items():
                    row[names.index(name)] = value

    def delete(self, table: str, pnpid: int) -> None:
        """Remove one row."""
        columns, rows = self.tables[table]
        at = [name for name, _ in columns].index("PnPID")
        rows[:] = [row for row in rows if row[at] != pnpid]

    def insert(self, table: str, **values: Any) -> None:
        """Add a row; what is not named is NULL."""
        columns, rows = self.tables[table]
        rows.append([values.get(name) for name, _ in columns])

    def __call__(self, sql: str, _parameters: tuple[Any, ...]) -> Answer | None:
        if sql in self.answers:
            return self.answers[sql]
        if sql == sqlserver_layout.TABLES_STATEMENT:
            return Rows([("TABLE_NAME", str), ("COLUMN_NAME", str), ("DATA_TYPE", str)], self.columns)
        if sql == sqlserver_read.ISOLATION_STATEMENT:
            return Rows([("", int)], [[self.isolation]])
        if sql == sqlserver_read.WIDE_STATEMENT:
            return Rows([("", int), ("", bytes)], [[4, "ab".encode("utf-16-le")]])
        if sql == sqlserver_read.RIGHTS_STATEMENT:
            return Rows([("", int), ("", int)], [self.rights])
        if sql == sqlserver.DATABASES_STATEMENT:
            return Rows([("name", str)], [["mine_PnId"], ["mine_Piping"]])
        if sql == sqlserver.PRESENT_STATEMENT:
            return Rows([("", str)], [[name] for name in ("PnPBase", "PnPTables") if name in self.tables])
        if sql == sqlserver_read.RELATIONS_IN_USE_STATEMENT and "PnPRowRelations" in self.tables:
            columns, rows = self.tables["PnPRowRelations"]
            at = [name for name, _ in columns].index("RelationshipTypeName")
            return Rows(
                [("RelationshipTypeName", str)], [[name] for name in sorted({row[at] for row in rows})]
            )
        if counted := _COUNT.fullmatch(sql):
            return self._counted(counted)
        if "COUNT_BIG(*)" in sql:
            return summed(sql, self._named)
        found = _SELECT.fullmatch(sql.removesuffix(";"))
        return self._select(found) if found and not sql.startswith("SELECT DISTINCT") else None

    def _counted(self, found: re.Match[str]) -> Answer:
        columns, rows = self.tables["PnPBase"]
        names = [name for name, _ in columns]
        of, stamp = names.index("PnPClassName"), names.index("PnPTimestamp")
        stamps: dict[str, list[Any]] = {}
        for row in _of_classes(found, names, rows):
            stamps.setdefault(row[of], []).append(row[stamp])
        counted = [[name, len(all_of), max(all_of)] for name, all_of in stamps.items()]
        return Rows([("PnPClassName", str), ("", int), ("", int)], counted)

    def _named(self, table: str) -> tuple[list[str], list[list[Any]]] | None:
        if table not in self.tables:
            return None
        columns, rows = self.tables[table]
        return [name for name, _ in columns], rows

    def _select(self, found: re.Match[str]) -> Answer | None:
        table = _plain(found["table"])
        if table not in self.tables:
            return None
        if table in self.failing and not found["key"] and len(found["columns"]) > len("[PnPID], "):
            return self.failing[table]
        self.before(table)
        columns, rows = self.tables[table]
        names = [name for name, _ in columns]
        selected, lengths, _ = found["columns"].partition(", 0 + ISNULL(")
        wanted = [(_plain(m["cast"] or m["plain"]), bool(m["cast"])) for m in _COLUMN.finditer(selected)]
        places = [(names.index(name), cast) for name, cast in wanted]
        if found["key"]:
            at, ids = names.index(_plain(found["key"])), {int(one) for one in found["ids"].split(",")}
            rows = [row for row in rows if row[at] in ids]
        elif found["classes"]:
            rows = _of_classes(found, names, rows)
        head = [(columns[i][0], bytes if cast else columns[i][1]) for i, cast in places]
        answered = [[_cast(row[i]) if cast else row[i] for i, cast in places] for row in rows]
        if lengths:
            head.append(("", int))
            wide = [i for i, cast in places if columns[i][1] is str]
            answered = [
                [*row, sum(len(_cast(one[i]) or b"") for i in wide)]
                for row, one in zip(answered, rows, strict=True)
            ]
        return Rows(head, answered)


def summed(sql: str, named: Callable[[str], tuple[Sequence[str], Sequence[Any]] | None]) -> Answer | None:
    """Counts, checksums and exact sums. The checksum is as weak as SQL Server's: exchanged values do not move it.

    `named`: columns and rows of a table.
    """
    answered: list[list[Any]] = []
    for part in sql.split(" UNION ALL "):
        found = _LOOK.fullmatch(part)
        table = named(_plain(found["table"])) if found else None
        if found is None or table is None:
            return None
        columns, rows = table
        places = {name: place for place, name in enumerate(columns)}
        checksum = 0
        for row in rows:
            for value in row:
                checksum ^= zlib.crc32(repr(value).encode("utf-8", "surrogatepass")) & 0x7FFFFFFF
        sums = [
            str(sum(math.prod(row[places[_plain(one)]] or 0 for one in names) for row in rows))
            for names in (_FACTOR.findall(product) for product in _PRODUCT.findall(found["sums"]))
        ]
        answered.append([int(found["place"]), len(rows), checksum, ",".join(sums)])
    return Rows([("", int), ("", int), ("", int), ("", str)], answered)


def _of_classes(found: re.Match[str], names: list[str], rows: list[list[Any]]) -> list[list[Any]]:
    at, classes = names.index("PnPClassName"), found["classes"].strip("'").split("', '")
    return [row for row in rows if (row[at] in classes) != bool(found["without"])]


def _plain(name: str) -> str:
    return name[1:-1].replace("]]", "]")


def _cast(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return value.bytes_le
    return value.encode("utf-16-le", "surrogatepass") if isinstance(value, str) else value
