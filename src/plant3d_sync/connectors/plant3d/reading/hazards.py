"""What is odd in the database as a whole: rows that belong to nothing, links and registry entries leading nowhere.

Plant 3D keeps its tables consistent; other people's SQL does not. Nothing here stops a run.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping

from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.reading.catalog import ROOT, Discovery
from plant3d_sync.connectors.plant3d.reading.relations import AUDIT, LISTED, USED, Relations
from plant3d_sync.connectors.plant3d.reading.tags import plain_tag
from plant3d_sync.model.reading import Reading
from plant3d_sync.model.record import Finding
from plant3d_sync.words import counted, said


def whole_database(
    tolerant: sqlite3.Connection,
    discovery: Discovery,
    relations: Relations,
    class_counts: Mapping[str | None, int],
    missing_levels: set[str],
    reading: Reading,
) -> Iterator[Finding]:
    """Every hazard that is not about one scanned item. `missing_levels`: classes a scan found rows missing in."""
    yield from unknown_classes(discovery, class_counts)
    yield from _limited(rows_without_item(tolerant, discovery, class_counts, missing_levels))
    yield from _limited(dangling_links(tolerant, discovery))
    yield from _limited(dangling_relations(tolerant, discovery))
    yield from registry(tolerant, discovery, relations, reading)


def _limited(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The first thousand of each code about rows that belong to no item, and how many more there are."""
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.code] += 1
        if seen[finding.code] <= LISTED:
            yield finding
    for code, count in seen.items():
        if count > LISTED:
            yield Finding(
                code=code,
                message=counted(
                    count - LISTED,
                    f"There is {count - LISTED} more like the {LISTED} of this kind that are listed.",
                    f"There are {count - LISTED} more like the {LISTED} of this kind that are listed.",
                ),
                hint=AUDIT,
                data={"count": count - LISTED},
            )


def unknown_classes(discovery: Discovery, class_counts: Mapping[str | None, int]) -> Iterator[Finding]:
    """Items of a class that the catalogue does not know. They cannot be placed, hence are not read."""
    for name, count in class_counts.items():
        if name is None or discovery.catalog.find(name) is None:
            yield Finding(
                code="unknown_class",
                message=counted(
                    count,
                    f"{count} row of PnPBase is of the class {name}, which is not in PnPTables. It is not read.",
                    f"{count} rows of PnPBase are of the class {name}, which is not in PnPTables. They are not read.",
                ),
                class_name=name,
                hint=AUDIT,
                data={"count": count},
            )


def rows_without_item(
    tolerant: sqlite3.Connection,
    discovery: Discovery,
    class_counts: Mapping[str | None, int],
    missing_levels: set[str],
) -> Iterator[Finding]:
    """Class rows whose id is not in `PnPBase` (or is 0), or belongs to an item of another class.

    A table with exactly the rows its class should have, and none known to be missing, is not looked into.
    """
    catalog = discovery.catalog
    expected = _expected_rows(discovery, class_counts)
    base, base_key = discovery.table(ROOT), discovery.table_column(ROOT, "PnPID")
    base_class = discovery.table_column(ROOT, "PnPClassName")
    for cls in catalog.classes.values():
        key = discovery.table_column(cls.physical, "PnPID")
        if not cls.has_table or key is None or cls.name.lower() == ROOT.lower():
            continue
        table = quoted(cls.physical)
        rows = tolerant.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        if rows == expected.get(cls.name, 0) and cls.name.lower() not in missing_levels:
            continue
        below = {name.lower() for name in catalog.descendants(cls.name)}
        for pnpid, name in tolerant.execute(
            f"SELECT t.{key}, b.{base_class} FROM {table} AS t LEFT JOIN {base} AS b ON b.{base_key} = t.{key}"
        ):
            if name is None:
                yield _orphan(cls.name, pnpid)
            elif name.lower() not in below:
                yield _foreign(cls.name, pnpid, name)


def _expected_rows(discovery: Discovery, class_counts: Mapping[str | None, int]) -> dict[str, int]:
    expected: dict[str, int] = {}
    for name, count in class_counts.items():
        for level in discovery.catalog.chain(name) if name else ():
            expected[level] = expected.get(level, 0) + count
    return expected


def _orphan(class_name: str, pnpid: object) -> Finding:
    return Finding(
        code="orphan_row",
        message=f"The table of {class_name} has a row {pnpid} without an item in PnPBase. It is not read.",
        pnpid=pnpid if isinstance(pnpid, int) else None,
        class_name=class_name,
        hint=AUDIT,
    )


def _foreign(class_name: str, pnpid: object, other: str) -> Finding:
    return Finding(
        code="foreign_row",
        message=f"The table of {class_name} has a row {pnpid}, but that item is a {other}. The row is not read.",
        pnpid=pnpid if isinstance(pnpid, int) else None,
        class_name=class_name,
        hint=AUDIT,
        data={"item_class": other},
    )


def dangling_links(tolerant: sqlite3.Connection, discovery: Discovery) -> Iterator[Finding]:
    """Drawing links whose item or drawing does not exist."""
    table, base = discovery.table("PnPDataLinks"), discovery.table(ROOT)
    row = discovery.table_column("PnPDataLinks", "RowId")
    dwg = discovery.table_column("PnPDataLinks", "DwgId")
    base_key = discovery.table_column(ROOT, "PnPID")
    if table is None or row is None or dwg is None:
        return
    drawings, drawing_key = discovery.table("PnPDrawings"), discovery.table_column("PnPDrawings", "PnPID")
    no_drawing = "1"
    if drawings is not None and drawing_key is not None:
        no_drawing = f"{dwg} NOT IN (SELECT {drawing_key} FROM {drawings})"
    for item, drawing in tolerant.execute(
        f"SELECT {row}, {dwg} FROM {table} AS l WHERE {no_drawing} OR {_is_not_in(base, base_key, 'l.' + row)}"
    ):
        yield Finding(
            code="dangling_link",
            message=f"A drawing link joins item {item} and drawing {drawing}, but one of them does not exist.",
            pnpid=item if isinstance(item, int) else None,
            hint=AUDIT,
            data={"drawing": drawing if isinstance(drawing, int) else None},
        )


