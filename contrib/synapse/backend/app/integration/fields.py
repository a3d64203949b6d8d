# Made from plant3d-sync by its `dev.py contrib`: change it there.
"""Which fields a sync may write, and what each may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.integration.assets import WIRE_NAMES
from app.integration.jsons import Json, canonical, merge_patch, parse_object, storage_fault

WRITABLE_FIELDS = ("tag", "asset_type", "asset_subtype", "description", "attributes")
SHARED_FIELDS = ("description",)
OWNED_ATTRIBUTE_KEYS = ("spec", "size", "rating", "range", "setpoint", "loop", "line_number", "drawing_ref")
MAX_ATTRIBUTES_BYTES = 64 * 1024
LINE_ENDS = frozenset("\n\r\u2028\u2029")


class Refused(Exception):
    """A value or an item that cannot be taken: the item's `code`, the culprit `field`, and why."""

    def __init__(self, code: str, field: str | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A checked `set`: plain fields that were sent, and the attribute patch if one was sent."""

    texts: Mapping[str, str | None]
    attributes: Mapping[str, Json] | None

    @property
    def tag(self) -> str | None:
        return self.texts.get("tag")


def check_text(field: str, value: Json, limit: int) -> str:
    """A text of at most `limit` characters that a database can hold."""
    if not isinstance(value, str):
        raise Refused("invalid_value", field, f"{field} must be a text")
    if len(value) > limit:
        raise Refused("invalid_value", field, f"{field} may have at most {limit} characters")
    if "\x00" in value:
        raise Refused("invalid_value", field, f"{field} must not contain NUL characters")
    return value


def check_tag(value: Json) -> str:
    """A tag: 1 to 100 characters on one line, no outer blanks."""
    tag = check_text("tag", value, 100)
    if not tag or tag != tag.strip() or not LINE_ENDS.isdisjoint(tag):
        raise Refused(
            "invalid_value", "tag", "tag needs 1 to 100 characters on one line without outer blanks"
        )
    return tag


def check_asset_type(value: Json) -> str:
    """An asset type: free text of 1 to 50 characters until SYNAPSE settles its list."""
    asset_type = check_text("asset_type", value, 50)
    if not asset_type:
        raise Refused("invalid_value", "asset_type", "asset_type must not be empty")
    return asset_type


def optional_text(field: str, limit: int) -> Callable[[Json], str | None]:
    """The check of a text that may be null."""

    def check(value: Json) -> str | None:
        return None if value is None else check_text(field, value, limit)

    return check


def check_attributes(value: Json) -> dict[str, Json]:
    """A merge patch: an object whose values can be stored."""
    if not isinstance(value, dict):
        raise Refused("invalid_value", "attributes", "attributes must be an object")
    if fault := storage_fault(value):
        raise Refused("invalid_value", "attributes", f"attributes: {fault}")
    return value


TEXT_CHECKS: Mapping[str, Callable[[Json], str | None]] = {
    "tag": check_tag,
    "asset_type": check_asset_type,
    "asset_subtype": optional_text("asset_subtype", 100),
    "description": optional_text("description", 4000),
}


def check_set(members: Mapping[str, Json]) -> Changes:
    """Check what a sync wants to write; the first bad member refuses the whole, nothing is dropped."""
    texts: dict[str, str | None] = {}
    attributes: dict[str, Json] | None = None
    for field, value in members.items():
        if check := TEXT_CHECKS.get(field):
            texts[field] = check(value)
        elif field == "attributes":
            attributes = check_attributes(value)
        elif field in WIRE_NAMES:
            raise Refused("field_not_writable", field, f"{field} is not written by a sync")
        else:
            raise Refused("unknown_field", field, "no such field")
    return Changes(texts=texts, attributes=attributes)


def merged_attributes(stored: str, patch: Mapping[str, Json] | None) -> str:
    """The stored attributes after the patch, as canonical text; too large is refused."""
    if not patch:
        return stored
    text = canonical(merge_patch(parse_object(stored), patch))
    if len(text.encode()) > MAX_ATTRIBUTES_BYTES:
        raise Refused("attributes_too_large", "attributes", "attributes would exceed 64 KiB as JSON")
    return text
