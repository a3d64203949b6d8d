"""A report about one source, for people who meet a project for the first time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import msgspec

from plant3d_sync.connectors.base import PlantSource
from plant3d_sync.connectors.plant3d.names import quoted
from plant3d_sync.connectors.plant3d.reading.catalog import Discovery
from plant3d_sync.connectors.plant3d.reading.relations import USED
from plant3d_sync.connectors.plant3d.reading.snapshot import Snapshot
from plant3d_sync.model.catalog import Column
from plant3d_sync.model.record import Finding, PlantItem
from plant3d_sync.model.tags import STOCK

EXAMPLES = 5
"""Examples shown per finding code."""
_TAG = "tag"


def inspect_source(source: PlantSource) -> dict[str, object]:
    """Read everything once and describe it, JSON-able: identity, classes in use, custom columns, drawings,
    relations, completeness of tags, findings with examples, and how long the source was held.

    Raises what `PlantSource.snapshot` raises.
    """
    snapshot = cast(Snapshot, source.snapshot())
    try:
        return _describe(source.name, snapshot)
    finally:
        snapshot.close()


def _describe(name: str, snapshot: Snapshot) -> dict[str, object]:
    in_use = _classes_in_use(snapshot)
    taggable = [cls for cls in in_use if snapshot.catalog.column(cls, _TAG) is not None]
    own = _OwnColumns(snapshot)
    tags = _tag_completeness(snapshot, taggable, own)
    for batch in snapshot.scan([cls for cls in in_use if cls not in tags and _is_item(snapshot, cls)], {}):
        own.count(batch.changed)  # besides, the findings of these classes are what is wanted
    identity = snapshot.identity
    return {
        "source": name,
        "engine": identity.engine,
        "journal_mode": snapshot.journal_mode,
        "version": _version(snapshot),
        "lock_ms": round(snapshot.lock_ms, 1),
        "identity": {
            "dbid": identity.dbid,
            "pnpid_counter": identity.pnpid_counter,
            "change_counter": identity.change_counter,
            "signature": identity.signature,
            "newest_timestamp": str(
                identity.newest_timestamp
            ),  # beyond 2^53: text, so that no reader rounds it
            "rows": identity.rows,
            "copy_kind": identity.copy_kind,
        },
        "classes_declared": len(snapshot.catalog.classes),
        "classes": [_class_entry(snapshot, cls, count, tags.get(cls)) for cls, count in in_use.items()],
        "custom_columns": own.described(),
        "drawings": _drawings(snapshot),
        "relations": _relation_counts(snapshot),
        "tags": _total(tags.values()),
        "findings": summarize_findings(snapshot.findings()),
    }


def _classes_in_use(snapshot: Snapshot) -> dict[str, int]:
    """Concrete classes that have items, with their number, by name."""
    names = sorted(snapshot.catalog.classes)
    return {name: count for name, count in snapshot.counts(names).items() if count}


def _is_item(snapshot: Snapshot, class_name: str) -> bool:
    """Whether a class holds things of the plant, not Plant 3D's own bookkeeping (pick lists, links, ...).

    Its own bookkeeping classes hang directly under `PnPBase` and begin with `PnP`.
    """
    chain = snapshot.catalog.chain(class_name)
    top = chain[-2] if len(chain) > 1 else chain[-1]
    return not top.lower().startswith("pnp")


def _class_entry(
    snapshot: Snapshot, name: str, count: int, tags: Mapping[str, int] | None
) -> dict[str, object]:
    cls = snapshot.catalog.classes[name]
    entry: dict[str, object] = {
        "class": name,
        "label": cls.label,
        "count": count,
        "path": list(reversed(snapshot.catalog.chain(name))),
        "has_table": cls.has_table,
    }
    return entry if tags is None else {**entry, "tags": dict(tags)}


def _tag_completeness(
    snapshot: Snapshot, classes: Sequence[str], own: _OwnColumns
) -> dict[str, dict[str, int]]:
    """Per class: tags complete, placeholder (`?`, NA, HOLD), empty, unknown (its level has no row)."""
    result: dict[str, dict[str, int]] = {}
    items = [cls for cls in classes if _is_item(snapshot, cls)]
    for batch in snapshot.scan(items, {}):
        own.count(batch.changed)
        for item in batch.changed:
            counts = result.setdefault(
                item.class_name, {"complete": 0, "placeholder": 0, "empty": 0, "unknown": 0}
            )
            counts[_tag_state(snapshot, item)] += 1
    return result


def _tag_state(snapshot: Snapshot, item: PlantItem) -> str:
    column = snapshot.catalog.column(item.class_name, _TAG)
    if column is None or column.name in item.unknown:
        return "unknown"
    value = item.values.get(column.name)
    if value is None or not str(value).strip():
        return "empty"
    return "complete" if STOCK.usable(value) else "placeholder"


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = {"complete": 0, "placeholder": 0, "empty": 0, "unknown": 0}
    for each in counts:
        for state, count in each.items():
            total[state] += count
    return total


def _version(snapshot: Snapshot) -> str | None:
    """`VersionMajor.VersionMinor` of the project variables; projects before about 2012 store none."""
    found = dict(_select(snapshot, "PnPProjectVariables", ("Name", "Value")))
    major, minor = found.get("VersionMajor"), found.get("VersionMinor")
    return f"{major}.{minor}" if major is not None and minor is not None else None


def _select(snapshot: Snapshot, table: str, columns: tuple[str, str]) -> list[tuple[object, object]]:
    discovery: Discovery = snapshot.discovery
    name = discovery.table(table)
    parts = [discovery.table_column(table, column) for column in columns]
    if name is None or any(part is None for part in parts):
        return []
    return snapshot.ask(f"SELECT {parts[0]}, {parts[1]} FROM {name}")


class _Use(msgspec.Struct):
    """How a column is filled: items by class, those of them that hold something, and the commonest values."""

    items: Counter[str] = msgspec.field(default_factory=Counter)
    values: Counter[str] = msgspec.field(default_factory=Counter)
    of: Counter[str] = msgspec.field(default_factory=Counter)


class _OwnColumns:
    """Columns the project added itself (`ISNEWCREATION`), and what its items hold in them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._found: dict[tuple[str, str], Column] = {}
        self._of: dict[str, list[Column]] = {}
        for name, columns in snapshot.catalog.columns.items():
            own = [column for column in columns.values() if column.custom]
            self._of[name] = own
            self._found.update({(column.table_class, column.name): column for column in own})
        self._used = {key: _Use() for key in self._found}

    def count(self, items: Iterable[PlantItem]) -> None:
        """These items too. A cell whose row is missing is not counted: nobody knows whether it is filled."""
        for item in items:
            for column in self._of.get(item.class_name, ()):
                if column.name in item.unknown:
                    continue
                use = self._used[column.table_class, column.name]
                use.items[item.class_name] += 1
                value = item.values.get(column.name)
                text = "" if value is None else str(value).strip()
                if text and text.casefold() != (column.default or "").strip().casefold():
                    use.of[item.class_name] += 1
                    if len(use.values) < _MOST_VALUES or text in use.values:
                        use.values[text] += 1

    def described(self) -> list[dict[str, object]]:
        """Once each, at the class that declares it. `example_class`: the class that fills it most, or has most items."""
        described: list[dict[str, object]] = []
        for key in sorted(self._found):
            column, use = self._found[key], self._used[key]
            filled, items = use.of.total(), use.items.total()
            described.append(
                {
                    "class": column.table_class,
                    "column": column.name,
                    "label": column.label,
                    "type": column.type.removeprefix("System."),
                    "picklist": column.picklist,
                    "read_only": column.read_only,
                    "items": items,
                    "filled": filled,
                    "share": round(filled / items, 3) if items else None,
                    "examples": [text[:_LONGEST] for text, _ in use.values.most_common(_VALUES_SHOWN)],
                    "example_class": next(iter((use.of or use.items).most_common(1)), (None,))[0],
                }
            )
        return described


