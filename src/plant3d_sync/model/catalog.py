"""Classes and columns of one Plant 3D project, as discovered in its own catalogue tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import msgspec

LINK_CLASSES: Final[Mapping[str, str]] = {"pnpdatalinks": "PnPDataLinks", "pnptagregistry": "PnPTagRegistry"}
"""Classes whose rows join items to a drawing or to their tag, and are no objects of a plant; by lower-cased name."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column, effective for one class (attributes resolved by "nearest class wins").

    `table_class` is the class that declares the column, hence the table that holds it.
    `default` is the `VALUE` attribute: a value equal to it means "not filled in".
    """

    name: str
    table_class: str
    type: str = "System.String"
    length: int = 255
    label: str = ""
    default: str | None = None
    read_only: bool = False
    hidden: bool = False
    picklist: str | None = None
    symbol_select: bool = False
    custom: bool = False


class PlantClass(msgspec.Struct, frozen=True, kw_only=True):
    """One class of the project: its place in the tree and its own columns.

    `has_table` is False while the class never had an instance (tables are made lazily).
    """

    name: str
    base: str | None
    label: str
    physical: str
    has_table: bool


@dataclass(frozen=True)
class Catalog:
    """Everything a project says about itself. Class and column names compare without case."""

    classes: Mapping[str, PlantClass]
    columns: Mapping[str, Mapping[str, Column]] = field(repr=False)
    """class name -> lower-cased column name -> effective column (inherited ones included)."""
    picklists: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    physical_columns: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)
    """class name -> lower-cased columns that its physical table really has."""

    @cached_property
    def _by_lower(self) -> dict[str, str]:
        return {name.lower(): name for name in self.classes}

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for cls in self.classes.values():
            if cls.base:
                children.setdefault(cls.base.lower(), []).append(cls.name)
        return children

    def find(self, name: str) -> PlantClass | None:
        """The class of that name in any case, or None."""
        actual = self._by_lower.get(name.lower())
        return self.classes[actual] if actual else None

    def chain(self, name: str) -> tuple[str, ...]:
        """Class names from `name` up to the root. Empty for an unknown class; cycles are cut."""
        names: list[str] = []
        current = self.find(name)
        while current is not None and current.name not in names:
            names.append(current.name)
            current = self.find(current.base) if current.base else None
        return tuple(names)

    def descendants(self, name: str) -> Iterator[str]:
        """`name` and every class below it, parents before children."""
        start = self.find(name)
        waiting = [start.name] if start else []
        seen: set[str] = set()
        while waiting:
            current = waiting.pop(0)
            if current in seen:
                continue
            seen.add(current)
            yield current
            waiting.extend(self._children.get(current.lower(), ()))

    def column(self, class_name: str, column: str) -> Column | None:
        """The effective column of a class, or None if the class has no such column."""
        cls = self.find(class_name)
        return self.columns.get(cls.name, {}).get(column.lower()) if cls else None
