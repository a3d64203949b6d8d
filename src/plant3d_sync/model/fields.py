"""The canonical fields of an asset, flat as everything here compares them, and grouped as SYNAPSE holds them.

Flat, `attributes.size` is a field like `tag`. Grouped, it is the key `size` of the object `attributes`; only the first dot
separates, so an attribute called `a.b` is the field `attributes.a.b`. What is created stays grouped text from the plan to
SYNAPSE, into the base and into the history, so it is never taken apart on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from plant3d_sync.model.record import Value

ATTRIBUTES: Final = "attributes"
ATTRIBUTE: Final = "attributes."
Grouped = Mapping[str, Value | dict[str, Value]]
"""Columns of an asset by name, and its attributes by key under `attributes`."""


def attribute_key(field: str) -> str | None:
    """The key of the attribute that a field is, None if it is none."""
    return field[len(ATTRIBUTE) :] or None if field.startswith(ATTRIBUTE) else None


@lru_cache(maxsize=5000)
def attribute_field(key: str) -> str:
    """The field that an attribute is. Its name is made once; SYNAPSE may hold any key, so not every one is kept."""
    return ATTRIBUTE + key


def grouped(fields: Mapping[str, Value]) -> dict[str, Value | dict[str, Value]]:
    """Flat fields as SYNAPSE holds them; a field that is no attribute stays where it is."""
    columns: dict[str, Value | dict[str, Value]] = {}
    attributes: dict[str, Value] = {}
    for name, value in fields.items():
        key = attribute_key(name)
        if key is None:
            columns[name] = value
        else:
            attributes[key] = value
    if attributes:
        columns[ATTRIBUTES] = attributes
    return columns


def flat(values: Grouped) -> dict[str, Value]:
    """Fields as everything here compares them; what is flat already stays as it is."""
    fields: dict[str, Value] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            for key, one in value.items():
                fields[attribute_field(key)] = one
        else:
            fields[name] = value
    return fields
