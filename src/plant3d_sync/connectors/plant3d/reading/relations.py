"""Relations between items, and what follows from them: lines, ends of a line, owner, drawing.

A relation table has one integer column per role, addressed by name (their order differs between projects).
Relation tables are lazy like class tables: a missing one is an empty one.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import PureWindowsPath
from typing import TypeVar

import msgspec

from plant3d_sync.connectors.plant3d.errors import undecoded
from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.reading.catalog import Discovery
from plant3d_sync.connectors.plant3d.reading.tags import plain_tag
from plant3d_sync.model.record import Finding
from plant3d_sync.model.tags import TagRule

ASSET_RELATIONS = ("LineInlineAsset", "LineStartAsset", "LineEndAsset")
"""Only the union of the three finds an item's line segments; drafters fill them differently."""
GROUP_RELATION = ("PipeLineGroupRelationship", "PipeLineGroup", "PipeLine")
SEGMENTS = "PipeLines"
"""Class of the segments of pipe lines."""
OWNER_RELATION = ("AssetOwnership", "Owned", "Owner")
USED: tuple[tuple[str, str, str], ...] = (
    *((name, "Line", "Asset") for name in ASSET_RELATIONS),
    ("LineStartLine", "Line1", "Line2"),
    ("LineEndLine", "Line1", "Line2"),
    ("LineNozzle", "Line", "Nozzle"),
    GROUP_RELATION,
    OWNER_RELATION,
)
"""The relations that are read: table, first role, second role."""

MOST = 10_000
"""Relations of one item in one table that are read."""

NAMED, LISTED = 10, 1000
"""Ids named in a finding's sentence, and listed in its data."""

AUDIT = "Run the project audit in Plant 3D."

T = TypeVar("T")
Ids = tuple[int, ...]
Drawing = tuple[str | None, str | None, int | None]
"""Number, title, PnPID."""
NO_DRAWING: Drawing = (None, None, None)
_TAG = "Tag"


