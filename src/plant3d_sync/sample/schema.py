"""The physical form of a P&ID project database on SQLite: catalogue, class tables, views, relations.

One table per class with the class's own columns only; one row per item in each table from its class
up to `PnPBase`. Tables are lazy: class and relation tables, their `_PNP` view and their indexes
appear with the first row and stay. No foreign keys, no triggers, rollback journal.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from plant3d_sync.sample.classtree import (
    ABSENT_CLASSES_IN_2010,
    ABSENT_IN_2010,
    CLASS_TREE,
    CUSTOM_CLASSES,
    CUSTOM_COLUMN_NAMES,
    CUSTOM_COLUMNS,
)

Style = Literal["2025", "2010"]
"""The release a sample imitates: a project keeps the physical form it was created with."""

ROOT = "PnPBase"
ENTITY_ROOTS: dict[str, str] = {
    "equipment": "Equipment",
    "instruments": "Instrumentation",
    "valves": "HandValves",
    "lines": "PipeLineGroup",
}
ENLISTED = ("Equipment", "Nozzles", "HandValves", "Instrumentation", "PipeLineGroup")
"""Classes whose `Tag` is under the uniqueness of the tag registry."""

_PICKLIST_OF: dict[tuple[str, str], str] = {
    ("EngineeringItems", "Status"): "Status",
    ("Equipment", "Type"): "Equipment_Types",
    ("InLineAssets", "Size"): "Pipe_Sizes_Metric",
    ("InLineAssets", "Spec"): "Pipe_Specs",
    ("HandValves", "EndConnections"): "EndConnections",
    ("HandValves", "Normally"): "SSPL$HandValves_Normally",
    ("Reducers", "Size2"): "Pipe_Sizes_Metric",
    ("Instrumentation", "Type"): "Instrument_Types",
    ("InlineInstruments", "Size"): "Pipe_Sizes_Metric",
    ("InlineInstruments", "EndConnections"): "EndConnections",
    ("ControlValve", "Normally"): "SSPL$ControlValve_Normally",
    ("ReliefValves", "Size2"): "Pipe_Sizes_Metric",
    ("PipeLines", "Size"): "Pipe_Sizes_Metric",
    ("PipeLines", "Spec"): "Pipe_Specs",
    ("PipeLines", "Tracing"): "Tracing_Types",
    ("PipeLines", "InsulationType"): "Insulation_Types",
    ("Nozzles", "Size"): "Pipe_Sizes_Metric",
    ("Nozzles", "Spec"): "Pipe_Specs",
    ("PipeLineGroup", "Service"): "Services",
    ("PipeLineGroup", "NominalSize"): "Pipe_Sizes_Metric",
    ("PipeLineGroup", "NominalSpec"): "Pipe_Specs",
    ("PipeLineGroup", "Status"): "Status",
}
_DEFAULT_OF: dict[tuple[str, str], str] = {
    ("EngineeringItems", "FlagValue"): "0",
    ("EngineeringItems", "Status"): "New",
    ("NonEngineeringItems", "FlagValue"): "0",
    ("HandValves", "Normally"): "NO",
    ("HandValves", "EndConnections"): "Unspecified",
    ("InlineInstruments", "EndConnections"): "Unspecified",
    ("ControlValve", "Normally"): "NO",
    ("Nozzles", "Type"): "N",
    ("PipeLineGroup", "Description"): "PIPE LINE GROUP",
    ("PipeLineGroup", "Status"): "New",
    ("SignalLineGroup", "Description"): "SIGNAL LINE GROUP",
}
_READ_ONLY = frozenset(
    {
        ("PipeLines", "From"),
        ("PipeLines", "To"),
        ("Reducers", "Size2"),
        ("ControlValve", "BodyType"),
        ("ControlValve", "ActuatorType"),
    }
)
_READ_ONLY_ANYWHERE = frozenset({"ClassName", "AcquisitionProperties", "FlagValue"})
_HIDDEN = frozenset({"FlagValue", "AcquisitionProperties", "ParamOnLine", "SpecPartGuid"})
_NUMBER_UNIT = frozenset(
    {
        "LoopNumber",
        "SetPoint",
        "Insulation",
        "OperatingTemperature",
        "OperatingPressure",
        "DesignPressure",
        "DesignTemperature",
        "TestPressure",
    }
)
_DISPLAY: dict[str, str] = {
    "PnID": "DWG Number",
    "Title": "DWG Title",
    "Insulation": "Insulation Thickness",
    "PostWeldHeatTreatment": "PWHT",
    "MaterialOfConstruction": "Material of Construction",
    "OriginOrDestination": "Origin or Destination",
    "SpecPartGuid": "Spec Part Guid",
}
_TAG_FORMAT: dict[str, str] = {
    "Equipment": "[Area-Type-Number]",
    "HandValves": "[Code-Number]",
    "PipingSpecialtyItems": "[Type-Number]",
    "Instrumentation": "[Area-Type-Number]",
    "Nozzles": "[N-Number]",
    "PipeLineGroup": "Pipeline Tag [Size-Spec-Service-Line Number]",
    "PipeLines": "Pipeline Tag [Size-Spec-Service-Line Number]",
    "SignalLines": "[Comment]",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One own column of a class. `kind` is the .NET type without `System.`; `length` in characters."""

    name: str
    kind: str
    length: int = 0

    def declared(self, *, nocase: bool) -> str:
        """The type as SQLite declares it. SQLite does not enforce it; the length is for people."""
        if self.kind == "String":
            text = "Char" if self.length > 255 else f"VarChar ({self.length if self.length > 0 else 255})"
            return f"{text} collate nocase" if nocase else text
        return {
            "Int64": "integer",
            "Int32": "int",
            "Int16": "smallint",
            "Guid": "GUID",
            "Boolean": "bit",
            "Double": "double",
        }[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDef:
    """One class: its base, its label and its own columns (without the repeated `PnPID`)."""

    name: str
    base: str | None
    label: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationDef:
    """A relation type: roles with the class allowed in each, and extra columns. All are many-to-many."""

    name: str
    roles: tuple[tuple[str, str], ...]
    extra: tuple[Column, ...] = ()


_PARAM = (Column(name="ParamOnLine", kind="Double"),)
RELATIONS: dict[str, RelationDef] = {
    r.name: r
    for r in (
        RelationDef(name="LineInlineAsset", roles=(("Line", "Lines"), ("Asset", "EngineeringItems"))),
        RelationDef(name="LineStartAsset", roles=(("Line", "Lines"), ("Asset", "EngineeringItems"))),
        RelationDef(name="LineEndAsset", roles=(("Line", "Lines"), ("Asset", "EngineeringItems"))),
        RelationDef(name="LineStartLine", roles=(("Line1", "Lines"), ("Line2", "Lines")), extra=_PARAM),
        RelationDef(name="LineEndLine", roles=(("Line1", "Lines"), ("Line2", "Lines")), extra=_PARAM),
        RelationDef(name="LineLineRelationship", roles=(("Line1", "Lines"), ("Line2", "Lines"))),
        RelationDef(name="LineNozzle", roles=(("Line", "Lines"), ("Nozzle", "Nozzles"))),
        RelationDef(name="LineFlowArrow", roles=(("Line", "Lines"), ("Arrow", "FlowArrow"))),
        RelationDef(
            name="LineOffPageConnector", roles=(("Line", "Lines"), ("OffPageConnector", "Connectors"))
        ),
        RelationDef(
            name="ConnectorsRelationship", roles=(("Connector1", "Connectors"), ("Connector2", "Connectors"))
        ),
        RelationDef(
            name="PipeLineGroupRelationship",
            roles=(("PipeLineGroup", "PipeLineGroup"), ("PipeLine", "PipeLines")),
        ),
        RelationDef(
            name="SignalLineGroupRelationship",
            roles=(("SignalLineGroup", "SignalLineGroup"), ("SignalLine", "SignalLines")),
        ),
        RelationDef(
            name="PipeLineGroupSignalLineGroup",
            roles=(("PipeLineGroup", "PipeLineGroup"), ("SignalLineGroup", "SignalLineGroup")),
        ),
        RelationDef(
            name="AssetOwnership", roles=(("Owner", "EngineeringItems"), ("Owned", "EngineeringItems"))
        ),
        RelationDef(
            name="AssetNonEngineeringRelationship",
            roles=(("Asset", "EngineeringItems"), ("NonEngineering", "NonEngineeringItems")),
        ),
        RelationDef(name="AnnotationRelationship", roles=(("Annotated", ROOT), ("Annotation", "Annotation"))),
        RelationDef(name="SegmentBreak", roles=(("Line", "Lines"), ("Break", "LineBreakers"))),
        RelationDef(name="LineFlag", roles=(("Line", "Lines"), ("Flag", "Flag"))),
        RelationDef(name="ReferenceRelationship", roles=(("Referencing", ROOT), ("Referenced", ROOT))),
    )
}
_ABSENT_RELATIONS_IN_2010 = frozenset({"LineLineRelationship", "LineStartLine", "LineEndLine"})
_INDEXES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("PnPBase_PnPClassName_IDX", ROOT, ("PnPClassName",)),
    ("PnPDataLinks_RowId_IDX", "PnPDataLinks", ("RowId",)),
    ("PnPDataLinks_DwgId_IDX", "PnPDataLinks", ("DwgId", "DwgHandleLow", "DwgHandleHigh")),
    ("PnPPicklistValues_PicklistId_IDX", "PnPPicklistValues", ("PicklistId",)),
)
_UNIQUE = frozenset({("PnPTagRegistry", "Tag"), ("PnPTagRegistry", "RowId")})

