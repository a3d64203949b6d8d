"""What a project says about itself, read from its catalogue tables at run time.

Nothing about which classes exist is fixed in code: customers add classes and columns, and move standard
columns up or down the tree. Only `PnPBase` and the catalogue tables themselves have known names.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

import msgspec
from msgspec.structs import replace

from plant3d_sync.connectors.plant3d.names import quotable, quoted, readable
from plant3d_sync.model.catalog import Catalog, Column, PlantClass
from plant3d_sync.model.record import Finding
from plant3d_sync.words import said

ROOT = "PnPBase"
SYSTEM_COLUMNS = frozenset({"pnpid", "pnpclassname", "pnpstatus", "pnprevision", "pnpguid", "pnptimestamp"})
"""Columns of `PnPBase` that an item carries in fields of its own (or that never say anything, `PnPStatus`)."""

_DEFAULT_LENGTH = 255
"""Length meant by -1 (older projects) or by nothing."""

Attributes = dict[str, str]


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """The catalog, with what only the reader needs: real names of tables and columns, relation roles.

    `tables`: lower-cased table name -> name as stored. `table_columns`: lower-cased table name ->
    lower-cased column -> column as stored. `roles`: lower-cased relation -> lower-cased role -> class allowed.
    `base_columns`: custom columns of `PnPBase` itself, as stored.
    """

    catalog: Catalog
    tables: Mapping[str, str]
    table_columns: Mapping[str, Mapping[str, str]]
    roles: Mapping[str, Mapping[str, str]]
    findings: tuple[Finding, ...]

    def table(self, name: str) -> str | None:
        """The quoted table of that name in any case, or None while it does not exist."""
        actual = self.tables.get(name.lower())
        return quoted(actual) if actual is not None else None

    def table_column(self, table: str, column: str) -> str | None:
        """The quoted column of a table, both in any case, or None."""
        actual = self.table_columns.get(table.lower(), {}).get(column.lower())
        return quoted(actual) if actual is not None else None


class _Draft(msgspec.Struct):
    """Catalogue rows while they are being put together."""

    findings: list[Finding] = msgspec.field(default_factory=list)
    tables: dict[str, str] = msgspec.field(default_factory=dict)
    table_columns: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    clashing: dict[str, list[str]] = msgspec.field(default_factory=dict)
    bases: dict[str, str | None] = msgspec.field(default_factory=dict)
    names: dict[str, str] = msgspec.field(default_factory=dict)
    physical: dict[str, str] = msgspec.field(default_factory=dict)
    properties: dict[str, list[Column]] = msgspec.field(default_factory=dict)
    table_attributes: dict[str, Attributes] = msgspec.field(default_factory=dict)
    column_attributes: dict[str, dict[str, Attributes]] = msgspec.field(default_factory=dict)


def discover(connection: sqlite3.Connection) -> Discovery:
    """Read the catalogue. `connection` must decode text tolerantly (no error on invalid UTF-8).

    Never raises for odd content: cycles, unknown bases, clashing names become findings.
    """
    draft = _Draft()
    _read_tables(connection, draft)
    _read_classes(connection, draft)
    _read_properties(connection, draft)
    _read_attributes(connection, draft)
    _cut_cycles(draft)
    catalog = Catalog(
        classes=_classes(draft),
        columns=_effective_columns(draft),
        picklists=_picklists(connection, draft),
        physical_columns=_physical_columns(draft),
    )
    return Discovery(
        catalog=catalog,
        tables=draft.tables,
        table_columns=draft.table_columns,
        roles=_roles(connection, draft),
        findings=tuple(draft.findings),
    )


_TEXT_ALONE = {str}.issuperset


def truth(value: object) -> bool:
    """Truth values of attributes are text in mixed case ('true', 'TRUE', 'false')."""
    return str(value).strip().lower() in ("true", "1", "yes")


def _rows(
    connection: sqlite3.Connection, draft: _Draft, table: str, columns: tuple[str, ...]
) -> Iterator[tuple[str | None, ...]]:
    """Rows of a catalogue table as text; a missing table is an empty one, a missing column reads as None."""
    actual = draft.tables.get(table.lower())
    if actual is None:
        return
    present = draft.table_columns[table.lower()]
    parts = [quoted(present[c.lower()]) if c.lower() in present else "NULL" for c in columns]
    for row in connection.execute(f"SELECT {', '.join(parts)} FROM {quoted(actual)}"):
        text = _TEXT_ALONE(map(type, row))
        yield row if text else tuple(None if v is None else str(v) for v in row)


def _read_tables(connection: sqlite3.Connection, draft: _Draft) -> None:
    statement = "SELECT m.name, p.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS p WHERE m.type = 'table'"
    for table, column in connection.execute(statement):
        if not (quotable(table) and quotable(column)):
            read = readable(table) and readable(column)
            draft.findings.append(unusable_name(table, column, read=read))
            if not read:
                continue
        lower = table.lower()
        draft.tables.setdefault(lower, table)
        columns = draft.table_columns.setdefault(lower, {})
        if column.lower() in columns:
            draft.clashing.setdefault(lower, []).append(column)
            draft.findings.append(_case_clash(table, columns[column.lower()], column))
        else:
            columns[column.lower()] = column


def unusable_name(table: str, column: str, *, read: bool) -> Finding:
    """A name with a character that cannot be quoted everywhere. `read`: whether it can be quoted at all.

    NUL is written as `\\0`: not every state database takes it.
    """
    table, column = (name.replace("\x00", "\\0") for name in (table, column))
    return Finding(
        code="unusable_name",
        message=f"The name {table}.{column} holds a character that not every program can quote; "
        f"it is {'read, but never written to' if read else 'not read'}.",
        class_name=table,
        column=column,
        hint="Rename the class or property in Project Setup.",
    )


def named_twice(table: str, column: str, kept: str) -> Finding:
    """A table (`column` empty) or a column of a case-sensitive server that differs from `kept` in case only."""
    name = f"{table}.{column}" if column else table
    return Finding(
        code="column_case_clash",
        message=f"{said(name)} is not read: {said(kept)}, which is, differs from it only in case.",
        class_name=table,
        column=column or None,
        hint="Plant 3D makes no two such names: find out who added one of them.",
    )


def _case_clash(table: str, first: str, second: str) -> Finding:
    return Finding(
        code="column_case_clash",
        message=f"{table} has the columns {said(first)} and {said(second)}, which differ only in case. Both are read.",
        class_name=table,
        column=second,
        hint="Name the wanted one exactly in the mapping.",
    )


def _read_classes(connection: sqlite3.Connection, draft: _Draft) -> None:
    for name, base, physical in _rows(
        connection, draft, "PnPTables", ("TableName", "BaseTable", "PhysicalName")
    ):
        if not name:
            continue
        lower = name.lower()
        if lower in draft.names:
            draft.findings.append(
                Finding(
                    code="class_case_clash",
                    message=f"The classes {said(draft.names[lower])} and {said(name)} differ only in case; "
                    "the second is ignored.",
                    class_name=name,
                    hint="Remove one of them in Project Setup.",
                )
            )
            continue
        draft.names[lower] = name
        draft.bases[lower] = base.lower() if base else None
        draft.physical[lower] = physical or name
    for lower, parent in draft.bases.items():
        if parent is not None and parent not in draft.names:
            draft.findings.append(
                Finding(
                    code="unknown_base",
                    message=f"The class {draft.names[lower]} is based on {parent}, which is not in PnPTables. "
                    "It is treated as a root.",
                    class_name=draft.names[lower],
                    hint="Run the project audit in Plant 3D.",
                )
            )
            draft.bases[lower] = None


def _cut_cycles(draft: _Draft) -> None:
    """A class that is its own ancestor loses its base: its place in the tree cannot be known."""
    for lower in sorted(draft.names):
        seen = [lower]
        current = draft.bases[lower]
        while current is not None and current not in seen:
            seen.append(current)
            current = draft.bases[current]
        if current == lower:
            draft.findings.append(
                Finding(
                    code="class_cycle",
                    message=f"The class {draft.names[lower]} is its own ancestor "
                    f"({' -> '.join(draft.names[c] for c in [*seen, lower])}). Its base is ignored.",
                    class_name=draft.names[lower],
                    hint="Run the project audit in Plant 3D.",
                )
            )
            draft.bases[lower] = None


def _read_properties(connection: sqlite3.Connection, draft: _Draft) -> None:
    columns = ("TableName", "PropertyName", "PropertyType", "Length")
    for table, name, kind, length in _rows(connection, draft, "PnPProperties", columns):
        if not table or not name or table.lower() not in draft.names:
            continue
        lower = table.lower()
        if name.lower() == "pnpid" or (lower == ROOT.lower() and name.lower() in SYSTEM_COLUMNS):
            continue
        column_type = kind or "System.String"
        draft.properties.setdefault(lower, []).append(
            Column(
                name=_stored_name(draft, lower, name),
                table_class=draft.names[lower],
                type=column_type,
                length=_length(column_type, length),
                label=name,
            )
        )


def _stored_name(draft: _Draft, lower: str, name: str) -> str:
    """The column as its table spells it; the catalogue's spelling while there is no such column."""
    table = draft.physical[lower].lower()
    if name in draft.clashing.get(table, ()):
        return name
    return draft.table_columns.get(table, {}).get(name.lower(), name)