class Relations(msgspec.Struct):
    """The relations of one database as dictionaries of ids."""

    segments_of: dict[int, Ids] = msgspec.field(default_factory=dict)
    """Asset -> line segments (pipe or signal) it sits on."""
    groups_of: dict[int, Ids] = msgspec.field(default_factory=dict)
    """Segment -> line groups."""
    segments_in: dict[int, Ids] = msgspec.field(default_factory=dict)
    """Line group -> segments."""
    loose: frozenset[int] = frozenset()
    """Pipe line segments in no group."""
    dangling: frozenset[int] = frozenset()
    """Segments that groups name and that do not exist."""
    numbers: dict[int, str] = msgspec.field(default_factory=dict)
    """Line group -> its number, where lines are known by their numbers."""
    segment_numbers: dict[int, str] = msgspec.field(default_factory=dict)
    """Segment -> its own number, where that is not the one of its group."""
    owner_of: dict[int, int] = msgspec.field(default_factory=dict)
    owners: frozenset[int] = frozenset()
    starts: dict[int, Ids] = msgspec.field(default_factory=dict)
    """Segment -> assets at its start."""
    ends: dict[int, Ids] = msgspec.field(default_factory=dict)
    start_lines: dict[int, Ids] = msgspec.field(default_factory=dict)
    """Segment -> segments its start lies on."""
    end_lines: dict[int, Ids] = msgspec.field(default_factory=dict)
    nozzles: dict[int, Ids] = msgspec.field(default_factory=dict)
    """Segment -> nozzles, side not said."""
    registry: dict[int, str] = msgspec.field(default_factory=dict)
    """Item -> its tag in Plant 3D's registry, as the item itself has it."""
    tags: dict[int, str] = msgspec.field(default_factory=dict)
    """Complete tags of groups, segments, and of whatever stands at an end or owns something."""
    findings: list[Finding] = msgspec.field(default_factory=list)
    infos: dict[Ids, tuple[tuple[str, ...], Ids]] = msgspec.field(default_factory=dict)
    """What `lines_of` found so far."""
    _segment_tags: dict[int, str | None] = msgspec.field(default_factory=dict)

    def lines_of(self, segments: Ids) -> tuple[tuple[str, ...], Ids]:
        """Tags and ids of the lines that these segments belong to."""
        info = self.infos.get(segments)
        if info is None:
            groups = tuple(sorted({g for s in segments for g in self.groups_of.get(s, ())}))
            info = self.infos[segments] = (
                tuple(sorted({t for s in segments for t in self._line_tags(s)})),
                groups,
            )
        return info

    def _line_tags(self, segment: int) -> Iterable[str]:
        """Tags of the lines a segment belongs to."""
        own = self.segment_numbers.get(segment)
        if own is not None:
            return (own,)
        return [tag for group in self.groups_of.get(segment, ()) if (tag := self.line_tag(group))]

    def line_tag(self, group: int) -> str | None:
        """A line's tag is its number, else its group's tag, else the one complete tag common to all its segments."""
        return self.numbers.get(group) or self.tags.get(group) or self.segment_tag(group)

    def segment_tag(self, group: int) -> str | None:
        """The one complete tag that all segments of the group carry, or None."""
        if group not in self._segment_tags:
            found = {self.tags.get(segment) for segment in self.segments_in.get(group, ())}
            self._segment_tags[group] = found.pop() if len(found) == 1 else None
        return self._segment_tags[group]

    def ends_of(self, segments: Iterable[int]) -> tuple[str | None, str | None]:
        """Where a line (or one segment) comes from and goes to, as tags; several are joined by "; ".

        An asset at the start of one segment and at the end of another one is inside the line (a reducer, a
        valve), so it is no end. What is left at the starts is "from", at the ends "to". Without an asset
        there, the other line it begins or ends on counts. A nozzle counts as the equipment that owns it, and
        goes before items that merely sit there (a valve before a nozzle). A nozzle whose side is not said
        fills the only end that is still open.
        """
        own = tuple(segments)
        starts, ends = _united(self.starts, own), _united(self.ends, own)
        from_tags = self._names(starts - ends) or self._line_names(self.start_lines, own)
        to_tags = self._names(ends - starts) or self._line_names(self.end_lines, own)
        if bool(from_tags) != bool(to_tags):
            loose = _united(self.nozzles, own) - starts - ends
            rest = self._names(loose) - from_tags - to_tags
            from_tags, to_tags = (from_tags or rest), (to_tags or rest)
        return _joined(from_tags), _joined(to_tags)

    def _names(self, assets: Iterable[int]) -> set[str]:
        """Tags of the equipment among these assets, else of the others."""
        standing, sitting = set[str](), set[str]()
        for asset in assets:
            owner = self.owner_of.get(asset)
            tag = (self.tags.get(owner) if owner is not None else None) or self.tags.get(asset)
            if tag:
                (standing if self.is_equipment(asset) else sitting).add(tag)
        return standing or sitting

    def is_equipment(self, asset: int) -> bool:
        """Whether an asset is a nozzle with an owner, or owns something itself."""
        return asset in self.owner_of or asset in self.owners

    def _line_names(self, relation: Mapping[int, Ids], own: Ids) -> set[str]:
        others = _united(relation, own)
        if not others:
            return set()
        others.difference_update(own)
        return {tag for line in others for tag in (self.lines_of((line,))[0] or self._names((line,)))}


def _united(relation: Mapping[int, Ids], items: Ids) -> set[int]:
    """Everything these items are related to."""
    if len(items) == 1:
        return set(relation.get(items[0], ()))
    return set(chain.from_iterable([relation.get(item, ()) for item in items]))


def _joined(tags: set[str]) -> str | None:
    return next(iter(tags)) if len(tags) == 1 else "; ".join(sorted(tags)) or None


