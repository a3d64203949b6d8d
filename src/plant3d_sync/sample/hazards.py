"""Plants the bad inputs that real project databases hold, by SQL from outside, as they came about.

Plant 3D keeps its tables consistent; other people's SQL does not. None of these edits raises a
`PnPTimestamp`. Each plant uses an item of its own, so hazards never mix on one item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from plant3d_sync.sample.plant import Line, Plant, PlantItem
from plant3d_sync.sample.schema import ENTITY_ROOTS, existing_tables, quoted
from plant3d_sync.sample.writer import Writer

_TAGGED = ("instruments", "valves", "equipment")
_BAD_UTF8 = b"R\xe9servoir tamis\xff"
_TAG_TABLES = tuple(ENTITY_ROOTS.values())


@dataclass(slots=True)
class Hazards:
    """How many of each hazard were planted, and the `PnPID`s they touch."""

    counts: dict[str, int] = field(default_factory=dict)
    ids: dict[str, list[int]] = field(default_factory=dict)


def plant_hazards(writer: Writer, plant: Plant, *, hits: int) -> Hazards:
    """Plant `hits` hazards in rotation. A hazard with nothing left to hit is passed over.

    With fewer items than hits the rest is left out; the report counts what was really planted.
    """
    writer.flush()
    return _Planter(writer, plant).run(hits)


class _Planter:
    def __init__(self, writer: Writer, plant: Plant) -> None:
        self.writer = writer
        self.sql = writer.connection
        self.rng = writer.rng
        self.free = writer.free_ids()
        self.drawings = [pnpid for pnpid, _ in plant.drawings]
        self.round = 0
        self.all_lines = list(plant.lines)
        self.pools: dict[str, list[PlantItem]] = {e: [] for e in ENTITY_ROOTS}
        for item in plant.items:
            self.pools[item.entity].append(item)
        for pool in self.pools.values():
            self.rng.shuffle(pool)
        tables = existing_tables(self.sql)
        self.tables = tables
        self.zero_tables = [t for t in _TAG_TABLES if t in tables]

    def run(self, hits: int) -> Hazards:
        done = Hazards(counts={n: 0 for n in HAZARDS}, ids={n: [] for n in HAZARDS})
        left = list(HAZARDS)
        position = 0
        while hits > 0 and left:
            name = left[position % len(left)]
            self.round = done.counts[name]
            touched = HAZARDS[name](self)
            if touched is None:
                left.remove(name)
                continue
            done.counts[name] += 1
            done.ids[name].extend(touched)
            hits -= 1
            position += 1
        return done

    # -- helpers ----------------------------------------------------------------------------------

    def take(self, *entities: str) -> PlantItem | None:
        """An item nobody touched yet, of the entities in turn."""
        order = entities[self.round % len(entities) :] + entities[: self.round % len(entities)]
        for entity in order:
            if self.pools[entity]:
                return self.pools[entity].pop()
        return None

    def take_line(self) -> Line | None:
        item = self.take("lines")
        return item if isinstance(item, Line) else None

    def set_tag(self, item: PlantItem, tag: str | None, *, registry: str | None) -> list[int]:
        """Store a tag; `registry` is what the registry then says, None: the entry goes."""
        root = ENTITY_ROOTS[item.entity]
        self.sql.execute(f"UPDATE {quoted(root)} SET [Tag] = ? WHERE [PnPID] = ?", (tag, item.pnpid))  # noqa: S608
        if registry is None:
            self.unregister(item)
        else:
            self.sql.execute("UPDATE PnPTagRegistry SET Tag = ? WHERE RowId = ?", (registry, item.pnpid))
        return [item.pnpid]

    def unregister(self, item: PlantItem) -> None:
        for (entry,) in self.sql.execute(
            "SELECT PnPID FROM PnPTagRegistry WHERE RowId = ?", (item.pnpid,)
        ).fetchall():
            self.sql.execute("DELETE FROM PnPTagRegistry WHERE PnPID = ?", (entry,))
            self.sql.execute("DELETE FROM PnPBase WHERE PnPID = ?", (entry,))

    def describe(self, item: PlantItem, text: str | bytes) -> list[int]:
        table = "PipeLineGroup" if item.entity == "lines" else "EngineeringItems"
        value = "CAST(? AS TEXT)"  # bytes that are no UTF-8 stay a text value for SQLite
        self.sql.execute(
            f"UPDATE {table} SET [Description] = {value} WHERE [PnPID] = ?",  # noqa: S608
            (text, item.pnpid),
        )
        return [item.pnpid]

    def sibling_without_table(self, class_name: str) -> str | None:
        """A leaf class under the same base that has no table, so that no level is foreign to the item."""
        classes = self.writer.classes
        bases = {d.base for d in classes.values()}
        names = [
            d.name
            for d in classes.values()
            if d.base == classes[class_name].base and d.name not in self.tables and d.name not in bases
        ]
        return names[self.round % len(names)] if names else None

    def free_id(self) -> int | None:
        return self.free.pop() if self.free else None


Hazard = Callable[[_Planter], "list[int] | None"]


def _missing_middle_row(p: _Planter) -> list[int] | None:
    """The row of the level that holds the tag is gone; levels above and below are there."""
    item = p.take(*_TAGGED)
    if item is None:
        return None
    p.sql.execute(f"DELETE FROM {quoted(ENTITY_ROOTS[item.entity])} WHERE PnPID = ?", (item.pnpid,))  # noqa: S608
    return [item.pnpid]


def _row_zero(p: _Planter) -> list[int] | None:
    """A class row with `PnPID` 0; one per table at most."""
    if not p.zero_tables:
        return None
    table = p.zero_tables.pop(0)
    p.sql.execute(f"INSERT INTO {quoted(table)} ([PnPID], [Tag]) VALUES (0, ?)", (f"ZERO-{table}",))  # noqa: S608
    return [0]


def _class_row_without_base(p: _Planter) -> list[int] | None:
    """A class row whose id was issued but is no longer in `PnPBase`."""
    pnpid = p.free_id()
    tables = [t for t in _TAG_TABLES if t in p.tables]
    if pnpid is None or not tables:
        return None
    table = tables[p.round % len(tables)]
    p.sql.execute(
        f"INSERT INTO {quoted(table)} ([PnPID], [Tag]) VALUES (?, ?)",  # noqa: S608
        (pnpid, f"ORPHAN-{pnpid}"),
    )
    return [pnpid]


def _foreign_class_row(p: _Planter) -> list[int] | None:
    """A `HandValves` row whose id belongs to a drawing link."""
    item = p.take("instruments", "valves")
    if item is None or "HandValves" not in p.tables:
        return None
    (link,) = p.sql.execute("SELECT PnPID FROM PnPDataLinks WHERE RowId = ?", (item.pnpid,)).fetchone()
    p.sql.execute("INSERT INTO HandValves (PnPID, Tag) VALUES (?, ?)", (link, f"HV-FOREIGN-{link}"))
    return [int(link)]


def _question_tag(p: _Planter) -> list[int] | None:
    """An unfilled tag: `?` for each missing part. Only complete tags are registered."""
    item = p.take(*_TAGGED)
    if item is None:
        return None
    parts = item.tag.split("-")
    tag = "-".join("?" * len(parts)) if p.round % 2 else "-".join(["?", *parts[1:]])
    return p.set_tag(item, tag, registry=None)


def _null_tag(p: _Planter) -> list[int] | None:
    item = p.take(*_TAGGED)
    return None if item is None else p.set_tag(item, None, registry=None)


def _empty_tag(p: _Planter) -> list[int] | None:
    item = p.take(*_TAGGED)
    return None if item is None else p.set_tag(item, "", registry=None)


def _placeholder_tag(p: _Planter) -> list[int] | None:
    """`NA` or `HOLD` where a tag should be."""
    item = p.take(*_TAGGED)
    return None if item is None else p.set_tag(item, ("NA", "HOLD")[p.round % 2], registry=None)


def _duplicate_tag(p: _Planter) -> list[int] | None:
    """Two items with one valid tag; the registry knows only the first."""
    entity = _TAGGED[p.round % len(_TAGGED)]
    if len(p.pools[entity]) < 2:
        return None
    first, second = p.pools[entity].pop(), p.pools[entity].pop()
    p.set_tag(second, first.tag, registry=None)
    return [first.pnpid, second.pnpid]


def _line_break(p: _Planter) -> list[int] | None:
    item = p.take(*_TAGGED, "lines")
    return None if item is None else p.describe(item, ("Pompe\r\nligne 2", "Pump\nline 2")[p.round % 2])


def _mojibake(p: _Planter) -> list[int] | None:
    """UTF-8 read as Latin-1 and stored again."""
    item = p.take(*_TAGGED)
    return None if item is None else p.describe(item, "Réservoir dédié ±5 °C".encode().decode("latin-1"))


def _invalid_utf8(p: _Planter) -> list[int] | None:
    item = p.take(*_TAGGED)
    return None if item is None else p.describe(item, _BAD_UTF8)


def _nul_character(p: _Planter) -> list[int] | None:
    item = p.take(*_TAGGED)
    return None if item is None else p.describe(item, b"Pompe\x00 de puisard")


def _outer_blanks(p: _Planter) -> list[int] | None:
    """A leading or trailing blank, in the tag and in the description by turns."""
    item = p.take(*_TAGGED)
    if item is None:
        return None
    if p.round % 2:
        return p.describe(item, "  Vanne d'isolement ")
    tag = f"{item.tag} "
    return p.set_tag(item, tag, registry=tag)


def _registry_dangling(p: _Planter) -> list[int] | None:
    """A registry entry whose item does not exist."""
    gone = p.free_id()
    if gone is None:
        return None
    entry = p.writer.add("PnPTagRegistry", {"Tag": f"GONE-{gone}", "RowId": gone})
    p.writer.flush()
    return [entry]


def _registry_differs(p: _Planter) -> list[int] | None:
    item = p.take(*_TAGGED)
    if item is None:
        return None
    reversed_tag = "-".join(reversed(item.tag.split("-")))
    return p.set_tag(item, item.tag, registry=f"{reversed_tag}-OLD")


def _registry_missing(p: _Planter) -> list[int] | None:
    item = p.take(*_TAGGED)
    if item is None:
        return None
    p.unregister(item)
    return [item.pnpid]


def _segment_in_two_groups(p: _Planter) -> list[int] | None:
    line = p.take_line()
    others = [other for other in p.all_lines if other is not line][:50]
    if line is None or not others:
        return None
    segment = line.segments[0]
    p.writer.relate("PipeLineGroupRelationship", p.rng.choice(others).pnpid, segment)
    p.writer.flush()
    return [segment]


def _line_with_several_ends(p: _Planter) -> list[int] | None:
    """A segment with two more end assets."""
    line = p.take_line()
    if line is None:
        return None
    for relation_end in ("valves", "equipment"):
        item = p.take(relation_end)
        if item is not None:
            p.writer.relate("LineEndAsset", line.segments[-1], item.pnpid)
    p.writer.flush()
    return [line.segments[-1]]


def _group_without_segments(p: _Planter) -> list[int] | None:
    """A line group nobody drew: its segments are cut off and belong to no group."""
    line = p.take_line()
    if line is None:
        return None
    p.sql.execute(
        "DELETE FROM PnPRowRelations WHERE RelationshipTypeName = 'PipeLineGroupRelationship' AND RELID IN "
        "(SELECT PnPID FROM PipeLineGroupRelationship WHERE PipeLineGroup = ?)",
        (line.pnpid,),
    )
    p.sql.execute("DELETE FROM PipeLineGroupRelationship WHERE PipeLineGroup = ?", (line.pnpid,))
    return [line.pnpid]


def _group_tag_unfilled(p: _Planter) -> list[int] | None:
    """The group's tag is `?`, its segments carry the complete line number."""
    line = p.take_line()
    return None if line is None else p.set_tag(line, "?", registry=None)


