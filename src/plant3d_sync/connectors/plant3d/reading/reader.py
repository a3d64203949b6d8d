"""Read items class by class from their base tables with outer joins.

The `_PNP` views are inner joins: one missing row at any level hides an item. And SQLite runs each of them
as a scan of the whole of `PnPBase`. So: one pass over `PnPBase` decides which items exist and of which
class, then one statement per class joins the tables on its path, leaf first, by PnPID.
"""

from __future__ import annotations

import itertools
import marshal
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from math import inf, isfinite
from operator import contains, itemgetter

import msgspec
import orjson

from plant3d_sync.connectors.base import ItemBatch
from plant3d_sync.connectors.plant3d.errors import undecoded
from plant3d_sync.connectors.plant3d.guid import GUID_BYTES, NIL, guid_bytes, guid_text
from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.reading.catalog import ROOT, Discovery
from plant3d_sync.connectors.plant3d.reading.cellcheck import Oddity, check_cell, decode_or_keep, holds_text
from plant3d_sync.connectors.plant3d.reading.copy import insert_all
from plant3d_sync.connectors.plant3d.reading.lines import Group, Line, Lines, find_lines
from plant3d_sync.connectors.plant3d.reading.relations import (
    GROUP_RELATION,
    NO_DRAWING,
    Drawing,
    Ids,
    Relations,
    several_drawings,
)
from plant3d_sync.connectors.plant3d.reading.segments import SegmentValues, segment_values
from plant3d_sync.model.catalog import Column
from plant3d_sync.model.reading import Reading
from plant3d_sync.model.record import Finding, PlantItem, Value
from plant3d_sync.words import said

BATCH = 100
_FIXED = 4
"""Columns before the levels: PnPID, PnPGuid, PnPTimestamp, PnPRevision."""
_DIGEST_BYTES = 16
_TOGETHER = 100
"""Rows that are checked for oddities in one look."""
_SHARED = 2
"""Items from which on a PnPGuid is shared."""
_NAMED, _LISTED = 10, 1000
"""PnPIDs named in a finding's sentence, and listed in its data."""
_MARSHAL_FORMAT = 2
"""The last format without back references: equal values give equal bytes in every process."""

Row = tuple[object, ...]
_Common = tuple[
    str | None,  # drawing number
    str | None,  # drawing title
    int | None,  # drawing id
    Ids,  # segments
    tuple[str, ...],  # lines
    Ids,  # line groups
    str | None,  # from
    str | None,  # to
    str | None,  # owner
    int | None,  # owner id
    str | None,  # segment tag
    str | None,  # registry tag
]
_OfSegments = dict[str, tuple[Value, ...]]
"""Column -> what each segment of a line holds."""
Extras = _Common | tuple[_Common, _OfSegments]
"""What belongs to an item; to a line also what its segments hold, if the mapping asks for that.

Fast because it is a plain tuple, made for every row and digested as it is; a struct was measured to cost 0.4 µs more a row.
"""
Prepared = tuple[Row, Row, Extras, bytes, bytes]
"""Row, its values, what belongs to it, both as JSON, and the digest (empty: the row has to be read cell by cell)."""
Note = Callable[[Finding], None]
ExtrasOf = Callable[[int], Extras]

_MOJIBAKE = re.compile(rb"\xc3[\x82-\xb4][\xc2\xc5\xc6\xcb\xe2]")
_ODD_BLANK = re.compile(rb"\xc2[\x80-\xa0]")
"""UTF-8 of text that may have been decoded wrongly before, and of odd blanks: two searches, each from a fixed byte."""
_INFINITE = frozenset((inf, -inf))
_ESCAPED = re.compile(rb'\\[^"]')
"""A control character or backslash in JSON text; a quote is harmless."""

_PLAIN_TYPES: dict[str, frozenset[type]] = {
    "System.String": frozenset({str, type(None)}),
    "System.DateTime": frozenset({str, type(None)}),
    "System.Double": frozenset({float, int, type(None)}),
    "System.Int16": frozenset({int, type(None)}),
    "System.Int32": frozenset({int, type(None)}),
    "System.Int64": frozenset({int, type(None)}),
    "System.Boolean": frozenset({int, type(None)}),
}
_NO_TYPE: frozenset[type] = frozenset({type(None)})


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One table on the path of a class, and the columns read from it."""

    class_name: str
    table: str
    columns: tuple[Column, ...]


class ClassPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How items of one concrete class are read. `columns` are sorted by name, as selected."""

    class_name: str
    number: int
    levels: tuple[Level, ...]
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    unknown: frozenset[str]
    statement: str
    prefix: bytes
    loop: int | None
    reals: tuple[int, ...]
    limit: int
    """The shortest length any text column allows, 0 without text columns."""
    plain: dict[tuple[type, ...], bool]
    """Python types of a row -> whether all are what the columns declare. Filled while reading."""

    @property
    def first(self) -> int:
        """Index of the first value in a row."""
        return _FIXED + len(self.levels)