def load_relations(
    connection: sqlite3.Connection, tolerant: sqlite3.Connection, discovery: Discovery, rule: TagRule
) -> Relations:
    """Read every relation in use, the tag registry, and the tags of the items they name: as each item has it, else as
    registered.
    """
    relations = Relations()
    note = relations.findings.append
    relations.registry = _registry(connection, tolerant, discovery)
    numbers = dict(zip(relations.registry, relations.registry, strict=True))
    same = numbers.setdefault  # one number for an item, not one a relation

    def read(table: str, first: str, second: str) -> Related:
        return _related(connection, discovery, table, first, second, same)

    of_assets = {name: read(name, "Line", "Asset") for name in ASSET_RELATIONS}
    for related in of_assets.values():
        _merge(relations.segments_of, related.by_second(note))
    relations.groups_of = read(*GROUP_RELATION).by_second(note)
    relations.segments_in = _inverted(relations.groups_of)
    relations.starts = of_assets["LineStartAsset"].by_first(note)
    relations.ends = of_assets["LineEndAsset"].by_first(note)
    relations.start_lines = read("LineStartLine", "Line1", "Line2").by_first(note)
    relations.end_lines = read("LineEndLine", "Line1", "Line2").by_first(note)
    relations.nozzles = read("LineNozzle", "Line", "Nozzle").by_first(note)
    for item, owners in read(*OWNER_RELATION).by_first(note).items():
        relations.owner_of[item] = owners[0]
    relations.owners = frozenset(relations.owner_of.values())
    for item in relations.owner_of.keys() & relations.registry.keys():
        relations.registry[item] = plain_tag(relations.registry[item], relations.owner_of[item])
    relations.loose, relations.dangling = _loose_and_dangling(connection, discovery, relations.groups_of)
    wanted = _named_items(relations) | relations.loose
    relations.tags = _tags(connection, tolerant, discovery, wanted, rule, relations.registry)
    for item in wanted.intersection(relations.registry).difference(relations.tags):
        tag = rule.usable(relations.registry[item])
        if tag is not None:
            relations.tags[item] = tag
    relations.findings.extend(_odd_relations(relations))
    return relations


class Related(msgspec.Struct, kw_only=True, gc=False):
    """The id pairs of one relation, as two columns of equal length. `first`, `second`: the roles."""

    table: str
    first: str
    second: str
    firsts: Sequence[int] = ()
    seconds: Sequence[int] = ()

    def by_first(self, note: Callable[[Finding], None]) -> dict[int, Ids]:
        """What each item in the first role is related to."""
        return _grouped(self.table, (self.first, self.firsts), (self.second, self.seconds), note)

    def by_second(self, note: Callable[[Finding], None]) -> dict[int, Ids]:
        """What each item in the second role is related to."""
        return _grouped(self.table, (self.second, self.seconds), (self.first, self.firsts), note)


def _related(
    connection: sqlite3.Connection,
    discovery: Discovery,
    table: str,
    first: str,
    second: str,
    same: Callable[[int, int], int],
) -> Related:
    """One relation; empty when the table or a role column does not exist.

    `same`: gives back the number that stands for an item already.
    """
    found = Related(table=table, first=first, second=second)
    name = discovery.table(table)
    one, two = discovery.table_column(table, first), discovery.table_column(table, second)
    if name is None or one is None or two is None:
        return found
    rows = connection.execute(
        f"SELECT {one}, {two} FROM {name} WHERE typeof({one}) = 'integer' AND typeof({two}) = 'integer'"
    ).fetchall()
    if rows:
        ones, others = zip(*rows, strict=True)
        found.firsts, found.seconds = list(map(same, ones, ones)), list(map(same, others, others))
    return found


def _grouped(
    table: str,
    key: tuple[str, Sequence[int]],
    value: tuple[str, Sequence[int]],
    note: Callable[[Finding], None],
) -> dict[int, Ids]:
    """What each item is related to. Of more than `MOST` only the smallest ids count, and that is reported.

    `key`, `value`: a role, and the items in it.
    """
    (role, items), (other_role, others) = key, value
    # made without a step in Python for each of so many
    grouped: dict[int, Ids] = dict(zip(items, zip(others, strict=True), strict=True))
    if len(grouped) == len(items):
        return grouped
    often = {item for item, count in Counter(items).items() if count > 1}
    several: dict[int, list[int]] = {item: [] for item in grouped if item in often}
    for item, other in zip(items, others, strict=True):
        if item in often:
            several[item].append(other)
    for item, each in several.items():
        grouped[item] = tuple(sorted(set(each)))
        if len(grouped[item]) > MOST:
            note(_too_many(table, role, other_role, item, len(grouped[item])))
            grouped[item] = grouped[item][:MOST]
    return grouped


def _too_many(table: str, key: str, value: str, item: int, count: int) -> Finding:
    return Finding(
        code="relations_too_many",
        message=f"{table} joins {key} {item} with {count} others ({value}); no drawing has so many. Only the first {MOST} "
        "were read.",
        pnpid=item,
        hint=AUDIT,
        data={"relation": table, "count": count},
    )


