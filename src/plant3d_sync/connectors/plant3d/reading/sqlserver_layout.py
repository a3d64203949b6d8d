"""Which tables a Plant 3D database on SQL Server has, what each is for, and which of their columns are read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import msgspec
from msgspec.structs import replace

from plant3d_sync.connectors.plant3d.names import bracketed, readable
from plant3d_sync.connectors.plant3d.reading.sqlserver_session import Session
from plant3d_sync.connectors.plant3d.reading.sqlserver_values import DATE_KINDS, TAKEN_KINDS, WIDE_KINDS
from plant3d_sync.model.catalog import LINK_CLASSES

SCHEMA: Final = "dbo"
ROOT: Final = "pnpbase"

CATALOGUE_TABLES: Final = (
    "PnPDatabase",
    "PnPTables",
    "PnPProperties",
    "PnPTableAttributes",
    "PnPColumnAttributes",
    "PnPRelationshipTypes",
    "PnPRoleTypes",
    "PnPSys_PnPBase_PnPID",
    "PnPSys_RelationshipSystem_PnPID",
)
"""Tables that describe the others. What else is read follows from `PnPTables` and `PnPRelationshipTypes`."""
SYSTEM_TABLES: Final = frozenset({*CATALOGUE_TABLES, "PnPBase"})

CATALOGUE_COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    "pnptables": frozenset({"pnpid", "tablename", "basetable", "physicalname"}),
    "pnpproperties": frozenset({"pnpid", "tablename", "propertyname", "propertytype", "length"}),
    "pnptableattributes": frozenset({"pnpid", "tablename", "attributename", "attributevalue"}),
    "pnpcolumnattributes": frozenset({"pnpid", "tablename", "columnname", "attributename", "attributevalue"}),
}
"""What is asked of the large ones among them; of every other one all its columns."""

LINK_COLUMNS: Final[Mapping[str, frozenset[str]]] = {
    "pnpdatalinks": frozenset({"pnpid", "rowid", "dwgid"}),
    "pnptagregistry": frozenset({"pnpid", "rowid", "tag"}),
}
"""What is asked of classes whose rows join items to something: nothing of them is ever handed over."""

TABLES_STATEMENT: Final = (
    "SELECT c.[TABLE_NAME], c.[COLUMN_NAME], c.[DATA_TYPE] FROM [INFORMATION_SCHEMA].[COLUMNS] AS c "
    "JOIN [INFORMATION_SCHEMA].[TABLES] AS t ON t.[TABLE_SCHEMA] = c.[TABLE_SCHEMA] "
    "AND t.[TABLE_NAME] = c.[TABLE_NAME] WHERE c.[TABLE_SCHEMA] = 'dbo' AND (t.[TABLE_TYPE] = 'BASE TABLE' "
    "OR t.[TABLE_NAME] NOT LIKE '%!_PNP' ESCAPE '!') ORDER BY c.[TABLE_NAME], c.[ORDINAL_POSITION]"
)
"""A view that somebody put in a table's place is read as the table; the views that Plant 3D makes end in `_PNP`."""


class Table(msgspec.Struct, frozen=True):
    """One table of the database: its name, and its columns with their SQL Server types.

    `columns`: those that are read; whatever else is `declared` is in the copy and empty there, because nobody asks it.
    """

    name: str
    declared: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]
    where: str = ""
    """Which rows are read where all are, with its `WHERE`."""

    def has(self, column: str) -> bool:
        """Whether there is such a column, in any case."""
        return any(name.lower() == column.lower() for name, _ in self.declared)

    @property
    def key(self) -> int | None:
        """Place of the column PnPID."""
        return next((i for i, (name, _) in enumerate(self.columns) if name.lower() == "pnpid"), None)

    def select(self, where: str = "", *, as_bytes: bool = False, lengths: bool = False) -> str:
        """The only kind of statement sent for data: named columns of one table of `dbo`, some rows or all.

        `as_bytes`: text as the bytes it is stored in, whether or not they are valid. `lengths`: with the bytes of all
        text of the row as a last column.
        """
        columns = [selected(name, kind, as_bytes=as_bytes) for name, kind in self.columns]
        if lengths:
            wide = [bracketed(name) for name, kind in self.columns if kind in WIDE_KINDS]
            columns.append(" + ".join(["0", *(f"ISNULL(DATALENGTH({name}), 0)" for name in wide)]))
        return f"SELECT {', '.join(columns)} FROM [{SCHEMA}].{bracketed(self.name)}{where}"