def plan_class(discovery: Discovery, class_name: str, number: int, note: Note, item_table: str) -> ClassPlan:
    """Decide the tables and columns of one class. Levels and columns that do not exist become unknown."""
    catalog = discovery.catalog
    effective = catalog.columns.get(class_name, {})
    levels: list[Level] = []
    unknown: set[str] = set()
    for name in catalog.chain(class_name):
        declared = [c for c in effective.values() if c.table_class == name]
        if name.lower() == ROOT.lower() and not declared:
            continue
        level, lost = _plan_level(discovery, class_name, name, declared, note)
        unknown.update(lost)
        if level is not None:
            levels.append(level)
    found = [(column, index) for index, level in enumerate(levels) for column in level.columns]
    found.sort(key=lambda pair: (pair[0].name.lower(), pair[0].name))
    columns = tuple(column for column, _ in found)
    names = tuple(column.name for column in columns)
    lengths = [c.length for c in columns if c.type == "System.String" and c.length]
    return ClassPlan(
        class_name=class_name,
        number=number,
        levels=tuple(levels),
        columns=columns,
        names=names,
        unknown=frozenset(unknown),
        statement=_statement(discovery, levels, found, item_table),
        prefix=_prefix([class_name, names, [level.class_name for level in levels], sorted(unknown)]),
        loop=next((i for i, name in enumerate(names) if name.lower() == "loopnumber"), None),
        reals=tuple(i for i, column in enumerate(columns) if column.type == "System.Double"),
        limit=min(lengths, default=0),
        plain={},
    )


def _plan_level(
    discovery: Discovery, class_name: str, level: str, declared: Sequence[Column], note: Note
) -> tuple[Level | None, list[str]]:
    cls = discovery.catalog.classes[level]
    if not cls.has_table or discovery.table_column(cls.physical, "PnPID") is None:
        note(
            Finding(
                code="class_without_table",
                message=f"There are items of class {class_name}, but the class {level} has no table. "
                f"Its {len(declared)} columns are unknown for them.",
                class_name=class_name,
                hint="Run the project audit in Plant 3D.",
                data={"level": level},
            )
        )
        return None, [c.name for c in declared]
    present: list[Column] = []
    lost: list[str] = []
    physical = discovery.catalog.physical_columns.get(level, frozenset())
    for column in declared:
        if column.name.lower() in physical or column.name in physical:
            present.append(column)
            continue
        lost.append(column.name)
        note(
            Finding(
                code="column_missing",
                message=f"The catalogue names the column {level}.{column.name}, but the table does not have it. "
                "Its values are unknown.",
                class_name=level,
                column=column.name,
                hint="Run the project audit in Plant 3D, or finish the interrupted migration.",
            )
        )
    return Level(class_name=level, table=cls.physical, columns=tuple(present)), lost


def _statement(
    discovery: Discovery, levels: Sequence[Level], found: Sequence[tuple[Column, int]], item_table: str
) -> str:
    keys = [discovery.table_column(level.table, "PnPID") for level in levels]
    selected = [f"t{i}.{key}" for i, key in enumerate(keys)]
    selected += [f"t{index}.{quoted(column.name)}" for column, index in found]
    joins = "".join(
        f" LEFT JOIN {quoted(level.table)} AS t{i} ON t{i}.{keys[i]} = i.pnpid"
        for i, level in enumerate(levels)
    )
    columns = "".join(f", {part}" for part in selected)
    return (
        f"SELECT i.pnpid, i.guid, i.stamp, i.revision{columns} FROM temp.{item_table} AS i{joins} "
        "WHERE i.class = ? AND i.pnpid > ? ORDER BY i.pnpid"
    )