_CATALOGUE: tuple[tuple[str, str, str], ...] = (
    ("PnPDatabase", "DBID GUID, DBType T, Version int, MetadataRevision int, DataRevision int", ""),
    (
        "PnPTables",
        "TableName T, BaseTable T, Abstract T, PhysicalName T, Revision int, SyncTimestamp integer",
        "TableName",
    ),
    (
        "PnPProperties",
        "TableName T, PropertyName T, PropertyType T, Length int, IsObjectId T, IsCounter T, IsSystem T,"
        " IsUnique T, CheckConstraint T, DefaultValue T, IsExpression T, Expression T",
        "TableName, PropertyName",
    ),
    (
        "PnPTableAttributes",
        "TableName T, AttributeName T, AttributeType T, AttributeValue T",
        "TableName, AttributeName",
    ),
    (
        "PnPColumnAttributes",
        "TableName T, ColumnName T, AttributeName T, AttributeType T, AttributeValue T",
        "TableName, ColumnName, AttributeName",
    ),
    ("PnPRelationshipTypes", "RelationshipTypeName T, PhysicalName T, Revision int", "RelationshipTypeName"),
    (
        "PnPRoleTypes",
        "RelationshipTypeName T, RoletypeName T, TableInRole T, Cardinality T",
        "RelationshipTypeName, RoletypeName",
    ),
    (
        "PnPRelationshipProperties",
        "RelationshipTypeName T, PropertyName T, PropertyType T, Length int",
        "RelationshipTypeName, PropertyName",
    ),
    ("PnPRowRelations", "ROWID integer, RELID integer, RelationshipTypeName T", "ROWID, RELID"),
    ("PnPIndexes", "IndexName T, TableName T, IsUnique T", "IndexName"),
    ("PnPIndexColumns", "IndexName T, ColumnName T", "IndexName, ColumnName"),
    ("PnPSys_PnPBase_PnPID", "cnt integer", ""),
    ("PnPSys_RelationshipSystem_PnPID", "cnt integer", ""),
    ("PnPTombstone", "PnPGuid GUID, PnPClassName T, PnPTimestamp integer", "PnPGuid"),
)