class Layout(msgspec.Struct):
    """Which tables there are and what each is for. Keys are lower-cased names."""

    tables: dict[str, Table]
    classes: dict[str, tuple[str | None, str]] = msgspec.field(default_factory=dict)
    """Class -> (base class, table)."""
    relations: frozenset[str] = frozenset()
    """Tables of relations."""
    links: tuple[str, ...] = ()
    """Tables of the classes whose rows of `PnPBase` are not read one by one."""
    unreadable: list[tuple[str, str]] = msgspec.field(default_factory=list)
    """Tables and columns whose names cannot stand in a statement; they are left out."""
    twice: list[tuple[str, str, str]] = msgspec.field(default_factory=list)
    """Tables (with an empty column) and columns that differ from another one in case only, with that one; they are left
    out. Only a case-sensitive server has such.
    """

    def needed(self) -> list[str]:
        """Tables to copy: the catalogue and whatever it names, if it is there. Relations come first, PnPBase next."""
        wanted = {name.lower() for name in CATALOGUE_TABLES} | self.relations
        wanted |= {table for _, table in self.classes.values()} | self.classes.keys()
        order = {True: 0, False: 2}
        return sorted(
            wanted & self.tables.keys(), key=lambda n: (1 if n == ROOT else order[n in self.relations], n)
        )

    def item_tables(self) -> list[str]:
        """Tables that hold rows of items, by PnPID."""
        return [
            name
            for name in self.needed()
            if name not in self.relations
            and self.tables[name].has("PnPID")
            and not name.startswith("pnpsys_")
        ]

    def chain(self, class_name: str) -> list[str]:
        """Tables on the path of a class, those that are there; all of them for a class nobody knows."""
        if class_name.lower() not in self.classes:
            return self.item_tables()
        found: list[str] = []
        current: str | None = class_name.lower()
        seen: set[str] = set()
        while current is not None and current in self.classes and current not in seen:
            seen.add(current)
            base, table = self.classes[current]
            found.append(table)
            current = base
        return [table for table in dict.fromkeys([ROOT, *found]) if table in self.tables]

    def narrowed(self) -> None:
        """Leave out the columns that nobody asks: an item's are read all, since its digest is of all of them."""
        of_classes = {table for _, table in self.classes.values()} | self.classes.keys()
        for name, table in self.tables.items():
            asked = CATALOGUE_COLUMNS.get(name)
            if name in LINK_COLUMNS and table.has("PnPID") and table.has("RowId"):
                asked = LINK_COLUMNS[name]
            if name in self.relations:
                asked = frozenset({"pnpid", *(role.lower() for role in self.roles(name))})
            if name == ROOT:
                columns = [one for one in table.declared if one[0].lower() != "pnpstatus"]
            elif asked is None or (name in of_classes and name not in LINK_COLUMNS):
                continue
            else:
                columns = [one for one in table.declared if one[0].lower() in asked]
            if columns:
                self.tables[name] = replace(table, columns=tuple(columns))
        base = self.tables.get(ROOT)
        if base is not None and all(base.has(one) for one in ("PnPClassName", "PnPTimestamp", "PnPRevision")):
            self.links = tuple(
                name
                for name in LINK_CLASSES
                if self.classes.get(name) == (ROOT, name)
                and name in self.tables
                and self.tables[name].has("PnPID")
                and self.tables[name].has("RowId")
            )
            self.tables[ROOT] = replace(self.tables[ROOT], where=where_class_is_not(self.links))

    def roles(self, relation: str) -> list[str]:
        """Columns of a relation that hold ids of items."""
        kinds = ("int", "bigint", "smallint")
        return [
            name
            for name, kind in self.tables[relation].declared
            if kind in kinds and name.lower() not in ("pnpid", "pnptimestamp", "pnprevision", "pnpstatus")
        ]