class Scan:
    """One pass over the items of some classes. Holds only ids and derived names of all items, no values."""

    _numbers = itertools.count(1)

    def __init__(
        self,
        connection: sqlite3.Connection,
        tolerant: sqlite3.Connection,
        discovery: Discovery,
        relations: Relations,
        drawings: Mapping[int, Drawing],
        note: Note,
        reading: Reading,
        stored_classes: Collection[str | None],
    ) -> None:
        self.connection = connection
        self.tolerant = tolerant
        self.discovery = discovery
        self.relations = relations
        self.drawings = drawings
        self.note = note
        self.reading = reading
        self._stored_classes = stored_classes
        self.table = f"item{next(self._numbers)}"
        self.drawing_of: dict[int, Drawing] = {}
        self.missing_levels: set[str] = set()
        self.sharing: dict[int, tuple[int, ...]] = {}
        """PnPID -> all items with its PnPGuid, for those whose PnPGuid is not theirs alone."""
        self.folded: dict[str, int] = {}
        """Class -> rows that are no item of their own, because their line is another one's item."""
        self._lines = Lines()
        self._segment_values: SegmentValues = {}
        self._held_back: dict[int, tuple[ClassPlan, Row]] = {}
        """Rows of lines that need more than their own row."""
        self._previous: int | None = None

    def run(self, classes: Mapping[str, Sequence[str]], known: Mapping[int, bytes]) -> Iterator[ItemBatch]:
        """Read the classes in this order. `classes`: class -> its spellings in `PnPBase`."""
        self._select_items(classes)
        try:
            self._load_drawings()
            self._find_shared_guids()
            plans = {
                name: plan_class(self.discovery, name, number, self.note, self.table)
                for number, name in enumerate(classes)
                if classes[name]
            }
            self._find_lines(plans)
            extras_of = self._extras_reader()
            batch = ItemBatch(unchanged=[], changed=[])
            for name, plan in plans.items():
                self._previous = None
                of_lines = name in self.reading.lines
                for rows in self._rows(plan):
                    if of_lines:
                        rows = self._hold_back(plan, rows)
                    self._take(plan, rows, known, batch, extras_of)
                    if len(batch.unchanged) + len(batch.changed) >= BATCH:
                        yield self._with_sharing(batch)
                        batch = ItemBatch(unchanged=[], changed=[])
            if batch.unchanged or batch.changed:
                yield self._with_sharing(batch)
            yield from self._special_lines(plans, known)
        finally:
            with suppress(
                sqlite3.OperationalError
            ):  # it stays in use when an error ends the reading: that one is reported
                self.connection.execute(f"DROP TABLE IF EXISTS temp.{self.table}")
                self.connection.execute(
                    "PRAGMA shrink_memory"
                )  # the pages that were read are not read again soon

    def _with_sharing(self, batch: ItemBatch) -> ItemBatch:
        if self.sharing:
            for item in batch.changed:
                item.sharing = self.sharing.get(item.pnpid, ())
        return batch

    # ------------------------------------------------------------ lines by number

    def _find_lines(self, plans: Mapping[str, ClassPlan]) -> None:
        """Sort the line groups by their numbers, before anything else is read of them."""
        rules = self.reading.lines
        if self.reading.segment_columns:
            self._segment_values = segment_values(
                self.connection,
                self.tolerant,
                self.discovery,
                self.reading.segment_columns,
                self.relations,
                self._stored_classes,
            )
        self.relations.numbers.clear()
        self.relations.segment_numbers.clear()
        classes = [name for name in plans if name in rules]
        if not classes:
            return
        groups = [group for name in classes for group in self._groups(plans[name])]
        from_segments = all(rules[name].from_segments for name in rules)
        self._lines = find_lines(
            groups,
            self.relations,
            self.reading.known_lines,
            self._guid_of,
            from_segments=from_segments,
            class_name=classes[0],
        )
        for finding in self._lines.findings:
            self.note(finding)
        for name in self._lines.hidden.values():
            self.folded[name] = self.folded.get(name, 0) + 1

    def _groups(self, plan: ClassPlan) -> Iterator[Group]:
        """The number of every group of a class, read off the few columns it may stand in."""
        rule = self.reading.lines[plan.class_name]
        wanted = {name.lower() for name in rule.columns}
        levels = [
            level for level in plan.levels if any(column.name.lower() in wanted for column in level.columns)
        ]
        found = [
            (column, index)
            for index, level in enumerate(levels)
            for column in level.columns
            if column.name.lower() in wanted
        ]
        cells = [(column, column.name, _FIXED + index, holds_text(column)) for column, index in found]
        registry_of, segment_tag = self.relations.registry.get, self.relations.segment_tag
        compared = bool(self.reading.known_lines)
        light = PlantItem(
            pnpid=0, guid="", class_name=plan.class_name, timestamp=0, revision=0, values={}, unknown=_NOTHING
        )
        previous = None
        first = _FIXED + len(levels)
        for row in self._all_rows(_statement(self.discovery, levels, found, self.table), plan.number):
            pnpid: int = row[0]  # type: ignore[assignment]  # typeof = integer in the selection
            if pnpid == previous:
                continue
            previous = light.pnpid = pnpid
            values: dict[str, Value] = {}
            unknown: list[str] = []
            for (column, name, level_key, of_text), raw in zip(cells, row[first:], strict=True):
                if row[level_key] is None:
                    unknown.append(name)
                elif raw is None or (of_text and type(raw) is str and "\x00" not in raw):
                    values[name] = raw
                elif (checked := check_cell(column, raw)).known:
                    values[name] = checked.value
                else:
                    unknown.append(name)
            light.values, light.unknown = values, frozenset(unknown) if unknown else _NOTHING
            light.segment_tag = of_segments = segment_tag(pnpid)
            light.registry_tag = registry_of(pnpid)
            yield Group(
                pnpid=pnpid,
                class_name=plan.class_name,
                guid=guid_text(row[1]) if compared else "",
                number=rule.number(light),
                segment_tag=of_segments,
            )

    def _all_rows(self, statement: str, number: int) -> list[Row]:
        """Every row of a class at once; those with a text that is not UTF-8 make it the tolerant way."""
        cursor = self.connection.cursor()
        try:
            return cursor.execute(statement, (number, _BEFORE_ALL)).fetchall()
        except sqlite3.OperationalError as error:
            if not undecoded(error):
                raise
        self.connection.text_factory = decode_or_keep
        try:
            return cursor.execute(statement, (number, _BEFORE_ALL)).fetchall()
        finally:
            self.connection.text_factory = str

    def _guid_of(self, pnpid: int) -> str:
        return guid_text(self._base_row(pnpid)[0])

    def _base_row(self, pnpid: int) -> tuple[object, object, object]:
        """GUID, stamp and revision of any row of `PnPBase`."""
        key, guid, stamp, revision = (
            self.discovery.table_column(ROOT, column) or "NULL"
            for column in ("PnPID", "PnPGuid", "PnPTimestamp", "PnPRevision")
        )
        found: tuple[object, object, object] | None = self.connection.execute(
            f"SELECT {_as_guid(guid)}, {stamp}, {revision} FROM {self.discovery.table(ROOT)} WHERE {key} = ?",
            (pnpid,),
        ).fetchone()
        return found or (None, None, None)

    def _hold_back(self, plan: ClassPlan, rows: list[Row]) -> list[Row]:
        """The rows that are items as they stand; those of other lines wait until all were seen."""
        special, hidden = self._lines.special, self._lines.hidden
        if not special:
            return rows
        plain: list[Row] = []
        for row in rows:
            if row[0] in special or row[0] in hidden:
                self._held_back.setdefault(row[0], (plan, row))
            else:
                plain.append(row)
        return plain

    def _special_lines(
        self, plans: Mapping[str, ClassPlan], known: Mapping[int, bytes]
    ) -> Iterator[ItemBatch]:
        batch = ItemBatch(unchanged=[], changed=[])
        for pnpid in sorted(self._lines.special):
            line = self._lines.special[pnpid]
            item = self._item_of_line(line, plans[line.class_name])
            if line.follows is None and known.get(pnpid) == item.digest:
                batch.unchanged.append(pnpid)
            else:
                batch.changed.append(item)
            if len(batch.unchanged) + len(batch.changed) >= BATCH:
                yield self._with_sharing(batch)
                batch = ItemBatch(unchanged=[], changed=[])
        if batch.unchanged or batch.changed:
            yield self._with_sharing(batch)

    def _item_of_line(self, line: Line, plan: ClassPlan) -> PlantItem:
        """The row that stands for the line, with what its other groups and all its segments have.

        Of the other groups a column is taken that the row itself leaves empty and nobody writes.
        """
        extras = self._extras_of_line(
            line.carrier, tuple(line.segments), self.relations.registry.get(line.carrier), line.groups
        )
        held = self._held_back.get(line.carrier)
        parts: list[bytes] = []
        if held is None:
            item = self._item_of_segment(line, plan, extras)
        else:
            item = self._careful(held[0], held[1], extras)
        pushed = self.reading.lines[line.class_name].pushed
        for other in line.groups:
            if other == line.carrier or other not in self._held_back:
                continue
            more = self._careful(*self._held_back[other], extras)
            parts.append(more.digest)
            for name, value in more.values.items():
                if name.lower() in pushed or name.lower() == "tag" or not _is_empty(item.values.get(name)):
                    continue
                if name not in item.unknown and not _is_empty(value):
                    item.values[name] = value
        item.number = line.number
        item.groups = tuple(line.groups)
        item.follows = line.follows
        if line.identity:
            item.row_guid, item.guid = item.guid, line.identity
        facts = orjson.dumps((line.number, line.identity, line.groups, line.mixed))
        item.digest = blake2b(b"".join((item.digest, *parts, facts)), digest_size=_DIGEST_BYTES).digest()
        return item

    def _item_of_segment(self, line: Line, plan: ClassPlan, extras: Extras) -> PlantItem:
        """A line that stands on segments only: it has nothing of a group, and no cell that could be written."""
        pushed = self.reading.lines[line.class_name].pushed
        values: dict[str, Value] = {name: None for name in plan.names if name.lower() not in pushed}
        row = (line.carrier, *self._base_row(line.carrier))
        content = marshal.dumps((guid_text(row[1]), extras), _MARSHAL_FORMAT)
        digest = blake2b(plan.prefix + b"\x01" + content, digest_size=_DIGEST_BYTES).digest()
        unknown = frozenset(plan.names).difference(values) | plan.unknown
        return _item(plan, row, values, unknown, extras, digest)

    # ------------------------------------------------------------ which items

    def _select_items(self, classes: Mapping[str, Sequence[str]]) -> None:
        """Copy id, guid, stamp and revision of the wanted items out of `PnPBase`, in one pass."""
        run, base = self.connection.execute, self.discovery.table(ROOT)
        run(
            f"CREATE TEMP TABLE {self.table} (class INTEGER NOT NULL, pnpid INTEGER NOT NULL, guid, stamp, revision, "
            "PRIMARY KEY (class, pnpid)) WITHOUT ROWID"
        )
        run("CREATE TEMP TABLE IF NOT EXISTS cls (spelling TEXT COLLATE NOCASE PRIMARY KEY, number INTEGER)")
        run("DELETE FROM temp.cls")
        self.connection.create_function("plant_guid", 1, _guid_in_text, deterministic=True)
        spellings = [(s, number) for number, name in enumerate(classes) for s in classes[name]]
        insert_all(self.connection, "INSERT OR IGNORE INTO temp.cls VALUES (?, ?)", spellings)
        key, name, guid, stamp, revision = (
            self.discovery.table_column(ROOT, column) or "NULL"
            for column in ("PnPID", "PnPClassName", "PnPGuid", "PnPTimestamp", "PnPRevision")
        )
        run(
            f"INSERT OR IGNORE INTO temp.{self.table} "
            f"SELECT c.number, b.{key}, {_as_guid(_of('b', guid))}, {_of('b', stamp)}, {_of('b', revision)} "
            f"FROM {base} AS b JOIN temp.cls AS c ON c.spelling = b.{name} WHERE typeof(b.{key}) = 'integer'"
        )

    def _load_drawings(self) -> None:
        """Drawing of each item; items of lines are drawn through their segments."""
        table = self.discovery.table("PnPDataLinks")
        row = self.discovery.table_column("PnPDataLinks", "RowId")
        dwg = self.discovery.table_column("PnPDataLinks", "DwgId")
        if table is None or row is None or dwg is None:
            return
        run = self.connection.execute
        run("CREATE TEMP TABLE IF NOT EXISTS drawn (pnpid INTEGER PRIMARY KEY)")
        run("DELETE FROM temp.drawn")
        run(f"INSERT OR IGNORE INTO temp.drawn SELECT pnpid FROM temp.{self.table}")
        lines, segment = (
            self.discovery.table(GROUP_RELATION[0]),
            self.discovery.table_column(GROUP_RELATION[0], GROUP_RELATION[2]),
        )
        if lines is not None and segment is not None:
            run(
                f"INSERT OR IGNORE INTO temp.drawn SELECT {segment} FROM {lines} WHERE typeof({segment}) = 'integer'"
            )
        if self.reading.lines and self.relations.loose:
            insert_all(
                self.connection,
                "INSERT OR IGNORE INTO temp.drawn VALUES (?)",
                zip(self.relations.loose, strict=True),
            )
        found, drawings = self.drawing_of, self.drawings
        several: dict[int, list[Drawing]] = {}
        for item, drawing_id in run(
            f"SELECT l.{row}, l.{dwg} FROM {table} AS l CROSS JOIN temp.drawn AS d ON d.pnpid = l.{row}"
        ):
            drawing = drawings.get(drawing_id)
            if drawing is None:
                continue
            if found.setdefault(item, drawing) is not drawing:
                several.setdefault(item, [found[item]]).append(drawing)
        for item, all_of_them in several.items():
            found[item] = several_drawings(all_of_them)
        run("DELETE FROM temp.drawn")

    def _find_shared_guids(self) -> None:
        """Items whose PnPGuid is on other items too. Holds those alone, however many items there are."""
        rows = self.connection.execute(
            f"SELECT guid, pnpid FROM temp.{self.table} WHERE guid IN (SELECT guid FROM temp.{self.table} "
            "WHERE guid IS NOT NULL GROUP BY guid HAVING count(*) > 1) ORDER BY 1, 2"
        )
        for guid, group in itertools.groupby(rows, key=itemgetter(0)):
            shared = tuple(pnpid for _guid, pnpid in group)  # one PnPID twice: two rows of PnPBase have it
            text = guid_text(guid)
            if not text or len(shared) < _SHARED:
                continue  # no GUID at all, which each of them is reported for itself
            self.sharing.update(dict.fromkeys(shared, shared))
            self._note_shared_guid(text, shared)

    def _note_shared_guid(self, guid: str, shared: tuple[int, ...]) -> None:
        shown = ", ".join(map(str, shared[:_NAMED]))
        more = f" and {len(shared) - _NAMED} more" if len(shared) > _NAMED else ""
        self.note(
            Finding(
                code="duplicate_guid",
                message=f"{len(shared)} items share the PnPGuid {guid}: PnPID {shown}{more}.",
                pnpid=shared[0],
                hint="Delete the copy in Plant 3D and draw it anew, which gives it a PnPGuid of its own.",
                data={"pnpids": list(shared[:_LISTED]), "count": len(shared), "guid": guid},
            )
        )

    # ------------------------------------------------------------ rows

    def _rows(self, plan: ClassPlan) -> Iterator[list[Row]]:
        """Rows of one class in pieces. From the first text that is not UTF-8 on, the tolerant way."""
        last = _BEFORE_ALL
        try:
            cursor = self.connection.execute(plan.statement, (plan.number, last))
            while rows := cursor.fetchmany(BATCH):
                yield rows
                last = rows[-1][0]
            return
        except sqlite3.OperationalError as error:
            if not undecoded(error):
                raise
        yield from self._tolerant_rows(plan, last)

    def _tolerant_rows(self, plan: ClassPlan, last: int) -> Iterator[list[Row]]:
        cursor = self.connection.cursor()
        while True:
            self.connection.text_factory = decode_or_keep
            try:
                rows = cursor.execute(f"{plan.statement} LIMIT {BATCH}", (plan.number, last)).fetchall()
            finally:
                self.connection.text_factory = str
            if not rows:
                return
            last = rows[-1][0]
            yield rows

    def _take(
        self,
        plan: ClassPlan,
        rows: list[Row],
        known: Mapping[int, bytes],
        batch: ItemBatch,
        extras_of: ExtrasOf,
    ) -> None:
        """Digest each row; build items only where the digest is not the known one.

        A row that can be serialised is digested so. Only where that digest is new, its cells are looked at: a row of
        plain, unsuspicious cells becomes an item with this digest, any other is read cell by cell, and
        gets a digest of another kind. So equal content gives equal digests, and a row that needs care never
        silently passes as unchanged.
        """
        names, unknown = plan.names, plan.unknown
        fresh = self._not_known(plan, rows, known, batch.unchanged, extras_of)
        for start in range(0, len(fresh), _TOGETHER):
            piece = fresh[start : start + _TOGETHER]
            look = _suspicious_together(plan, piece)
            for row, body, extras, text, digest in piece:
                if digest and _is_plain(plan, row, body) and not (look and _suspicious(plan, text, body)):
                    values: dict[str, Value] = dict(zip(names, body, strict=True))  # type: ignore[arg-type]
                    batch.changed.append(_item(plan, row, values, unknown, extras, digest))
                    continue
                item = self._careful(plan, row, extras)
                if known.get(item.pnpid) == item.digest:
                    batch.unchanged.append(item.pnpid)
                else:
                    batch.changed.append(item)

    def _not_known(
        self,
        plan: ClassPlan,
        rows: list[Row],
        known: Mapping[int, bytes],
        unchanged: list[int],
        extras_of: ExtrasOf,
    ) -> list[Prepared]:
        """Rows whose digest is not the known one; the ids of the others go to `unchanged`.

        Infinity looks like nothing once serialised, so rows next to one are never taken for known here.
        """
        first, prefix, previous = plan.first, plan.prefix, self._previous
        dumps, known_digest = orjson.dumps, known.get
        comparable = bool(known) and not _any_infinite(plan, rows)
        fresh: list[Prepared] = []
        for row in rows:
            pnpid: int = row[0]  # type: ignore[assignment]  # typeof = integer in the selection
            if pnpid == previous:
                self._note_double_row(plan, pnpid)
                continue
            previous = pnpid
            body = row[first:]
            extras = extras_of(pnpid)
            text = digest = b""
            if None not in row[_FIXED:first]:  # no level without a row
                try:
                    text = dumps((body, extras))
                    digest = blake2b(prefix + row[1] + text, digest_size=_DIGEST_BYTES).digest()  # type: ignore[operator]
                except TypeError:  # bytes where text should be, no identity
                    text = digest = b""
                if comparable and known_digest(pnpid) == digest:
                    unchanged.append(pnpid)
                    continue
            fresh.append((row, body, extras, text, digest))
        self._previous = previous
        return fresh

    def _careful(self, plan: ClassPlan, row: Row, extras: Extras) -> PlantItem:
        """One item whose row has something odd: every oddity becomes a finding, no cell stops the item."""
        pnpid: int = row[0]  # type: ignore[assignment]
        lost = {i for i, key in enumerate(row[_FIXED : plan.first]) if key is None}
        unknown = set(plan.unknown)
        values: dict[str, Value] = {}
        odd: list[tuple[Column, Oddity]] = []
        body = dict(zip(plan.names, row[plan.first :], strict=True))
        for index, level in enumerate(plan.levels):
            for column in level.columns:
                if index in lost:
                    unknown.add(column.name)
                    continue
                checked = check_cell(column, body[column.name])
                odd.extend((column, oddity) for oddity in checked.oddities)
                if checked.known:
                    values[column.name] = checked.value
                else:
                    unknown.add(column.name)
        tag = next((str(v) for name, v in values.items() if name.lower() == "tag" and v), None)
        if lost:
            self._note_lost_levels(plan, pnpid, sorted(lost), tag)
        for column, oddity in odd:
            self._note_oddity(plan, pnpid, column, oddity, tag)
        guid = guid_text(row[1])
        if not guid:
            self._note_bad_guid(plan, pnpid, tag)
        ordered = tuple((name, values[name]) for name in plan.names if name in values)
        content = marshal.dumps((guid, ordered, tuple(sorted(unknown)), extras), _MARSHAL_FORMAT)
        digest = blake2b(plan.prefix + b"\x00" + content, digest_size=_DIGEST_BYTES).digest()
        return _item(plan, row, values, frozenset(unknown), extras, digest)

    # ------------------------------------------------------------ what belongs to an item

    def _extras_reader(self) -> ExtrasOf:
        """What tells an item's extras, with every look-up at hand: this runs once per item."""
        relations = self.relations
        registry_of, drawing_of, owner_of = (
            self.relations.registry.get,
            self.drawing_of.get,
            relations.owner_of.get,
        )
        segments_in, segments_of, groups_of = (
            relations.segments_in.get,
            relations.segments_of.get,
            relations.groups_of,
        )
        tag_of, lines_of, of_line = relations.tags.get, relations.lines_of, self._extras_of_line
        known_lines, no_lines = relations.infos.get, ((), ())
        dangling = relations.dangling

        def extras(pnpid: int) -> Extras:
            in_group = segments_in(pnpid)
            if in_group is not None and dangling:
                in_group = tuple(one for one in in_group if one not in dangling)
            if in_group is not None:
                return of_line(pnpid, in_group, registry_of(pnpid))
            number, title, drawing = drawing_of(pnpid, NO_DRAWING)
            owner = owner_of(pnpid)
            owner_tag = None if owner is None else tag_of(owner)
            start = end = None
            if pnpid in groups_of:
                segments: Ids = ()
                lines, groups = lines_of((pnpid,))
                start, end = relations.ends_of((pnpid,))
            else:
                segments = segments_of(pnpid, ())
                lines, groups = (known_lines(segments) or lines_of(segments)) if segments else no_lines
            registry = registry_of(pnpid)
            return (
                number,
                title,
                drawing,
                segments,
                lines,
                groups,
                start,
                end,
                owner_tag,
                owner,
                None,
                registry,
            )

        return extras

    def _extras_of_line(
        self, pnpid: int, segments: Ids, registry: str | None, groups: Sequence[int] = ()
    ) -> Extras:
        relations = self.relations
        drawings = {self.drawing_of.get(segment, NO_DRAWING) for segment in segments}
        for own in filter(None, map(self.drawing_of.get, (pnpid, *groups))):
            drawings.add(own)
        number, title, drawing = drawings.pop() if len(drawings) == 1 else several_drawings(drawings)
        start, end = relations.ends_of(segments)
        tag = relations.segment_tag(pnpid)
        common = (number, title, drawing, segments, (), (), start, end, None, None, tag, registry)
        if not self._segment_values:
            return common
        values: _OfSegments = {}
        for name, found in self._segment_values.items():
            try:
                values[name] = tuple([found[one] for one in segments])
            except KeyError:  # a segment whose row is missing: the column is left out
                continue
        return common, values

    # ------------------------------------------------------------ findings

    def _note_lost_levels(self, plan: ClassPlan, pnpid: int, lost: Sequence[int], tag: str | None) -> None:
        names = [plan.levels[i].class_name for i in lost]
        self.missing_levels.update(name.lower() for name in names)
        code, tells = "row_missing", ""
        holds_tag = any(c.name.lower() == "tag" for i in lost for c in plan.levels[i].columns)
        registered = self.relations.registry.get(pnpid) if plan.class_name in self.reading.registry else None
        if holds_tag and registered is not None and self.reading.tags.usable(registered):
            code, tag = "tag_from_registry", registered
            tells = f" Its tag {said(tag)} is taken from Plant 3D's tag registry."
        self.note(
            Finding(
                code=code,
                message=f"{plan.class_name} {pnpid} has no row in {', '.join(names)}.{tells} "
                "The columns of that level are unknown, not empty; they are left as they are in SYNAPSE.",
                pnpid=pnpid,
                class_name=plan.class_name,
                tag=tag,
                hint="Run the project audit in Plant 3D, or redraw the item.",
                data={"levels": names},
            )
        )

    def _note_oddity(
        self, plan: ClassPlan, pnpid: int, column: Column, oddity: Oddity, tag: str | None
    ) -> None:
        self.note(
            Finding(
                code=oddity.code,
                message=f"{plan.class_name} {pnpid}: the value of {column.name} {oddity.what}.",
                pnpid=pnpid,
                class_name=plan.class_name,
                column=column.name,
                tag=tag,
                hint=oddity.hint,
            )
        )

    def _note_bad_guid(self, plan: ClassPlan, pnpid: int, tag: str | None) -> None:
        self.note(
            Finding(
                code="bad_guid",
                message=f"{plan.class_name} {pnpid} has no valid PnPGuid, so it has no identity for SYNAPSE.",
                pnpid=pnpid,
                class_name=plan.class_name,
                tag=tag,
                hint="Run the project audit in Plant 3D, or redraw the item.",
            )
        )

    def _note_double_row(self, plan: ClassPlan, pnpid: int) -> None:
        self.note(
            Finding(
                code="duplicate_row",
                message=f"{plan.class_name} {pnpid} has several rows in one of its tables. The first one is used.",
                pnpid=pnpid,
                class_name=plan.class_name,
                hint="Run the project audit in Plant 3D.",
            )
        )


