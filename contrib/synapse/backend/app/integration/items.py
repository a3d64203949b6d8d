# Made from plant3d-sync by its `dev.py contrib`: change it there.
"""Reads the items of a batch: strictly, one by one, so that a bad item is only its own error."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from app.integration.fields import SHARED_FIELDS, Changes, Refused, check_set
from app.integration.jsons import Json

ARCHIVE_MEMBERS = frozenset({"op", "plant3d_id", "if_version", "ref"})
UPSERT_MEMBERS = ARCHIVE_MEMBERS | {"set", "if_field_versions", "link_by_tag", "restore"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """Create the asset of this `plant3d_id`, or change it."""

    index: int
    plant3d_id: str
    changes: Changes
    if_version: int | None
    if_description: int | None
    link_by_tag: bool
    restore: bool
    ref: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Retire the asset of this `plant3d_id`; it keeps its id and gives up its tag."""

    index: int
    plant3d_id: str
    if_version: int | None
    ref: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadItem:
    """An item that was refused before any asset was looked at."""

    index: int
    plant3d_id: str | None
    ref: str | None
    refusal: Refused


Item: TypeAlias = Upsert | Archive | BadItem


def read_items(raw: Sequence[Json]) -> list[Item]:
    """Every item, in order; all items of a `plant3d_id` that occurs twice are refused."""
    seen = Counter(key for entry in raw if (key := readable_key(entry)) is not None)
    return [read_item(index, entry, seen) for index, entry in enumerate(raw)]


def readable_key(entry: Json) -> str | None:
    """The item's `plant3d_id` if it is a valid one."""
    value = entry.get("plant3d_id") if isinstance(entry, dict) else None
    return value if isinstance(value, str) and valid_key(value) else None


def valid_key(value: str) -> bool:
    """1 to 128 characters, none of them a control character."""
    if not 1 <= len(value) <= 128:
        return False
    return value.isprintable() or not any(unicodedata.category(char) == "Cc" for char in value)


def read_item(index: int, entry: Json, seen: Mapping[str, int]) -> Item:
    """One item, or the reason why it is none."""
    key = readable_key(entry)
    ref = entry.get("ref") if isinstance(entry, dict) else None
    ref = ref if isinstance(ref, str) and len(ref) <= 64 else None
    try:
        if not isinstance(entry, dict):
            raise Refused("invalid_value", None, "an item must be an object")
        if key is not None and seen[key] > 1:
            raise Refused(
                "duplicate_in_batch", "plant3d_id", "this plant3d_id occurs more than once in the batch"
            )
        return read_archive(index, entry) if read_op(entry) == "archive" else read_upsert(index, entry)
    except Refused as refusal:
        return BadItem(index=index, plant3d_id=key, ref=ref, refusal=refusal)


def read_op(entry: Mapping[str, Json]) -> str:
    if "op" not in entry:
        raise Refused("missing_field", "op", "op is required")
    op = entry["op"]
    if op not in ("upsert", "archive"):
        raise Refused("invalid_value", "op", "op must be upsert or archive")
    return str(op)


def read_key(entry: Mapping[str, Json]) -> str:
    if "plant3d_id" not in entry:
        raise Refused("missing_field", "plant3d_id", "plant3d_id is required")
    key = readable_key(dict(entry))
    if key is None:
        message = "plant3d_id needs 1 to 128 characters without control characters"
        raise Refused("invalid_value", "plant3d_id", message)
    return key


def read_archive(index: int, entry: Mapping[str, Json]) -> Archive:
    refuse_unknown(entry, ARCHIVE_MEMBERS)
    return Archive(
        index=index,
        plant3d_id=read_key(entry),
        if_version=read_version(entry, "if_version", least=1),
        ref=read_ref(entry),
    )


def read_upsert(index: int, entry: Mapping[str, Json]) -> Upsert:
    refuse_unknown(entry, UPSERT_MEMBERS)
    key = read_key(entry)
    members = entry.get("set")
    if "set" not in entry:
        raise Refused("missing_field", "set", "set is required")
    if not isinstance(members, dict):
        raise Refused("invalid_value", "set", "set must be an object")
    return Upsert(
        index=index,
        plant3d_id=key,
        changes=check_set(members),
        if_version=read_version(entry, "if_version", least=0),
        if_description=read_field_versions(entry),
        link_by_tag=read_flag(entry, "link_by_tag"),
        restore=read_flag(entry, "restore"),
        ref=read_ref(entry),
    )


def refuse_unknown(entry: Mapping[str, Json], known: frozenset[str]) -> None:
    for name in entry:
        if name not in known:
            raise Refused("unknown_field", name, "an item of this op has no such member")


def read_version(entry: Mapping[str, Json], name: str, *, least: int) -> int | None:
    if name not in entry:
        return None
    value = entry[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise Refused("invalid_value", name, f"{name} must be an integer of at least {least}")
    return value


def read_field_versions(entry: Mapping[str, Json]) -> int | None:
    if "if_field_versions" not in entry:
        return None
    versions = entry["if_field_versions"]
    if not isinstance(versions, dict):
        raise Refused("invalid_value", "if_field_versions", "if_field_versions must be an object")
    for name in versions:
        if name not in SHARED_FIELDS:
            raise Refused(
                "unknown_field", f"if_field_versions.{name}", "only shared fields have versions of their own"
            )
    return read_version(versions, "description", least=1)


def read_flag(entry: Mapping[str, Json], name: str) -> bool:
    value = entry.get(name, False)
    if not isinstance(value, bool):
        raise Refused("invalid_value", name, f"{name} must be true or false")
    return value


def read_ref(entry: Mapping[str, Json]) -> str | None:
    if "ref" not in entry:
        return None
    value = entry["ref"]
    if not isinstance(value, str) or len(value) > 64:
        raise Refused("invalid_value", "ref", "ref may have at most 64 characters")
    return value