def _length(column_type: str, length: str | None) -> int:
    if column_type != "System.String":
        return 0
    try:
        number = int(float(length)) if length else 0
    except ValueError:
        number = 0
    return number if number > 0 else _DEFAULT_LENGTH


def _read_attributes(connection: sqlite3.Connection, draft: _Draft) -> None:
    for table, name, value in _rows(
        connection, draft, "PnPTableAttributes", ("TableName", "AttributeName", "AttributeValue")
    ):
        if table and name and value is not None:
            draft.table_attributes.setdefault(table.lower(), {})[name.upper()] = value
    for table, column, name, value in _rows(
        connection,
        draft,
        "PnPColumnAttributes",
        ("TableName", "ColumnName", "AttributeName", "AttributeValue"),
    ):
        if table and column and name and value is not None:
            per_column = draft.column_attributes.setdefault(table.lower(), {})
            per_column.setdefault(column.lower(), {})[name.upper()] = value


def _classes(draft: _Draft) -> dict[str, PlantClass]:
    classes: dict[str, PlantClass] = {}
    for lower, name in draft.names.items():
        attributes = draft.table_attributes.get(lower, {})
        base = draft.bases[lower]
        stored = draft.tables.get(draft.physical[lower].lower())
        classes[name] = PlantClass(
            name=name,
            base=draft.names[base] if base else None,
            label=attributes.get("DISPLAYNAME", "").strip() or name,
            physical=stored or draft.physical[lower],
            has_table=stored is not None,
        )
    return classes