def where_class_is_not(links: Iterable[str]) -> str:
    """The rows of `PnPBase` that are of none of these link classes."""
    names = _class_names(links)
    return f" WHERE [PnPClassName] IS NULL OR [PnPClassName] NOT IN ({names})" if names else ""


def where_class_is(links: Iterable[str]) -> str:
    """The rows of `PnPBase` that are of one of these link classes."""
    return f" WHERE [PnPClassName] IN ({_class_names(links)})"


def _class_names(links: Iterable[str]) -> str:
    return ", ".join(f"'{LINK_CLASSES[link]}'" for link in links)


def selected(name: str, kind: str, *, as_bytes: bool) -> str:
    """One column as it is asked for. A GUID comes as its 16 bytes, in the order in which SQL Server and a file keep it."""
    column = bracketed(name)
    if kind == "uniqueidentifier":
        return f"CAST({column} AS binary(16))"
    if kind in DATE_KINDS:
        return f"CONVERT(nvarchar(40), {column}, 121)"
    if kind == "sql_variant":
        return f"CAST({column} AS nvarchar(4000))"
    if kind not in TAKEN_KINDS:
        return f"CAST({column} AS nvarchar(max))"
    return f"CAST({column} AS varbinary(max))" if as_bytes and kind in WIDE_KINDS else column


def select_statement(table: str, columns: Iterable[str]) -> str:
    """Named columns of one table of `dbo`."""
    return f"SELECT {', '.join(bracketed(column) for column in columns)} FROM [{SCHEMA}].{bracketed(table)}"


def layout_of(session: Session) -> Layout:
    """The tables of the database that this login sees, and what its catalogue says of them."""
    spelled: dict[str, dict[str, Table]] = {}
    unreadable: list[tuple[str, str]] = []
    twice: list[tuple[str, str, str]] = []
    rows = session.all(TABLES_STATEMENT)
    for table, group in groupby(rows, key=itemgetter(0)):
        columns: dict[str, tuple[str, str]] = {}
        for _, column, kind in group:
            if not (readable(table) and readable(column)):
                unreadable.append((table, column))
            elif column.lower() in columns:
                twice.append((table, column, f"{table}.{columns[column.lower()][0]}"))
            else:
                columns[column.lower()] = (column, (kind or "").lower())
        if columns:
            found = tuple(columns.values())
            spelled.setdefault(table.lower(), {})[table] = Table(table, found, found)
    layout = Layout(
        {lower: _chosen(tables, SYSTEM_TABLES) for lower, tables in spelled.items()},
        unreadable=unreadable,
        twice=twice,
    )
    words: set[str] = set()
    for name, physical, base in _catalogue(
        session, layout, "PnPTables", ("TableName", "PhysicalName", "BaseTable")
    ):
        words |= {one for one in (name, physical) if one}
        if name:
            layout.classes[name.lower()] = (base.lower() if base else None, (physical or name).lower())
    relations = {
        word
        for row in _catalogue(
            session, layout, "PnPRelationshipTypes", ("RelationshipTypeName", "PhysicalName")
        )
        for word in row
        if word
    }
    layout.relations = frozenset(word.lower() for word in relations)
    for lower, tables in spelled.items():
        if len(tables) > 1:
            layout.tables[lower] = _chosen(tables, SYSTEM_TABLES | words | relations)
            kept = layout.tables[lower].name
            layout.twice += [(name, "", kept) for name in tables if name != kept]
    layout.narrowed()
    return layout


def _chosen(spelled: Mapping[str, Table], names: Collection[str]) -> Table:
    """Of tables whose names differ in case only, the one that is named so."""
    return next((table for name, table in spelled.items() if name in names), next(iter(spelled.values())))


def _catalogue(
    session: Session, layout: Layout, name: str, wanted: Sequence[str]
) -> Iterator[tuple[str | None, ...]]:
    """Some columns of a catalogue table as text; a column that is not there reads as None."""
    table = layout.tables.get(name.lower())
    present = [column for column in wanted if table is not None and table.has(column)]
    if table is None or not present:
        return
    for row in session.all(select_statement(table.name, present)):
        values = dict(zip(present, row, strict=True))
        yield tuple(None if values.get(one) is None else str(values[one]) for one in wanted)