def label_of(name: str) -> str:
    """The display name made from a physical name: `GateValve` reads "Gate Valve"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)


def quoted(name: str) -> str:
    """The name as SQL identifier. `[x]` because SQLite reads an unknown `"x"` as a text constant."""
    return f"[{name}]"


def class_defs(style: Style) -> dict[str, ClassDef]:
    """All classes of a project of that style by name, parents before children."""
    found: dict[str, ClassDef] = {}
    path: list[tuple[int, str]] = []
    for indent, text in _tree_lines():
        while path and path[-1][0] >= indent:
            path.pop()
        base = path[-1][1] if path else None
        if text.startswith("- "):
            for item in text[2:].split(", "):
                _declare(found, item, base, (), style)
            continue
        head, _, columns = text.partition(" : ")
        name = _declare(found, head, base, tuple(c for c in columns.split(", ") if c), style)
        path.append((indent, name))
    for name, base, label in CUSTOM_CLASSES:
        found[name] = ClassDef(name=name, base=base, label=label, columns=())
    if style == "2010":
        for name in ABSENT_CLASSES_IN_2010:
            del found[name]
    return found


def relation_defs(style: Style) -> dict[str, RelationDef]:
    """The relation types of a project of that style: 19, or the 16 of older projects."""
    if style == "2025":
        return dict(RELATIONS)
    return {n: r for n, r in RELATIONS.items() if n not in _ABSENT_RELATIONS_IN_2010}


def chain(classes: Mapping[str, ClassDef], name: str) -> tuple[ClassDef, ...]:
    """The classes from `PnPBase` down to `name`; an item of `name` has a row in each of their tables."""
    found: list[ClassDef] = []
    current: str | None = name
    while current is not None:
        found.append(classes[current])
        current = classes[current].base
    return tuple(reversed(found))


def descendants(classes: Mapping[str, ClassDef], root: str) -> frozenset[str]:
    """The class and everything below it."""
    found = {root}
    for definition in classes.values():  # parents come before children
        if definition.base in found:
            found.add(definition.name)
    return frozenset(found)


def _tree_lines() -> Iterator[tuple[int, str]]:
    joined: list[tuple[int, str]] = []
    for line in CLASS_TREE.splitlines():
        text = line.strip()
        if text.startswith("~ "):
            indent, before = joined[-1]
            joined[-1] = (indent, f"{before} {text[2:]}")
        else:
            joined.append((len(line) - len(text), text))
    yield from joined


def _declare(
    found: dict[str, ClassDef], head: str, base: str | None, columns: tuple[str, ...], style: Style
) -> str:
    name, _, label = head.partition(" ")
    own = [_column(c, style) for c in columns]
    own += [
        Column(name=column, kind="String", length=-1 if style == "2010" else 255)
        for table, column, _ in CUSTOM_COLUMNS
        if table == name
    ]
    absent = ABSENT_IN_2010.get(name, frozenset()) if style == "2010" else frozenset()
    found[name] = ClassDef(
        name=name,
        base=base,
        label=label.strip('"') or label_of(name),
        columns=tuple(c for c in own if c.name not in absent),
    )
    return name


def _column(text: str, style: Style) -> Column:
    name, _, kind = text.rstrip(">").partition("<")
    name = name.strip("[]")
    if not kind:
        return Column(name=name, kind="String", length=-1 if style == "2010" else 255)
    if kind.startswith("String"):
        return Column(name=name, kind="String", length=int(kind.removeprefix("String")))
    return Column(name=name, kind=kind)


# --- the catalogue ---------------------------------------------------------------------------------


def create_catalogue(
    connection: sqlite3.Connection, classes: Mapping[str, ClassDef], style: Style, dbid: bytes
) -> None:
    """Create and fill the system tables; class and relation tables come later, with their first row.

    `dbid` is the 16-byte lineage id in .NET byte order. Copies of a project share it.
    """
    nocase = style == "2025"
    for table, columns, key in _CATALOGUE:
        connection.execute(_catalogue_ddl(table, columns, key, nocase=nocase))
    connection.execute("INSERT INTO PnPDatabase VALUES (?, 'Regular', 2, ?, 0)", (dbid, 9 if nocase else 4))
    _insert(
        connection,
        "PnPTables",
        ((d.name, d.base, "TRUE" if d.name == ROOT else "FALSE", d.name, 0, None) for d in classes.values()),
        6,
    )
    _insert(connection, "PnPProperties", _property_rows(classes), 12)
    _insert(connection, "PnPTableAttributes", _table_attribute_rows(classes), 4)
    _insert(connection, "PnPColumnAttributes", _column_attribute_rows(classes), 5)
    relations = relation_defs(style).values()
    _insert(connection, "PnPRelationshipTypes", ((r.name, r.name, 0) for r in relations), 3)
    _insert(
        connection,
        "PnPRoleTypes",
        ((r.name, role, allowed, "Many") for r in relations for role, allowed in r.roles),
        4,
    )
    _insert(
        connection,
        "PnPRelationshipProperties",
        ((r.name, c.name, f"System.{c.kind}", 0) for r in relations for c in r.extra),
        4,
    )
    _insert(connection, "PnPIndexes", ((name, table, "FALSE") for name, table, _ in _INDEXES), 3)
    _insert(connection, "PnPIndexColumns", ((name, c) for name, _, columns in _INDEXES for c in columns), 2)


def _catalogue_ddl(table: str, columns: str, key: str, *, nocase: bool) -> str:
    text = "VarChar (255) collate nocase" if nocase else "VarChar (255)"
    parts = [f"[{n}] {text if t == 'T' else t}" for n, t in (c.split() for c in columns.split(", "))]
    if key:
        parts.append(f"primary key ({', '.join(quoted(k) for k in key.split(', '))})")
    return f"CREATE TABLE [{table}] ({', '.join(parts)})"


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]], width: int) -> None:
    marks = ", ".join("?" * width)
    connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({marks})", rows)  # noqa: S608


def _property_rows(classes: Mapping[str, ClassDef]) -> Iterator[tuple[object, ...]]:
    for definition in classes.values():
        is_root = definition.name == ROOT
        counter = "TRUE" if is_root else "FALSE"
        # fmt: off
        yield (definition.name, "PnPID", "System.Int64", 0, "TRUE", counter, "TRUE", "TRUE",
               None, None, "FALSE", None)
        for column in definition.columns:
            unique = "TRUE" if (definition.name, column.name) in _UNIQUE else "FALSE"
            default = _DEFAULT_OF.get((definition.name, column.name))
            yield (definition.name, column.name, f"System.{column.kind}", column.length, "FALSE", "FALSE",
                   "TRUE" if is_root else "FALSE", unique, None, default, "FALSE", None)
        # fmt: on


def _table_attribute_rows(classes: Mapping[str, ClassDef]) -> Iterator[tuple[str, str, str, str]]:
    for definition in classes.values():
        yield (definition.name, "DisplayName", "System.String", definition.label)
        yield (definition.name, "BitwiseFlagValue", "System.Int32", "3")
        if definition.name in _TAG_FORMAT:
            yield (definition.name, "TagFormatName", "System.String", _TAG_FORMAT[definition.name])
        if definition.name in ("PipeLines", "SignalLines"):
            yield (definition.name, "HasFlowDirection", "System.Boolean", "TRUE")


def _column_attribute_rows(classes: Mapping[str, ClassDef]) -> Iterator[tuple[str, str, str, str, str]]:
    labels = {(table, column): label for table, column, label in CUSTOM_COLUMNS}
    for definition in classes.values():
        for column in definition.columns:
            for name, value in _attributes(definition.name, column, labels):
                yield (definition.name, column.name, name, "System.String", value)
        if _has_labelled_description(classes, definition.name):
            # Subclasses carry attributes for inherited columns; the nearest one wins.
            for inherited, value in (
                ("ClassName", definition.label),
                ("Description", definition.label.upper()),
            ):
                yield (definition.name, inherited, "VALUE", "System.String", value)


def _has_labelled_description(classes: Mapping[str, ClassDef], name: str) -> bool:
    roots = {d.name for d in chain(classes, name)}
    return bool(roots & {"EngineeringItems", "NonEngineeringItems"})


def _attributes(
    table: str, column: Column, labels: Mapping[tuple[str, str], str]
) -> Iterator[tuple[str, str]]:
    key = (table, column.name)
    picklist = _PICKLIST_OF.get(key)
    custom = column.name in CUSTOM_COLUMN_NAMES and key in labels
    yield "TYPE", _attribute_type(column, picklist)
    label = labels.get(key) or _DISPLAY.get(column.name) or label_of(column.name)
    if label != column.name:
        yield "DISPLAYNAME", label
    if picklist is not None:
        yield "PICKLISTNAME", picklist
        yield "PICKLISTTYPE", "SymbolSelect" if picklist.startswith("SSPL$") else "Regular"
    if key in _DEFAULT_OF:
        yield "VALUE", _DEFAULT_OF[key]
    # Truth values are text in mixed case in real files.
    read_only = key in _READ_ONLY or column.name in _READ_ONLY_ANYWHERE
    yield "ISREADONLY", "true" if read_only else "false"
    yield "ISHIDDEN", "TRUE" if column.name in _HIDDEN else "FALSE"
    yield "ISREMOVABLE", "TRUE" if custom else "false"
    if custom:
        yield "ISNEWCREATION", "true"


def _attribute_type(column: Column, picklist: str | None) -> str:
    if picklist is not None:
        return "PnPPickListType"
    if column.name == "FlagValue":
        return "PnPFlagType"
    if column.name in _NUMBER_UNIT:
        return "PnPNumberUnitType"
    return "PnPStringType" if column.kind == "String" else "PnPIntType"


def class_defaults(classes: Mapping[str, ClassDef], name: str) -> dict[str, str | int]:
    """The values a new item of the class starts with: attribute `VALUE`, nearest class wins."""
    values: dict[str, str | int] = {}
    for definition in chain(classes, name):
        for column in definition.columns:
            default = _DEFAULT_OF.get((definition.name, column.name))
            if default is not None:
                values[column.name] = int(default) if column.kind.startswith("Int") else default
    if _has_labelled_description(classes, name):
        values["ClassName"] = classes[name].label
        values["Description"] = classes[name].label.upper()
    return values


# --- lazy tables -----------------------------------------------------------------------------------


def existing_tables(connection: sqlite3.Connection) -> set[str]:
    """The physical tables there are now."""
    return {str(n) for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def create_class_table(connection: sqlite3.Connection, path: Sequence[ClassDef], *, nocase: bool) -> None:
    """Create the table, the `_PNP` view and the indexes of the last class of `path` (root first).

    The view is the parent's view inner-joined with the class's own table: one missing row at any
    level hides the item in every view below. It shows descendants too, with this class's columns.
    """
    own = path[-1]
    columns = ["[PnPID] integer not null primary key"]
    columns += [f"{quoted(c.name)} {c.declared(nocase=nocase)}" for c in own.columns]
    connection.execute(f"CREATE TABLE {quoted(own.name)} ({', '.join(columns)})")
    for index, table, keys in _INDEXES:
        if table == own.name:
            listed = ", ".join(quoted(k) for k in keys)
            connection.execute(f"CREATE INDEX {quoted(index)} ON {quoted(table)} ({listed})")
    for table, column in sorted(_UNIQUE):
        if table == own.name:
            connection.execute(
                f"CREATE UNIQUE INDEX [{table}_{column}_UNQ] ON {quoted(table)} ({quoted(column)})"
            )
    connection.execute(_view_ddl(path))


def _view_ddl(path: Sequence[ClassDef]) -> str:
    own = path[-1]
    if len(path) == 1:
        listed = ", ".join(quoted(n) for n in ("PnPID", *(c.name for c in own.columns)))
        return f"CREATE VIEW [{own.name}_PNP] AS SELECT {listed} FROM {quoted(own.name)}"  # noqa: S608
    above = f"[{path[-2].name}_PNP]"
    listed = ", ".join(
        [f"{above}.[PnPID] AS [PnPID]"]
        + [f"{above}.{quoted(c.name)} AS {quoted(c.name)}" for d in path[:-1] for c in d.columns]
        + [f"{quoted(own.name)}.{quoted(c.name)} AS {quoted(c.name)}" for c in own.columns]
    )
    return (
        f"CREATE VIEW [{own.name}_PNP] AS SELECT {listed} FROM {above}, {quoted(own.name)} "  # noqa: S608
        f"WHERE {above}.[PnPID] = {quoted(own.name)}.[PnPID]"
    )


def create_relation_table(connection: sqlite3.Connection, relation: RelationDef) -> None:
    """Create a relation's table, view and role indexes. Its `PnPID` is a number space of its own."""
    roles = [role for role, _ in relation.roles]
    columns = ["[PnPID] integer not null primary key", "[PnPGuid] GUID", "[PnPTimestamp] integer"]
    columns += [f"{quoted(r)} int" for r in roles]
    columns += [f"{quoted(c.name)} {c.declared(nocase=False)}" for c in relation.extra]
    connection.execute(f"CREATE TABLE {quoted(relation.name)} ({', '.join(columns)})")
    for role in roles:
        index = f"[{relation.name}_{role}_IDX]"
        connection.execute(f"CREATE INDEX {index} ON {quoted(relation.name)} ({quoted(role)})")
    names = ["PnPID", "PnPGuid", "PnPTimestamp", *roles, *(c.name for c in relation.extra)]
    listed = ", ".join(quoted(n) for n in names)
    connection.execute(
        f"CREATE VIEW [{relation.name}_PNP] AS SELECT {listed} FROM {quoted(relation.name)}"  # noqa: S608
    )