def _sentence_tag(p: _Planter) -> list[int] | None:
    item = p.take(*_TAGGED)
    if item is None:
        return None
    tag = f"SELON DIRECTIVES DU FOURNISSEUR, VOIR NOTE {item.pnpid}"
    return p.set_tag(item, tag, registry=tag)


def _tag_zero(p: _Planter) -> list[int] | None:
    """One item is called `0`; a second one would be a duplicate."""
    item = p.take(*_TAGGED) if p.round == 0 else None
    return None if item is None else p.set_tag(item, "0", registry="0")


def _non_ascii_tag(p: _Planter) -> list[int] | None:
    """`±` in a tag, which Plant 3D itself writes."""
    item = p.take(*_TAGGED)
    if item is None:
        return None
    tag = f"{item.tag}±É"
    return p.set_tag(item, tag, registry=tag)


def _text_too_long(p: _Planter) -> list[int] | None:
    item = p.take(*_TAGGED)
    return None if item is None else p.describe(item, "Description très longue. " * 14)


def _class_without_table(p: _Planter) -> list[int] | None:
    """An item whose class has no table: it has every level but its own."""
    item = p.take(*_TAGGED)
    if item is None:
        return None
    name = p.sibling_without_table(item.class_name)
    if name is None:
        return None
    p.sql.execute(f"DELETE FROM {quoted(item.class_name)} WHERE PnPID = ?", (item.pnpid,))  # noqa: S608
    p.sql.execute("UPDATE PnPBase SET PnPClassName = ? WHERE PnPID = ?", (name, item.pnpid))
    return [item.pnpid]