_BEFORE_ALL = -(2**63)
_NOTHING: frozenset[str] = frozenset()


def _is_empty(value: Value) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _prefix(facts: list[object]) -> bytes:
    """A short stand-in for what all rows of a class have in common: it goes into the digest of each."""
    return blake2b(orjson.dumps(facts), digest_size=_DIGEST_BYTES).digest()


def _as_guid(column: str) -> str:
    """SQL of a GUID in the one form it is compared in; NULL if it is none. Plant 3D's own form costs no call."""
    return (
        f"CASE WHEN typeof({column}) = 'blob' AND length({column}) = {GUID_BYTES} AND {column} <> x'{NIL.hex()}' "
        f"THEN {column} WHEN typeof({column}) = 'text' THEN plant_guid(CAST({column} AS BLOB)) END"
    )


def _guid_in_text(raw: bytes) -> bytes | None:
    return guid_bytes(raw.decode("utf-8", "replace"))


def _of(alias: str, column: str) -> str:
    return column if column == "NULL" else f"{alias}.{column}"


def _all_plain(columns: Sequence[Column], types: tuple[type, ...]) -> bool:
    return all(map(contains, [_PLAIN_TYPES.get(column.type, _NO_TYPE) for column in columns], types))


def _is_plain(plan: ClassPlan, row: Row, body: Row) -> bool:
    """Whether the identity is one and every cell has the Python type its column declares."""
    if type(row[1]) is not bytes or len(row[1]) != GUID_BYTES:
        return False
    types = tuple(map(type, body))
    plain = plan.plain.get(types)
    if plain is None:
        plain = plan.plain[types] = _all_plain(plan.columns, types)
    return plain


