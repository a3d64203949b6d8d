"""Edits a sample database as Plant 3D would: one transaction, every level, registry and links kept right.

An edit raises the item's `PnPTimestamp` (never backwards) and its `PnPRevision`. A changed relation
alone does not touch the item. New ids come from a fresh block of 100, as for each session. What a
later save of the drawing writes (drawing row, work history) is left out.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from plant3d_sync.errors import ConfigError, NeedsPersonError, NotFoundError
from plant3d_sync.sample.schema import (
    ENLISTED,
    RELATIONS,
    ROOT,
    ClassDef,
    Column,
    create_class_table,
    create_relation_table,
    existing_tables,
    quoted,
)
from plant3d_sync.sample.writer import Value, ticks_of

_TAG_PARTS: dict[str, tuple[str, ...]] = {
    "Equipment": ("Area", "Type", "Number"),
    "Instrumentation": ("Area", "Type", ""),  # its number has no column of its own
    "HandValves": ("Code", "Number"),
    "PipeLineGroup": ("NominalSize", "NominalSpec", "Service", "LineNumber"),
}


class Found(NamedTuple):
    """One item as `find` reports it; `tag` and `description` are None when absent or unknown."""

    pnpid: int
    class_name: str
    tag: str | None
    description: str | None


def find(path: Path, class_name: str | None = None, tag: str | None = None) -> list[Found]:
    """Items by class (descendants included) and stored tag, by `PnPID`.

    Without a class: engineering items and line groups. Bytes that are no UTF-8 show as `\\ufffd`.
    """
    with _session(path, at=None) as session:
        roots = [class_name] if class_name else ["EngineeringItems", "PipeLineGroup"]
        wanted = session.members(roots)
        tags = session.column_values("Tag", skip=("PnPTagRegistry",))
        descriptions = session.column_values("Description")
        rows = session.sql.execute("SELECT PnPID, PnPClassName FROM PnPBase ORDER BY PnPID").fetchall()
    items = (Found(i, c, tags.get(i), descriptions.get(i)) for i, c in rows if c in wanted)
    return [item for item in items if tag is None or item.tag == tag]


def set_value(
    path: Path, pnpid: int, column: str, value: str | int | float | None, *, at: datetime | None = None
) -> None:
    """Change one own or inherited column of an item. `Tag` goes through `rename_tag`.

    Raises NotFoundError when the item, the column or the item's row at that level is missing.
    """
    with _session(path, at=at) as session:
        if column.lower() == "tag" and session.enlisted(pnpid):
            session.rename(pnpid, None if value is None else str(value))
        else:
            session.update(pnpid, column, value)
            session.touch(pnpid)


def rename_tag(path: Path, pnpid: int, tag: str | None, *, at: datetime | None = None) -> None:
    """Give an item another tag: its parts, the registry and, for a line, its segments follow.

    Raises NeedsPersonError `tag_taken` when the registry has the tag for another item.
    """
    with _session(path, at=at) as session:
        session.rename(pnpid, tag)


def swap_tags(path: Path, first: int, second: int, *, at: datetime | None = None) -> None:
    """Exchange the tags of two items in one transaction."""
    with _session(path, at=at) as session:
        tag_of_first, tag_of_second = session.tag(first), session.tag(second)
        session.rename(first, None)
        session.rename(second, tag_of_first)
        session.rename(first, tag_of_second)


def delete_item(path: Path, pnpid: int) -> None:
    """Delete an item with its annotations, owned nozzles and (of a line) segments; nothing is left behind."""
    with _session(path, at=None) as session:
        session.class_of(pnpid)
        session.delete(pnpid)


def add_item(
    path: Path,
    class_name: str,
    values: Mapping[str, str | int | float | None],
    drawing_pnpid: int | None = None,
    *,
    at: datetime | None = None,
) -> int:
    """Add an item with the defaults of its class; the class's table appears if it is the first.

    Without a drawing it has no link, like a line group or a not placed object. Returns the `PnPID`.
    """
    with _session(path, at=at) as session:
        pnpid = session.add(class_name, values)
        if drawing_pnpid is not None:
            session.link(pnpid, class_name, drawing_pnpid)
        tag = values.get("Tag")
        if session.enlisted(pnpid):
            session.register(pnpid, None if tag is None else str(tag))
        return pnpid


def change_line(path: Path, asset: int, segment: int, *, at: datetime | None = None) -> None:
    """Put an asset in line of another segment. Only relations change: the item's timestamp stays."""
    with _session(path, at=at) as session:
        session.class_of(asset)
        session.class_of(segment)
        for relation in ("LineInlineAsset", "LineStartAsset", "LineEndAsset"):
            session.unrelate(relation, "Asset", asset)
        session.relate("LineInlineAsset", segment, asset)