def _unknown_class(p: _Planter) -> list[int] | None:
    """A `PnPBase` row more, of a class the catalogue does not know."""
    pnpid = p.free_id()
    if pnpid is None:
        return None
    p.sql.execute(
        "INSERT INTO PnPBase (PnPID, PnPClassName, PnPStatus, PnPRevision, PnPGuid, PnPTimestamp) "
        "VALUES (?, 'ACME_ClasseRetirée', 0, 0, ?, ?)",
        (pnpid, p.writer.guid(), p.writer.tick()),
    )
    return [pnpid]


def _missing_drawing(p: _Planter) -> list[int] | None:
    """The item's link points to a drawing that does not exist."""
    item = p.take(*_TAGGED)
    if item is None:
        return None
    p.sql.execute("UPDATE PnPDataLinks SET DwgId = 999999999 WHERE RowId = ?", (item.pnpid,))
    return [item.pnpid]


def _drawing_number_empty(p: _Planter) -> list[int] | None:
    if not p.drawings:
        return None
    drawing = p.drawings.pop(0)
    p.sql.execute("UPDATE PnPDrawings SET PnID = ? WHERE PnPID = ?", (("", None)[p.round % 2], drawing))
    return [drawing]


def _size_notation(p: _Planter) -> list[int] | None:
    """A size in another notation than the pick list's."""
    item = p.take("valves")
    if item is None:
        return None
    size = ("DN15", '1/2"', "?", "NA", "HOLD")[p.round % 5]
    p.sql.execute("UPDATE InLineAssets SET Size = ? WHERE PnPID = ?", (size, item.pnpid))
    return [item.pnpid]