_MOST_VALUES = 1000
"""Different values that are told apart in one column."""
_VALUES_SHOWN = 3
_LONGEST = 60


def _drawings(snapshot: Snapshot) -> list[dict[str, object]]:
    linked: dict[object, int] = {}
    for _, drawing in _select(snapshot, "PnPDataLinks", ("RowId", "DwgId")):
        linked[drawing] = linked.get(drawing, 0) + 1
    return [
        {"pnpid": item, "number": number, "title": title, "links": linked.get(item, 0)}
        for item, (number, title, _) in sorted(snapshot.drawings().items())
    ]


def _relation_counts(snapshot: Snapshot) -> dict[str, int]:
    """Rows per relation table in use; tables that do not exist yet count 0."""
    counts: dict[str, int] = {}
    for relation in sorted(set(snapshot.discovery.roles) | {name.lower() for name, _, _ in USED}):
        actual = snapshot.discovery.tables.get(relation)
        shown = actual or next((name for name, _, _ in USED if name.lower() == relation), relation)
        counts[shown] = 0
        if actual is not None:
            counts[shown] = snapshot.ask(f"SELECT count(*) FROM {quoted(actual)}")[0][0]
    return counts


def summarize_findings(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """Findings by code with their number, the hint and up to five examples, most frequent first."""
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    ordered = sorted(by_code.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [
        {
            "code": code,
            "count": len(found),
            "hint": found[0].hint,
            "examples": [
                {
                    "message": f.message,
                    "pnpid": f.pnpid,
                    "class": f.class_name,
                    "column": f.column,
                    "tag": f.tag,
                }
                for f in found[:EXAMPLES]
            ],
        }
        for code, found in ordered
    ]


__all__ = ["EXAMPLES", "inspect_source", "summarize_findings"]