@contextmanager
def _session(path: Path, *, at: datetime | None) -> Iterator[_Session]:
    """One designer's transaction: all of it, or nothing."""
    if not Path(path).is_file():
        raise ConfigError(
            f"There is no database at {path}; nothing was changed.",
            code="source_missing",
            hint="Write one with the `sample` command, or check the path.",
        )
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        connection.execute("BEGIN")
        yield _Session(connection, at or datetime.now(UTC))
        connection.execute("COMMIT")
    finally:
        connection.close()  # an open transaction is rolled back


class _Session:
    """The verbs of an edit, inside one transaction."""

    def __init__(self, connection: sqlite3.Connection, at: datetime) -> None:
        self.sql = connection
        self.now = ticks_of(at)
        self.bases: dict[str, str | None] = dict(
            connection.execute("SELECT TableName, BaseTable FROM PnPTables").fetchall()
        )
        self._block: list[int] = []
        self._relation_block: list[int] = []

    # -- the catalogue ------------------------------------------------------------------------------

    def path_of(self, class_name: str) -> list[str]:
        """The classes from `PnPBase` down to the class."""
        if class_name not in self.bases:
            raise NotFoundError(
                f"The database has no class {class_name!r}; nothing was changed.",
                code="unknown_class",
                hint="Class names are the physical English ones, such as GateValve.",
            )
        found: list[str] = []
        current: str | None = class_name
        while current:
            found.append(current)
            current = self.bases.get(current)
        return found[::-1]

    def members(self, roots: Sequence[str]) -> set[str]:
        """All classes at or below any of the roots."""
        for root in roots:
            self.path_of(root)
        return {name for name in self.bases if set(roots) & set(self.path_of(name))}

    def definition(self, class_name: str) -> ClassDef:
        columns = tuple(
            Column(name=name, kind=str(kind).removeprefix("System."), length=int(length))
            for name, kind, length in self.sql.execute(
                "SELECT PropertyName, PropertyType, Length FROM PnPProperties "
                "WHERE TableName = ? AND PropertyName <> 'PnPID' ORDER BY rowid",
                (class_name,),
            )
        )
        return ClassDef(name=class_name, base=self.bases[class_name], label=class_name, columns=columns)

    def defaults(self, path: Sequence[str]) -> dict[str, Value]:
        """The attribute `VALUE` of every column; the nearest class that has one wins."""
        found: dict[str, Value] = {}
        for name in path:
            found.update(
                self.sql.execute(
                    "SELECT ColumnName, AttributeValue FROM PnPColumnAttributes "
                    "WHERE TableName = ? AND AttributeName = 'VALUE'",
                    (name,),
                ).fetchall()
            )
        return found

    def column_values(self, column: str, skip: Sequence[str] = ()) -> dict[int, str | None]:
        """The values of a column by item, over every class that has it and a table."""
        tables = existing_tables(self.sql)
        found: dict[int, str | None] = {}
        for (table,) in self.sql.execute(
            "SELECT TableName FROM PnPProperties WHERE PropertyName = ?", (column,)
        ).fetchall():
            if table in tables and table not in skip:
                found.update(self.sql.execute(f"SELECT PnPID, {quoted(column)} FROM {quoted(table)}"))  # noqa: S608
        return found

    # -- one item -----------------------------------------------------------------------------------

    def class_of(self, pnpid: int) -> str:
        row = self.sql.execute("SELECT PnPClassName FROM PnPBase WHERE PnPID = ?", (pnpid,)).fetchone()
        if row is None:
            raise NotFoundError(
                f"There is no item with PnPID {pnpid}; nothing was changed.",
                code="item_not_found",
                hint="Look it up with `find`.",
            )
        return str(row[0])

    def enlisted(self, pnpid: int) -> bool:
        return bool(set(ENLISTED) & set(self.path_of(self.class_of(pnpid))))

    def update(self, pnpid: int, column: str, value: Value) -> None:
        """Write one column at the level that owns it; exactly one row must change."""
        class_name = self.class_of(pnpid)
        tables = existing_tables(self.sql)
        for owner in reversed(self.path_of(class_name)[1:]):
            names = {c.name.lower(): c.name for c in self.definition(owner).columns}
            name = names.get(column.lower())
            if name is None or owner not in tables:
                continue
            changed = self.sql.execute(
                f"UPDATE {quoted(owner)} SET {quoted(name)} = ? WHERE PnPID = ?",  # noqa: S608
                (value, pnpid),
            )
            if changed.rowcount == 1:
                return
            raise NotFoundError(
                f"Item {pnpid} has no row in {owner}; {name} was not changed.",
                code="level_missing",
                hint="Choose an item that has all its rows.",
            )
        raise NotFoundError(
            f"The class {class_name} of item {pnpid} has no column {column!r}; nothing was changed.",
            code="unknown_column",
            hint="Look at PnPProperties for the columns of the class and of its ancestors.",
        )

    def touch(self, pnpid: int) -> None:
        """What every edit leaves: a later timestamp and the next revision."""
        self.sql.execute(
            "UPDATE PnPBase SET PnPTimestamp = max(?, PnPTimestamp + 1), "
            "PnPRevision = min(PnPRevision + 1, 32766) WHERE PnPID = ?",
            (self.now, pnpid),
        )

    def tag(self, pnpid: int) -> str | None:
        self.class_of(pnpid)
        return self.column_values("Tag", skip=("PnPTagRegistry",)).get(pnpid)

    def rename(self, pnpid: int, tag: str | None) -> None:
        path = self.path_of(self.class_of(pnpid))
        self.update(pnpid, "Tag", tag)
        for root, parts in _TAG_PARTS.items():
            texts = (tag or "").split("-")
            if root in path and len(texts) == len(parts):
                for column, text in zip(parts, texts, strict=True):
                    if column:
                        self.update(pnpid, column, text)
        if set(ENLISTED) & set(path):
            self.register(pnpid, tag)
        self.touch(pnpid)
        if "PipeLineGroup" in path:
            for segment in self.related("PipeLineGroupRelationship", "PipeLineGroup", pnpid, "PipeLine"):
                self.update(segment, "Tag", tag)
                self.touch(segment)

    def register(self, pnpid: int, tag: str | None) -> None:
        """Keep the registry right: it holds every complete tag, and none with `?`."""
        for entry in self.registry_entries(pnpid):
            self.delete_rows(entry, "PnPTagRegistry")
        if not tag or "?" in tag:
            return
        for owner in self.related("AssetOwnership", "Owned", pnpid, "Owner"):
            tag = f"{tag}_{owner}"  # an owned nozzle is unique per owner
            break
        if "PnPTagRegistry" in existing_tables(self.sql):
            taken = self.sql.execute("SELECT RowId FROM PnPTagRegistry WHERE Tag = ?", (tag,)).fetchone()
            if taken is not None:
                raise NeedsPersonError(
                    f"The tag {tag} belongs to item {taken[0]}; item {pnpid} was not changed.",
                    code="tag_taken",
                    hint="Choose a free tag, or use swap_tags.",
                )
        self.add("PnPTagRegistry", {"Tag": tag, "RowId": pnpid})

    def registry_entries(self, pnpid: int) -> list[int]:
        if "PnPTagRegistry" not in existing_tables(self.sql):
            return []
        rows = self.sql.execute("SELECT PnPID FROM PnPTagRegistry WHERE RowId = ?", (pnpid,))
        return [int(i) for (i,) in rows]

    # -- add and delete -----------------------------------------------------------------------------

    def add(self, class_name: str, values: Mapping[str, Value]) -> int:
        path = [self.definition(name) for name in self.path_of(class_name)]
        known = {c.name for d in path for c in d.columns}
        for name in values:
            if name not in known:
                raise NotFoundError(
                    f"The class {class_name} has no column {name!r}; nothing was added.",
                    code="unknown_column",
                    hint="Look at PnPProperties for the columns of the class and of its ancestors.",
                )
        pnpid = self.new_id()
        row: dict[str, Value] = {**self.defaults([d.name for d in path]), **values}
        row |= {"PnPID": pnpid, "PnPClassName": class_name, "PnPStatus": 0, "PnPRevision": 0}
        row |= {"PnPGuid": uuid.uuid4().bytes_le, "PnPTimestamp": self.now}
        tables = existing_tables(self.sql)
        for depth, level in enumerate(path, start=1):
            if level.name not in tables:
                create_class_table(self.sql, path[:depth], nocase=self.nocase())
            names = ["PnPID", *(c.name for c in level.columns)]
            self.insert(level.name, {n: row.get(n) for n in names})
        return pnpid

    def insert(self, table: str, row: Mapping[str, Value]) -> None:
        listed, marks = ", ".join(quoted(n) for n in row), ", ".join("?" * len(row))
        self.sql.execute(
            f"INSERT INTO {quoted(table)} ({listed}) VALUES ({marks})",  # noqa: S608
            tuple(row.values()),
        )

    def link(self, pnpid: int, class_name: str, drawing: int) -> None:
        if self.class_of(drawing) != "PnPDrawings":
            raise NotFoundError(
                f"Item {drawing} is not a drawing; nothing was added.",
                code="drawing_not_found",
                hint="Use the PnPID of a PnPDrawings row.",
            )
        handle = 0x2A0
        if "PnPDataLinks" in existing_tables(self.sql):
            query = "SELECT coalesce(max(DwgHandleLow), 672) FROM PnPDataLinks WHERE DwgId = ?"
            handle = int(self.sql.execute(query, (drawing,)).fetchone()[0])
        self.add(
            "PnPDataLinks",
            {
                "RowId": pnpid,
                "DwgId": drawing,
                "DwgHandleLow": handle + 3,
                "DwgHandleHigh": 0,
                "DwgSubIndex": 0,
                "RowClassName": class_name,
            },
        )

    def delete(self, pnpid: int) -> None:
        dependents = [
            *self.related("AnnotationRelationship", "Annotated", pnpid, "Annotation"),
            *self.related("PipeLineGroupRelationship", "PipeLineGroup", pnpid, "PipeLine"),
            *self.related("AssetOwnership", "Owner", pnpid, "Owned"),
        ]
        for entry in self.registry_entries(pnpid):
            self.delete_rows(entry, "PnPTagRegistry")
        tables = existing_tables(self.sql)
        for name, relation in RELATIONS.items():
            if name in tables:
                for role, _ in relation.roles:
                    self._take_out(name, role, pnpid)
        if "PnPDataLinks" in tables:
            links = self.sql.execute("SELECT PnPID FROM PnPDataLinks WHERE RowId = ?", (pnpid,)).fetchall()
            for (link,) in links:
                self.delete_rows(link, "PnPDataLinks")
        self.delete_rows(pnpid, self.class_of(pnpid))
        for dependent in dependents:
            self.delete(dependent)

    def delete_rows(self, pnpid: int, class_name: str) -> None:
        tables = existing_tables(self.sql)
        for level in reversed(self.path_of(class_name)):
            if level in tables:
                self.sql.execute(f"DELETE FROM {quoted(level)} WHERE PnPID = ?", (pnpid,))  # noqa: S608

    # -- relations ----------------------------------------------------------------------------------

    def related(self, relation: str, role: str, pnpid: int, other: str) -> list[int]:
        if relation not in existing_tables(self.sql):
            return []
        rows = self.sql.execute(
            f"SELECT {quoted(other)} FROM {quoted(relation)} WHERE {quoted(role)} = ?",  # noqa: S608
            (pnpid,),
        )
        return [int(i) for (i,) in rows]

    def unrelate(self, relation: str, role: str, pnpid: int) -> None:
        if relation in existing_tables(self.sql):
            self._take_out(relation, role, pnpid)

    def _take_out(self, relation: str, role: str, pnpid: int) -> None:
        gone = self.sql.execute(
            f"SELECT PnPID FROM {quoted(relation)} WHERE {quoted(role)} = ?",  # noqa: S608
            (pnpid,),
        ).fetchall()
        for (relid,) in gone:
            self.sql.execute(f"DELETE FROM {quoted(relation)} WHERE PnPID = ?", (relid,))  # noqa: S608
            self.sql.execute("DELETE FROM PnPRowRelations WHERE RELID = ?", (relid,))

    def relate(self, name: str, first: int, second: int) -> None:
        relation = RELATIONS[name]
        if name not in existing_tables(self.sql):
            create_relation_table(self.sql, relation)
        if not self._relation_block:
            self._relation_block = self.take_block("PnPSys_RelationshipSystem_PnPID")
        relid = self._relation_block.pop(0)
        roles = [role for role, _ in relation.roles]
        row: dict[str, Value] = {
            "PnPID": relid,
            "PnPGuid": uuid.uuid4().bytes_le,
            "PnPTimestamp": self.now,
            roles[0]: first,
            roles[1]: second,
        }
        self.insert(name, row)
        for item in (first, second):
            self.sql.execute("INSERT INTO PnPRowRelations VALUES (?, ?, ?)", (item, relid, name))

    # -- ids ----------------------------------------------------------------------------------------

    def new_id(self) -> int:
        if not self._block:
            self._block = self.take_block("PnPSys_PnPBase_PnPID")
        return self._block.pop(0)

    def take_block(self, counter: str) -> list[int]:
        """The next 100 ids; the counter stands at the end of the last block given out."""
        (count,) = self.sql.execute(f"SELECT cnt FROM {counter}").fetchone()  # noqa: S608
        self.sql.execute(f"UPDATE {counter} SET cnt = cnt + 100")  # noqa: S608
        return list(range(int(count) + 1, int(count) + 101))

    def nocase(self) -> bool:
        (ddl,) = self.sql.execute("SELECT sql FROM sqlite_master WHERE name = ?", (ROOT,)).fetchone()
        return "collate nocase" in str(ddl).lower()