def _any_infinite(plan: ClassPlan, rows: Sequence[Row]) -> bool:
    """Whether a real column of these rows holds an infinity."""
    return any(not _INFINITE.isdisjoint([row[plan.first + index] for row in rows]) for index in plan.reals)


def _suspicious_together(plan: ClassPlan, prepared: Sequence[Prepared]) -> bool:
    """Whether any of these rows may be suspicious: one look at all of them is cheaper than many.

    Never False when `_suspicious` is True for one of them.
    """
    text = b"\n".join([each[3] for each in prepared])
    if b"\\" in text or b'" ' in text or b' "' in text:
        return True
    if not text.isascii() and _odd_text(text):
        return True
    return _any_infinite(plan, [each[0] for each in prepared]) or _long_run(text, plan.limit)


def _odd_text(text: bytes) -> bool:
    return _ODD_BLANK.search(text) is not None or _MOJIBAKE.search(text) is not None


def _long_run(text: bytes, limit: int) -> bool:
    """Whether more than `limit` bytes stand between two quotes; never with the limit 0. Hops from quote to quote."""
    if not limit:
        return False
    place, last = 0, len(text) - limit
    while place < last:
        place = text.rfind(b'"', place, place + limit + 1) + 1
        if not place:
            return True
    return False


def _suspicious(plan: ClassPlan, text: bytes, body: Row) -> bool:
    """Whether a serialised row has anything that has to be read cell by cell. May err on the safe side."""
    if b'," ' in text or b' ",' in text or b'[" ' in text or b' "]' in text:  # an outer blank
        return True
    quotes = b"\\" in text
    if quotes and _ESCAPED.search(text):
        return True
    if not text.isascii() and _odd_text(text):
        return True
    for index in plan.reals:
        value = body[index]
        if value is not None and not isfinite(value):  # type: ignore[arg-type]
            return True
    return _long_run(text, plan.limit) or (quotes and bool(plan.limit) and _has_long(plan, body))