def _is_not_in(base: str | None, key: str | None, value: str) -> str:
    """SQL: no row of this table has that key. One look-up a row, a third cheaper than a query of its own for each."""
    return f"({value} IS NULL OR {value} NOT IN (SELECT {key} FROM {base}))"


def dangling_relations(tolerant: sqlite3.Connection, discovery: Discovery) -> Iterator[Finding]:
    """Relations that name an item which does not exist."""
    base, key = discovery.table(ROOT), discovery.table_column(ROOT, "PnPID")
    for name, first, second in USED:
        table = discovery.table(name)
        one, two = discovery.table_column(name, first), discovery.table_column(name, second)
        if table is None or one is None or two is None:
            continue
        for a, b in tolerant.execute(
            f"SELECT {one}, {two} FROM {table} AS r "
            f"WHERE {_is_not_in(base, key, 'r.' + one)} OR {_is_not_in(base, key, 'r.' + two)}"
        ):
            yield Finding(
                code="dangling_relation",
                message=f"{name} joins {first} {a} and {second} {b}, but one of them does not exist.",
                pnpid=a if isinstance(a, int) else None,
                hint=AUDIT,
                data={"relation": name, first: str(a), second: str(b)},
            )


def registry(
    tolerant: sqlite3.Connection, discovery: Discovery, relations: Relations, reading: Reading
) -> Iterator[Finding]:
    """Entries of the tag registry without item, and items whose tag the registry knows differently or not."""
    table = discovery.table("PnPTagRegistry")
    row, tag = (discovery.table_column("PnPTagRegistry", name) for name in ("RowId", "Tag"))
    base, base_key = discovery.table(ROOT), discovery.table_column(ROOT, "PnPID")
    base_class = discovery.table_column(ROOT, "PnPClassName")
    if table is None or row is None or tag is None:
        return
    for item, text in tolerant.execute(
        f"SELECT {row}, {tag} FROM {table} AS r WHERE {_is_not_in(base, base_key, 'r.' + row)}"
    ):
        yield Finding(
            code="registry_orphan",
            message=f"The tag registry holds {said(text)} for item {item}, which does not exist.",
            pnpid=item if isinstance(item, int) else None,
            tag=text,
            hint=AUDIT,
        )
    for class_name, column in _enlisted(tolerant, discovery):
        cls = discovery.catalog.find(class_name)
        name = discovery.table_column(cls.physical, column) if cls else None
        key = discovery.table_column(cls.physical, "PnPID") if cls else None
        if cls is None or name is None or key is None or not cls.has_table:
            continue
        for item, of_class, own, registered in tolerant.execute(
            # the class is looked up last, for the few rows that differ
            f"SELECT t.{key}, b.{base_class}, t.{name}, r.{tag} FROM {quoted(cls.physical)} AS t "
            f"LEFT JOIN {table} AS r ON r.{row} = t.{key} CROSS JOIN {base} AS b ON b.{base_key} = t.{key} "
            f"WHERE r.{tag} COLLATE BINARY IS NOT t.{name} COLLATE BINARY"
        ):
            finding = _compare_tags(
                str(of_class), item, own, registered, relations.owner_of.get(item), reading
            )
            if finding is not None:
                yield finding


def _enlisted(tolerant: sqlite3.Connection, discovery: Discovery) -> list[tuple[str, str]]:
    """Class and column pairs under tag uniqueness."""
    table = discovery.table("PnPTagEnlistedColumns")
    name, column = (discovery.table_column("PnPTagEnlistedColumns", c) for c in ("TableName", "ColumnName"))
    if table is None or name is None or column is None:
        return []
    rows = tolerant.execute(f"SELECT DISTINCT {name}, {column} FROM {table} ORDER BY 1, 2").fetchall()
    return [(str(a), str(b)) for a, b in rows if a and b]


def _compare_tags(
    class_name: str, item: int, own: object, registered: str | None, owner: int | None, reading: Reading
) -> Finding | None:
    plain = plain_tag(registered, owner) if registered is not None else None
    if plain is not None and plain == own:
        return None
    tag = reading.tags.usable(own)
    if plain is None:
        if tag is None:
            return None
        return Finding(
            code="not_registered",
            message=f"{class_name} {item} has the complete tag {said(tag)}, but the tag registry does not know it.",
            pnpid=item,
            class_name=class_name,
            tag=tag,
            hint=AUDIT,
        )
    if tag is None and class_name in reading.registry and reading.tags.usable(plain):
        return Finding(
            code="tag_from_registry",
            message=f"{class_name} {item} shows {said(own)} as its tag; the tag registry says {said(plain)}, which is used.",
            pnpid=item,
            class_name=class_name,
            tag=plain,
            hint="Type the tag again in Plant 3D; until then the one of the registry is used.",
            data={"registered": plain, "own": str(own) if own is not None else None},
        )
    return Finding(
        code="registry_mismatch",
        message=f"{class_name} {item} has the tag {said(own)}, the tag registry says {said(plain)}. "
        "Which of the two is right?",
        pnpid=item,
        class_name=class_name,
        tag=tag or plain,
        hint="Type the right tag again in Plant 3D; the project audit corrects the registry.",
        data={"registered": plain, "own": str(own) if own is not None else None},
    )