def _physical_columns(draft: _Draft) -> dict[str, frozenset[str]]:
    """Per class the lower-cased columns its table really has (clashing ones under their exact name)."""
    result: dict[str, frozenset[str]] = {}
    for lower, name in draft.names.items():
        table = draft.physical[lower].lower()
        if table in draft.table_columns:
            result[name] = frozenset(draft.table_columns[table]) | frozenset(draft.clashing.get(table, ()))
    return result


def _effective_columns(draft: _Draft) -> dict[str, dict[str, Column]]:
    """Per class all its columns, inherited ones included; attributes: the nearest class that has one wins."""
    done: dict[str, _Effective] = {}
    return {name: _resolved(draft, lower, done)[0] for lower, name in draft.names.items()}


_Effective = tuple[dict[str, Column], dict[str, Attributes]]


def _resolved(draft: _Draft, lower: str, done: dict[str, _Effective]) -> _Effective:
    """Columns and attributes of one class and, in `done`, of its bases. No closure: one that calls itself outlives its call."""
    if lower in done:
        return done[lower]
    base = draft.bases[lower]
    inherited, known = _resolved(draft, base, done) if base else ({}, {})
    columns, attributes = dict(inherited), dict(known)
    own = draft.column_attributes.get(lower, {})
    for column in draft.properties.get(lower, ()):
        key = _key(columns, column, draft.names[lower])
        if key in inherited:
            draft.findings.append(_repeated(column, inherited[key]))
        attributes.pop(key, None)
        columns[key] = _with_attributes(column, own.get(column.name.lower(), {}))
    for key, local in own.items():
        if key in columns:
            attributes[key] = {**attributes.get(key, {}), **local}
            columns[key] = _with_attributes(columns[key], attributes[key])
    done[lower] = columns, attributes
    return done[lower]


def _key(columns: Mapping[str, Column], column: Column, class_name: str) -> str:
    """Lower-cased name, or the exact name for the second of two columns of one class differing only in case."""
    lower = column.name.lower()
    taken = columns.get(lower)
    if taken is not None and taken.table_class == class_name and taken.name != column.name:
        return column.name if column.name != lower else lower + " "
    return lower


def _repeated(column: Column, earlier: Column) -> Finding:
    return Finding(
        code="column_repeated",
        message=f"{column.table_class} declares the column {column.name} again, which it inherits from "
        f"{earlier.table_class}. The value of {column.table_class} is used.",
        class_name=column.table_class,
        column=column.name,
        hint="Remove one of the two properties in Project Setup.",
    )


def _with_attributes(column: Column, attributes: Attributes) -> Column:
    if not attributes:
        return column
    return replace(
        column,
        label=attributes.get("DISPLAYNAME", "").strip() or column.name,
        default=attributes.get("VALUE"),
        read_only=truth(attributes.get("ISREADONLY")),
        hidden=truth(attributes.get("ISHIDDEN")),
        picklist=attributes.get("PICKLISTNAME") or None,
        symbol_select=attributes.get("PICKLISTTYPE", "").strip().lower() == "symbolselect",
        custom=truth(attributes.get("ISNEWCREATION")),
    )


def _picklists(connection: sqlite3.Connection, draft: _Draft) -> dict[str, tuple[str, ...]]:
    """Selection lists. They are suggestions: stored values outside their list are common."""
    names = {row[0]: row[1] for row in _rows(connection, draft, "PnPPicklists", ("PnPID", "PicklistName"))}
    values: dict[str, list[str]] = {name: [] for name in names.values() if name}
    for list_id, value in _rows(connection, draft, "PnPPicklistValues", ("PicklistId", "PicklistValue")):
        name = names.get(list_id)
        if name and value:
            values[name].append(value)
    return {name: tuple(items) for name, items in values.items()}


def _roles(connection: sqlite3.Connection, draft: _Draft) -> dict[str, dict[str, str]]:
    roles: dict[str, dict[str, str]] = {}
    columns = ("RelationshipTypeName", "RoletypeName", "TableInRole")
    for relation, role, table in _rows(connection, draft, "PnPRoleTypes", columns):
        if relation and role and table:
            roles.setdefault(relation.lower(), {})[role.lower()] = table
    return roles
