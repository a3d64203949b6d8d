# Made from plant3d-sync by its `dev.py contrib`: change it there.
"""JSON values: canonical text, merge patch (RFC 7396), and the checks that any stored JSON must pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, cast

import orjson

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"

MAX_DEPTH = 100


def canonical(value: Json) -> str:
    """One text for equal JSON values: sorted keys, no blanks. 1, 1.0 and true stay different."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def parse(data: bytes) -> Json:
    """Read JSON, else raise ValueError. Integers beyond 64 bits become floats, as in most JSON readers."""
    return cast(Json, orjson.loads(data))


def parse_object(text: str) -> dict[str, Json]:
    """Read a stored object, which `canonical` wrote."""
    return cast("dict[str, Json]", orjson.loads(text))


def merge_patch(target: Mapping[str, Json], patch: Mapping[str, Json]) -> dict[str, Json]:
    """RFC 7396: null removes a key, an object merges into an object, anything else replaces."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            inside = merged.get(key)
            merged[key] = merge_patch(inside if isinstance(inside, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def storage_fault(value: Json) -> str | None:
    """Why this JSON cannot be stored (a NUL character, or nesting without end), or None."""
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Json] = []
        for node in level:
            if isinstance(node, str):
                if "\x00" in node:
                    return "NUL characters cannot be stored"
            elif isinstance(node, dict):
                if any("\x00" in key for key in node):
                    return "NUL characters cannot be stored"
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
        if not below:
            return None
        level = below
    return f"nested deeper than {MAX_DEPTH} levels"
