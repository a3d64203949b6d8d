"""A small builder of P&ID project databases for tests, written from the description of the format.

It knows nothing of the program under test, so that both cannot share a mistake. It makes what a test names
and lets the test break it afterwards with plain SQL (`Dcf.sql`).
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

TREE: dict[str, tuple[str | None, dict[str, str]]] = {
    "PnPBase": (
        None,
        {
            "PnPClassName": "String",
            "PnPStatus": "Int16",
            "PnPRevision": "Int16",
            "PnPGuid": "Guid",
            "PnPTimestamp": "Int64",
        },
    ),
    "PnPDataLinks": ("PnPBase", {"RowId": "Int32", "DwgId": "Int32", "RowClassName": "String"}),
    "PnPDrawings": (
        "PnPBase",
        {
            "PnPType": "String",
            "PnID": "String",
            "Dwg Name": "String",
            "Title": "String",
            "PnPRelativePath": "String",
        },
    ),
    "PnPTagRegistry": ("PnPBase", {"Tag": "String", "RowId": "Int32"}),
    "PnPTagEnlistedColumns": (
        "PnPBase",
        {"TagRegistyName": "String", "TableName": "String", "ColumnName": "String"},
    ),
    "PnPPicklists": ("PnPBase", {"PicklistName": "String"}),
    "PnPPicklistValues": ("PnPBase", {"PicklistValue": "String", "PicklistId": "Int32"}),
    "PnPProjectVariables": ("PnPBase", {"Name": "String", "Value": "String"}),
    "EngineeringItems": (
        "PnPBase",
        {"Description": "String", "Manufacturer": "String", "FlagValue": "Int32", "ParamOnLine": "Double"},
    ),
    "Equipment": ("EngineeringItems", {"Tag": "String", "Area": "String"}),
    "Pumps": ("Equipment", {"Power": "String"}),
    "CentrifugalPump": ("Pumps", {"D1": "String", "Größe mm": "String"}),
    "Nozzles": ("EngineeringItems", {"Tag": "String"}),
    "InLineAssets": ("EngineeringItems", {"Size": "String", "Spec": "String"}),
    "HandValves": ("InLineAssets", {"Tag": "String", "Normally": "String"}),
    "GateValve": ("HandValves", {}),
    "Instrumentation": ("EngineeringItems", {"Tag": "String", "LoopNumber": "String"}),
    "FieldMountedDCS": ("Instrumentation", {}),
    "Lines": ("EngineeringItems", {}),
    "PipeLines": ("Lines", {"Tag": "String", "From": "String", "To": "String"}),
    "Primary": ("PipeLines", {}),
    "PipeLineGroup": ("PnPBase", {"Tag": "String", "LineNumber": "String", "Description": "String"}),
    "SprayNozzle": ("InLineAssets", {"NeverUsed": "String"}),
}
"""Class -> base and own columns. `SprayNozzle` never has an item, so it never has a table."""

ROLES = {
    "LineInlineAsset": (("Line", "Lines"), ("Asset", "EngineeringItems")),
    "LineStartAsset": (("Line", "Lines"), ("Asset", "EngineeringItems")),
    "LineEndAsset": (("Line", "Lines"), ("Asset", "EngineeringItems")),
    "LineStartLine": (("Line1", "Lines"), ("Line2", "Lines")),
    "LineEndLine": (("Line1", "Lines"), ("Line2", "Lines")),
    "LineNozzle": (("Line", "Lines"), ("Nozzle", "Nozzles")),
    "PipeLineGroupRelationship": (("PipeLineGroup", "PipeLineGroup"), ("PipeLine", "PipeLines")),
    "AssetOwnership": (("Owned", "EngineeringItems"), ("Owner", "EngineeringItems")),
}
DECLARED = {
    "Int64": "integer",
    "Int32": "int",
    "Int16": "smallint",
    "Guid": "GUID",
    "Boolean": "bit",
    "Double": "double",
}
FIRST_TICKS = 638947573946251024
DBID = uuid.UUID("3618e76b-eca7-4df4-a749-ddf86b8e149c")


def _quoted(name: str) -> str:
    """A name for SQLite, `]` included."""
    return '"' + name.replace('"', '""') + '"'


class Dcf:
    """A project database under construction. Every call commits."""

    def __init__(self, path: Path, *, nocase: bool = True, page_size: int = 4096) -> None:
        self.path = path
        self.nocase = nocase
        self.next_id = 1
        self.next_relation = 1
        self.tables: set[str] = set()
        self._kept: sqlite3.Connection | None = None
        with self._open() as db:
            db.execute(f"PRAGMA page_size = {page_size}")
            self._catalogue(db)
            self._materialize(db, "PnPBase")
            db.commit()

    @classmethod
    def existing(cls, path: Path) -> Dcf:
        """A database that is there already, to draw more into it."""
        made = cls.__new__(cls)
        made.path, made.nocase, made._kept, made.next_relation = path, True, None, 1
        names = made.sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        made.tables = {name for (name,) in names}
        ((made.next_id,),) = made.sql("SELECT max(PnPID) + 1 FROM PnPBase")
        return made

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return closing(sqlite3.connect(self.path)) if self._kept is None else nullcontext(self._kept)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """One connection, and no waiting for the disk, for all calls inside: a whole project in a second."""
        with closing(sqlite3.connect(self.path)) as db:
            db.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY")
            self._kept = db
            try:
                yield
            finally:
                self._kept = None

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Do with the file what somebody with an SQL tool would do."""
        with self._open() as db:
            rows = db.execute(statement, parameters).fetchall()
            db.commit()
        return rows

    def _text(self) -> str:
        return "VarChar (255) collate nocase" if self.nocase else "VarChar (255)"

    def _catalogue(self, db: sqlite3.Connection) -> None:
        t = self._text()
        db.executescript(
            f"""
            CREATE TABLE PnPDatabase (DBID GUID, DBType {t}, Version int, MetadataRevision int, DataRevision int);
            CREATE TABLE PnPTables (TableName {t}, BaseTable {t}, Abstract {t}, PhysicalName {t});
            CREATE TABLE PnPProperties (TableName {t}, PropertyName {t}, PropertyType {t}, Length int);
            CREATE TABLE PnPTableAttributes (TableName {t}, AttributeName {t}, AttributeType {t}, AttributeValue {t});
            CREATE TABLE PnPColumnAttributes
                (TableName {t}, ColumnName {t}, AttributeName {t}, AttributeType {t}, AttributeValue {t});
            CREATE TABLE PnPRelationshipTypes (RelationshipTypeName {t}, PhysicalName {t});
            CREATE TABLE PnPRoleTypes (RelationshipTypeName {t}, RoletypeName {t}, TableInRole {t}, Cardinality {t});
            CREATE TABLE PnPSys_PnPBase_PnPID (cnt integer);
            INSERT INTO PnPSys_PnPBase_PnPID VALUES (100);
            """
        )
        db.execute("INSERT INTO PnPDatabase VALUES (?, 'Regular', 2, 26, 0)", (DBID.bytes_le,))
        for name, (base, columns) in TREE.items():
            self._declare(db, name, base, columns)
        for relation, roles in ROLES.items():
            db.execute("INSERT INTO PnPRelationshipTypes VALUES (?, ?)", (relation, relation))
            for role, table in roles:
                db.execute("INSERT INTO PnPRoleTypes VALUES (?, ?, ?, 'Many')", (relation, role, table))

    def _declare(self, db: sqlite3.Connection, name: str, base: str | None, columns: dict[str, str]) -> None:
        abstract = "TRUE" if base is None else "FALSE"
        db.execute("INSERT INTO PnPTables VALUES (?, ?, ?, ?)", (name, base, abstract, name))
        db.execute("INSERT INTO PnPTableAttributes VALUES (?, 'DisplayName', 'T', ?)", (name, f"The {name}"))
        for column, kind in {"PnPID": "Int64", **columns}.items():
            length = 255 if kind == "String" else 0
            db.execute(
                "INSERT INTO PnPProperties VALUES (?, ?, ?, ?)", (name, column, f"System.{kind}", length)
            )

    def declare(self, name: str, base: str | None, columns: dict[str, str]) -> None:
        """Add a class to the catalogue, without a table."""
        with self._open() as db:
            self._declare(db, name, base, columns)
            db.commit()

    def column(self, table: str, column: str, kind: str = "String", **attributes: str) -> None:
        """Add a column to a class in Project Setup; its table gets it too if there is one."""
        length = 255 if kind == "String" else 0
        self.sql("INSERT INTO PnPProperties VALUES (?, ?, ?, ?)", table, column, f"System.{kind}", length)
        if table in self.tables:
            self.sql(f"ALTER TABLE [{table}] ADD COLUMN {_quoted(column)} {DECLARED.get(kind, self._text())}")
        for name, value in attributes.items():
            self.attribute(table, column, name, value)

    def attribute(self, table: str, column: str, name: str, value: str) -> None:
        """Set an attribute of a column for one class."""
        self.sql("INSERT INTO PnPColumnAttributes VALUES (?, ?, ?, 'T', ?)", table, column, name, value)

    def _columns(self, db: sqlite3.Connection, class_name: str) -> list[tuple[str, str]]:
        return db.execute(
            "SELECT PropertyName, PropertyType FROM PnPProperties WHERE TableName = ? AND PropertyName <> 'PnPID'",
            (class_name,),
        ).fetchall()

    def _chain(self, db: sqlite3.Connection, class_name: str) -> list[str]:
        chain: list[str] = []
        current: str | None = class_name
        while current is not None:
            chain.append(current)
            row = db.execute("SELECT BaseTable FROM PnPTables WHERE TableName = ?", (current,)).fetchone()
            current = row[0] if row else None
        return chain

    def _materialize(self, db: sqlite3.Connection, class_name: str) -> None:
        if class_name in self.tables:
            return
        self.tables.add(class_name)
        columns = "".join(
            f", {_quoted(name)} {DECLARED.get(kind.removeprefix('System.'), self._text())}"
            for name, kind in self._columns(db, class_name)
        )
        db.execute(f"CREATE TABLE [{class_name}] (PnPID integer NOT NULL PRIMARY KEY{columns})")

    def add(
        self, class_name: str, *, without: Iterable[str] = (), pnpid: int | None = None, **values: Any
    ) -> int:
        """Add one item with a row at every level except `without`. Spaces in column names: give a dict by `**`."""
        item = self.next_id if pnpid is None else pnpid
        self.next_id = max(self.next_id, item) + 1
        stamp = FIRST_TICKS + item * 10_000_000
        values = {
            "PnPClassName": class_name,
            "PnPStatus": 0,
            "PnPRevision": 0,
            "PnPGuid": uuid.UUID(int=item, version=4).bytes_le,
            "PnPTimestamp": stamp,
            **values,
        }
        with self._open() as db:
            for level in self._chain(db, class_name):
                self._materialize(db, level)
                if level in without:
                    continue
                names = [name for name, _ in self._columns(db, level)]
                db.execute(
                    f"INSERT INTO [{level}] VALUES (?{', ?' * len(names)})",
                    (item, *(values.get(name) for name in names)),
                )
            db.commit()
        return item

    def relate(self, relation: str, **roles: int) -> None:
        """Add one row to a relation table; the table appears with its first row."""
        names = [role for role, _ in ROLES[relation]]
        with self._open() as db:
            columns = ", ".join(f"[{name}] int" for name in names)
            db.execute(
                f"CREATE TABLE IF NOT EXISTS [{relation}] "
                f"(PnPID integer NOT NULL PRIMARY KEY, {columns}, PnPGuid GUID, PnPTimestamp integer)"
            )
            db.execute(
                f"INSERT INTO [{relation}] VALUES (?, {', '.join('?' * len(names))}, ?, ?)",
                (self.next_relation, *(roles[n] for n in names), uuid.uuid4().bytes_le, FIRST_TICKS),
            )
            db.commit()
        self.next_relation += 1

    def draw(self, drawing: int, *items: int) -> None:
        """Link items to a drawing."""
        for item in items:
            self.add("PnPDataLinks", RowId=item, DwgId=drawing)

    def register(self, tag: str, item: int) -> None:
        """Enter a tag in the registry."""
        self.add("PnPTagRegistry", Tag=tag, RowId=item)