def _loose_and_dangling(
    connection: sqlite3.Connection, discovery: Discovery, grouped: Mapping[int, Ids]
) -> tuple[frozenset[int], frozenset[int]]:
    """Pipe line segments without a group, and segments of groups that do not exist."""
    base, base_key = discovery.table("PnPBase"), discovery.table_column("PnPBase", "PnPID")
    name, _group, segment = GROUP_RELATION
    relation, of_segment = discovery.table(name), discovery.table_column(name, segment)
    cls = discovery.catalog.find(SEGMENTS)
    table = discovery.table(cls.physical) if cls is not None else None
    key = discovery.table_column(cls.physical, "PnPID") if cls is not None else None
    loose: set[int] = set()
    if base_key is None:
        return frozenset(), frozenset()
    if table is not None and key is not None:
        rows = connection.execute(f"SELECT {key} FROM {table} WHERE typeof({key}) = 'integer'")
        loose = {one for (one,) in rows} - grouped.keys()
    if loose:  # rows without an item are no segments
        marks = ", ".join(map(str, sorted(loose)))
        rows = connection.execute(f"SELECT {base_key} FROM {base} WHERE {base_key} IN ({marks})")
        loose = {one for (one,) in rows}
    dangling: set[int] = set()
    if relation is not None and of_segment is not None:
        rows = connection.execute(
            f"SELECT r.{of_segment} FROM {relation} AS r "
            f"WHERE typeof(r.{of_segment}) = 'integer' "
            f"AND NOT EXISTS (SELECT 1 FROM {base} AS b WHERE b.{base_key} = r.{of_segment})"
        )
        dangling = {one for (one,) in rows}
    return frozenset(loose), frozenset(dangling)


def _merge(into: dict[int, Ids], more: Mapping[int, Ids]) -> None:
    if not into:
        into.update(more)
        return
    for item, others in more.items():
        known = into.get(item)
        into[item] = others if known is None else tuple(sorted({*known, *others}))


def _inverted(groups_of: Mapping[int, Ids]) -> dict[int, Ids]:
    found: dict[int, list[int]] = {}
    for segment in sorted(groups_of):
        for group in groups_of[segment]:
            found.setdefault(group, []).append(segment)
    return {group: tuple(segments) for group, segments in found.items()}


def _named_items(relations: Relations) -> set[int]:
    """Items whose tag is needed to name a line, an end or an owner."""
    wanted = set(relations.groups_of) | set(relations.segments_in) | set(relations.owner_of.values())
    for mapping in (
        relations.starts,
        relations.ends,
        relations.start_lines,
        relations.end_lines,
        relations.nozzles,
    ):
        for line, others in mapping.items():
            wanted.add(line)
            wanted.update(others)
    return wanted


def _tags(
    connection: sqlite3.Connection,
    tolerant: sqlite3.Connection,
    discovery: Discovery,
    wanted: set[int],
    rule: TagRule,
    registry: Mapping[int, str],
) -> dict[int, str]:
    """Complete tags of these items, from every class table that declares a column `Tag`."""
    tags: dict[int, str] = {}
    if not wanted:
        return tags
    registered, usable = registry.get, rule.usable
    for cls in discovery.catalog.classes.values():
        column = discovery.table_column(cls.physical, _TAG)
        key = discovery.table_column(cls.physical, "PnPID")
        if not cls.has_table or column is None or key is None or cls.name.lower() == "pnptagregistry":
            continue
        statement = f"SELECT {key}, {column} FROM {quoted(cls.physical)} WHERE typeof({column}) = 'text'"
        for item, value in text_rows(connection, tolerant, statement):
            if item in wanted and (tag := usable(value)) is not None:
                known = registered(item)
                tags.setdefault(item, known if known == tag else tag)  # one text, not two of the same
    return tags


def _registry(
    connection: sqlite3.Connection,
    tolerant: sqlite3.Connection,
    discovery: Discovery,
) -> dict[int, str]:
    """Every registered tag by item."""
    table = discovery.table("PnPTagRegistry")
    row = discovery.table_column("PnPTagRegistry", "RowId")
    tag = discovery.table_column("PnPTagRegistry", "Tag")
    if table is None or row is None or tag is None:
        return {}
    statement = f"SELECT {row}, {tag} FROM {table} WHERE typeof({tag}) = 'text'"
    # no list of all rows on the way
    return tolerantly(connection, tolerant, statement, (), dict[int, str])


