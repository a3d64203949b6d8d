"""The part of a project's catalogue that its mapping uses, and what a change of it concerns.

A change of the schema is not a change of values: what a deleted column held was not emptied by anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple, TypedDict

import msgspec

from plant3d_sync.model.record import Value

FACT_NAMES = (
    "table_class",
    "type",
    "length",
    "default",
    "read_only",
    "hidden",
    "picklist",
    "symbol_select",
    "picklist_values",
)
"""What is remembered of a column, in this order; the values of a pick list only where the mapping writes."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What the mapping uses of one class. `columns`: name as the mapping writes it -> its facts, None if the class lacks it."""

    base: str | None
    columns: Mapping[str, list[object] | None]


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What a mapping uses of a catalogue. `mapping`: token of the mapping under which it was gathered."""

    mapping: str
    classes: Mapping[str, Used]


class Kind(StrEnum):
    """What became of a column or a class."""

    COLUMN_REMOVED = "column_removed"
    COLUMN_ADDED = "column_added"
    COLUMN_CHANGED = "column_changed"
    CLASS_ADDED = "class_added"
    CLASS_REMOVED = "class_removed"
    CLASS_MOVED = "class_moved"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference, for every class that shares it. `column` and `fields` are empty where a whole class is meant."""

    kind: Kind
    classes: tuple[str, ...]
    column: str = ""
    fields: tuple[str, ...] = ()
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None

    def said(self) -> str:
        """In words."""
        shown = ", ".join(self.classes[:3]) + (
            f" and {len(self.classes) - 3} more" if len(self.classes) > 3 else ""
        )
        what = ""
        match self.kind:
            case Kind.COLUMN_REMOVED:
                what = f"The column {self.column} of {shown} is gone from Plant 3D."
            case Kind.COLUMN_ADDED:
                what = f"Plant 3D has a new column {self.column} of {shown}."
            case Kind.COLUMN_CHANGED:
                what = f"The column {self.column} of {shown} changed in Plant 3D: {self._difference()}."
            case Kind.CLASS_ADDED:
                what = f"The class {shown} is new among those that the mapping brings: its items wait."
            case Kind.CLASS_REMOVED:
                what = f"The class {shown} is not among those that the mapping brings any more: its assets are left alone."
            case Kind.CLASS_MOVED:
                what = f"The class {shown} stands elsewhere in the class tree: {self._difference()}."
        return what + (f" It fills {', '.join(self.fields)}." if self.fields else "")

    def _difference(self) -> str:
        before, after = self.before or {}, self.after or {}
        return ", ".join(
            f"{name} {before.get(name)!r} -> {after.get(name)!r}"
            for name in {**before, **after}
            if before.get(name) != after.get(name)
        )


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the schema that nobody accepted yet.

    `fields`: class -> fields of which Plant 3D's value counts as unknown. `entering`, `leaving`: classes whose items enter
    or leave what the mapping brings.
    """

    changes: tuple[Change, ...]
    fields: Mapping[str, frozenset[str]]
    entering: frozenset[str]
    leaving: frozenset[str]

    @property
    def step_id(self) -> str:
        """A short stand-in for exactly these changes: who accepts names what he saw."""
        return blake2b(msgspec.json.encode(self.changes), digest_size=6).hexdigest()


class ChangeDocument(TypedDict):
    """One change as it is shown. `items`: how many items of these classes there are."""

    kind: str
    message: str
    column: str | None
    classes: list[str]
    fields: list[str]
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None
    items: int


MovingItem = TypedDict("MovingItem", {"pnpid": int, "tag": Value, "class": str})
"""An item that enters or leaves what the mapping brings."""


class MovingItems(TypedDict):
    """How many there are, and some of them."""

    count: int
    items: list[MovingItem]


class StepDocument(TypedDict):
    """A step as it is shown and stored. `since`: when it was seen first, ISO 8601."""

    step: str
    since: str | None
    changes: list[ChangeDocument]
    enter: MovingItems
    leave: MovingItems


def difference(
    accepted: Schema,
    now: Schema,
    uses: Mapping[str, Mapping[str, tuple[str, ...]]],
    counts: Mapping[str, int],
) -> Step | None:
    """What changed in the catalogue since it was accepted; None if nothing did that needs somebody.

    `uses`: class -> field -> the columns it may come from, as the mapping writes them. `counts`: items by class. What a changed mapping
    newly names is no change of the schema; nor is a first column for a field that had none, or a class without items.
    """
    same_mapping = accepted.mapping == now.mapping
    found: dict[_Difference, list[str]] = {}
    fields: dict[str, frozenset[str]] = {}
    entering = frozenset(
        name for name in now.classes if name not in accepted.classes and same_mapping and counts.get(name)
    )
    leaving = frozenset(name for name in accepted.classes if name not in now.classes and same_mapping)
    for name in entering:
        found.setdefault(_Difference(Kind.CLASS_ADDED, name), []).append(name)
    for name in leaving:
        found.setdefault(_Difference(Kind.CLASS_REMOVED, name), []).append(name)
    for name, used in now.classes.items():
        before = accepted.classes.get(name)
        if before is None:
            continue
        if before.base != used.base:
            moved = (msgspec.json.encode({"base": base}) for base in (before.base, used.base))
            found.setdefault(_Difference(Kind.CLASS_MOVED, name, (), *moved), []).append(name)
        concerned: set[str] = set()
        for column, facts in used.columns.items():
            was = before.columns.get(column)
            if column not in before.columns or was == facts:
                continue
            filled = tuple(one for one, names in uses.get(name, {}).items() if column in names)
            if was is None:
                filled = tuple(one for one in filled if _had_a_column(before, uses[name][one]))
            if not filled:
                continue
            concerned.update(filled)
            kind = (
                Kind.COLUMN_REMOVED
                if facts is None
                else Kind.COLUMN_ADDED
                if was is None
                else Kind.COLUMN_CHANGED
            )
            key = _Difference(kind, column, filled, msgspec.json.encode(was), msgspec.json.encode(facts))
            found.setdefault(key, []).append(name)
        if concerned:
            fields[name] = frozenset(concerned)
    changes = tuple(_change(key, tuple(sorted(names))) for key, names in found.items())
    if not changes:
        return None
    return Step(
        changes=tuple(sorted(changes, key=lambda one: (one.kind, one.column, one.classes))),
        fields=fields,
        entering=entering,
        leaving=leaving,
    )


def _had_a_column(before: Used, names: tuple[str, ...]) -> bool:
    return any(before.columns.get(name) is not None for name in names)


class _Difference(NamedTuple):
    """One difference of two catalogues, the same for every class it concerns. `was`, `facts`: JSON of before and after."""

    kind: Kind
    name: str
    fields: tuple[str, ...] = ()
    was: bytes = b"null"
    facts: bytes = b"null"


def _change(found: _Difference, classes: tuple[str, ...]) -> Change:
    if found.kind in (Kind.CLASS_ADDED, Kind.CLASS_REMOVED):
        return Change(kind=found.kind, classes=classes)
    if found.kind is Kind.CLASS_MOVED:
        before, after = (msgspec.json.decode(text) for text in (found.was, found.facts))
        return Change(kind=found.kind, classes=classes, before=before, after=after)
    return Change(
        kind=found.kind,
        classes=classes,
        column=found.name,
        fields=found.fields,
        before=_named(found.was),
        after=_named(found.facts),
    )


def _named(facts: bytes) -> dict[str, object] | None:
    decoded = msgspec.json.decode(facts)
    return None if decoded is None else dict(zip(FACT_NAMES, decoded, strict=False))


def without_change(accepted: Schema, now: Schema, step: Step | None) -> Schema:
    """What is remembered while a step waits: everything as it is now, but for what the step is about."""
    if step is None:
        return now
    classes = {name: used for name, used in now.classes.items() if name not in step.entering}
    for name in step.leaving:
        classes[name] = accepted.classes[name]
    for change in step.changes:
        for name in change.classes:
            before = accepted.classes.get(name)
            if before is None or name in step.leaving:
                continue
            used = classes[name]
            if change.column:
                kept = {**used.columns, change.column: before.columns[change.column]}
                classes[name] = Used(base=used.base, columns=kept)
            else:
                classes[name] = Used(base=before.base, columns=used.columns)
    return Schema(mapping=now.mapping, classes=classes)