def _has_long(plan: ClassPlan, body: Row) -> bool:
    """Text with quotes in it falls into pieces in JSON, so it is measured here."""
    pairs = zip(plan.columns, body, strict=True)
    return any(isinstance(value, str) and 0 < column.length < len(value) for column, value in pairs)


def _item(
    plan: ClassPlan,
    row: Row,
    values: dict[str, Value],
    unknown: frozenset[str],
    extras: Extras,
    digest: bytes,
) -> PlantItem:
    common, of_segments = extras if len(extras) == 2 else (extras, None)
    (
        number,
        title,
        drawing,
        segments,
        lines,
        groups,
        start,
        end,
        owner,
        owner_id,
        segment_tag,
        registry,
    ) = common
    loop = values.get(plan.names[plan.loop]) if plan.loop is not None else None
    return PlantItem(
        pnpid=row[0],  # type: ignore[arg-type]
        guid=guid_text(row[1]),
        class_name=plan.class_name,
        timestamp=row[2] if isinstance(row[2], int) else 0,
        revision=row[3] if isinstance(row[3], int) else 0,
        values=values,
        unknown=unknown,
        drawing=number,
        drawing_title=title,
        drawing_id=drawing,
        segments=segments,
        lines=lines,
        line_groups=groups,
        from_tag=start,
        to_tag=end,
        owner=owner,
        owner_id=owner_id,
        loop=str(loop) if loop is not None and str(loop).strip() else None,
        segment_tag=segment_tag,
        registry_tag=registry,
        segment_values=of_segments,
        digest=digest,
    )