def text_rows(
    connection: sqlite3.Connection,
    tolerant: sqlite3.Connection,
    statement: str,
    given: Sequence[object] = (),
) -> list[tuple[int, str]]:
    """Rows of id and text."""
    return tolerantly(connection, tolerant, statement, given, list)


def tolerantly(
    connection: sqlite3.Connection,
    tolerant: sqlite3.Connection,
    statement: str,
    given: Sequence[object],
    take: Callable[[sqlite3.Cursor], T],
) -> T:
    """What `take` makes of the rows: read the fast way, or the tolerant one if any text is not UTF-8."""
    try:
        return take(connection.execute(statement, given))
    except sqlite3.OperationalError as error:
        if not undecoded(error):
            raise
        return take(tolerant.execute(statement, given))


def _named(ids: Ids) -> str:
    more = len(ids) - NAMED
    return ", ".join(map(str, ids[:NAMED])) + (f" and {more} more" if more > 0 else "")


def _odd_relations(relations: Relations) -> Iterator[Finding]:
    for segment, groups in relations.groups_of.items():
        if len(groups) > 1:
            yield Finding(
                code="segment_in_two_groups",
                message=f"Line segment {segment} belongs to {len(groups)} lines ({_named(groups)}).",
                pnpid=segment,
                tag=relations.tags.get(segment),
                hint="Assign the segment to one line in Plant 3D.",
                data={"groups": list(groups[:LISTED])},
            )
    for side, mapping in (("start", relations.starts), ("end", relations.ends)):
        for segment, assets in mapping.items():
            if len(assets) > 1 and sum(map(relations.is_equipment, assets)) != 1:
                yield Finding(
                    code="several_ends",
                    message=f"Line segment {segment} has {len(assets)} items where it begins."
                    if side == "start"
                    else f"Line segment {segment} has {len(assets)} items where it ends.",
                    pnpid=segment,
                    tag=relations.tags.get(segment),
                    hint="Reconnect the segment in the drawing.",
                    data={"side": side, "assets": list(assets[:LISTED])},
                )


def load_drawings(tolerant: sqlite3.Connection, discovery: Discovery) -> dict[int, Drawing]:
    """Drawings by PnPID. Folder rows (`PnPType` = FOLDER) are left out.

    Number: `PnID` ("DWG Number", often empty), else `Dwg Name`, else the file name of `PnPRelativePath`.
    """
    name = discovery.table("PnPDrawings")
    key = discovery.table_column("PnPDrawings", "PnPID")
    if name is None or key is None:
        return {}
    wanted = ("PnPType", "PnID", "Dwg Name", "PnPRelativePath", "Title")
    columns = [discovery.table_column("PnPDrawings", column) or "NULL" for column in wanted]
    drawings: dict[int, Drawing] = {}
    for item, kind, number, dwg_name, path, title in tolerant.execute(
        f"SELECT {key}, {', '.join(columns)} FROM {name}"
    ):
        if isinstance(item, int) and str(kind or "").strip().upper() != "FOLDER":
            stem = PureWindowsPath(str(path)).stem if path else None
            shown = next((text for v in (number, dwg_name, stem) if (text := _text(v))), None)
            drawings[item] = (shown, _text(title), item)
    return drawings


def _text(value: object) -> str | None:
    text = str(value).replace("\x00", "").strip() if value is not None else ""
    return text or None


def several_drawings(drawings: Iterable[Drawing]) -> Drawing:
    """One drawing out of all those an item (or a line's segments) is drawn in: first by number, joined by "; "."""
    distinct = {drawing[2]: drawing for drawing in drawings if drawing[2] is not None}
    ordered = sorted(distinct.values(), key=lambda d: (d[0] or "", d[2] or 0))
    if len(ordered) <= 1:
        return ordered[0] if ordered else NO_DRAWING
    numbers = "; ".join(dict.fromkeys(d[0] for d in ordered if d[0]))
    titles = "; ".join(dict.fromkeys(d[1] for d in ordered if d[1]))
    return numbers or None, titles or None, ordered[0][2]