HAZARDS: dict[str, Hazard] = {
    "missing_middle_row": _missing_middle_row,
    "duplicate_tag": _duplicate_tag,
    "question_tag": _question_tag,
    "row_zero": _row_zero,
    "foreign_class_row": _foreign_class_row,
    "invalid_utf8": _invalid_utf8,
    "nul_character": _nul_character,
    "null_tag": _null_tag,
    "empty_tag": _empty_tag,
    "placeholder_tag": _placeholder_tag,
    "class_row_without_base": _class_row_without_base,
    "line_break": _line_break,
    "mojibake": _mojibake,
    "outer_blanks": _outer_blanks,
    "group_tag_unfilled": _group_tag_unfilled,
    "group_without_segments": _group_without_segments,
    "segment_in_two_groups": _segment_in_two_groups,
    "line_with_several_ends": _line_with_several_ends,
    "registry_dangling": _registry_dangling,
    "registry_differs": _registry_differs,
    "registry_missing": _registry_missing,
    "text_too_long": _text_too_long,
    "sentence_tag": _sentence_tag,
    "tag_zero": _tag_zero,
    "non_ascii_tag": _non_ascii_tag,
    "class_without_table": _class_without_table,
    "unknown_class": _unknown_class,
    "missing_drawing": _missing_drawing,
    "drawing_number_empty": _drawing_number_empty,
    "size_notation": _size_notation,
}
"""Every hazard by its name, in the order of rotation."""
