"""An asset of SYNAPSE 0.2, and the canonical fields it carries.

Ours lives in `mechanical.plant3d_sync`: the identity, type and subtype, the attributes, and whether the asset is archived.
Whatever else `mechanical` holds belongs to others. 0.2 has no versions and no times: a version here is a fingerprint
of what we read, and says only whether something of it changed.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

import orjson

from plant3d_sync.model.fields import attribute_field
from plant3d_sync.model.record import Asset, FieldInfo, Value
from plant3d_sync.model.version import fingerprint

Raw = dict[str, Any]

NAMESPACE: Final = "plant3d_sync"
FORMAT: Final = 1
SAVED_TYPES: Final = frozenset({"INSTRUMENT", "MOTOR", "VALVE", "CONTROL_SYSTEM", "PUMP", "TANK"})
"""The words that SYNAPSE's own screens can save again."""

_BY_NAME: Final = (
    ("PUMP", re.compile(r"pump", re.I)),
    ("TANK", re.compile(r"tank", re.I)),
    ("MOTOR", re.compile(r"motor", re.I)),
)


def asset_id_of(project_id: str, plant3d_id: str) -> str:
    """The id of the asset that we create for an item: the same one whoever asks, whenever."""
    return str(uuid.uuid5(uuid.UUID(project_id), plant3d_id))


def type_word(asset_type: object, subtype: object, words: Mapping[str, str]) -> str:
    """SYNAPSE's `type`. `words`: subtype -> word, for classes known by their ancestry."""
    kind = str(asset_type or "Equipment").upper().replace(" ", "_")
    if kind in SAVED_TYPES:
        return kind
    known = words.get(str(subtype or ""))
    if known is not None:
        return known
    if kind == "EQUIPMENT":
        for word, pattern in _BY_NAME:
            if pattern.search(str(subtype or "")):
                return word
    return kind


def namespace_of(raw: Raw) -> Raw | None:
    """What we keep in the asset; None where it is missing or not ours to read."""
    mechanical = raw.get("mechanical")
    ours = mechanical.get(NAMESPACE) if isinstance(mechanical, dict) else None
    if not isinstance(ours, dict):
        return None
    identity = ours.get("plant3d_id")
    if not isinstance(identity, str) or not 0 < len(identity) <= 128:
        return None
    return ours


def is_archived(raw: Raw) -> bool:
    """Whether our mark says that the item is gone."""
    ours = namespace_of(raw)
    return ours is not None and ours.get("archived") is True


def to_asset(raw: Raw, plant3d_id: str | None, *, seq: int = 1) -> Asset:
    """An asset as the engine knows it. `plant3d_id`: its identity, if it is one of ours."""
    description = raw.get("description") or None
    ours = namespace_of(raw)
    fields: dict[str, Value] = {"tag": raw["tag"], "description": description}
    if plant3d_id is None:
        fields["asset_type"], fields["asset_subtype"] = str(raw.get("type") or ""), None
    elif ours is None:
        # one of ours without its namespace: nothing of it is known, so all of it is put back
        fields["asset_type"], fields["asset_subtype"] = None, None
    else:
        fields["asset_type"], fields["asset_subtype"] = (
            _text(ours, "asset_type"),
            _text(ours, "asset_subtype"),
        )
        attributes = ours.get("attributes")
        for key, value in (attributes if isinstance(attributes, dict) else {}).items():
            if isinstance(value, dict | list):
                value = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
            fields[attribute_field(key)] = None if value == "" else value
    archived = plant3d_id is not None and is_archived(raw)
    told = orjson.dumps([plant3d_id, archived, fields], option=orjson.OPT_SORT_KEYS)
    return Asset(
        asset_id=raw["id"],
        plant3d_id=plant3d_id,
        version=fingerprint(told),
        seq=seq,
        archived=archived,
        fields=fields,
        field_info={
            "description": FieldInfo(version=description_version(raw), updated_at=None, by="synapse")
        },
    )


def description_version(raw: Raw) -> int:
    """The fingerprint of the description."""
    return fingerprint((raw.get("description") or "").encode())


def _text(ours: Raw, name: str) -> str | None:
    value = ours.get(name)
    return value if isinstance(value, str) and value else None


def merged(stored: object, patch: Mapping[str, Any]) -> Raw:
    """RFC 7396: keys not named stay, null removes, objects merge."""
    result: Raw = dict(stored) if isinstance(stored, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key), value)
        else:
            result[key] = value
    return result


def with_namespace(raw: Raw | None, ours: Raw) -> Raw:
    """The whole `mechanical` of an asset with our part replaced."""
    mechanical = raw.get("mechanical") if raw else None
    return {**(mechanical if isinstance(mechanical, dict) else {}), NAMESPACE: ours}


def is_asset(value: object) -> bool:
    """Whether an answer is an asset with the members we rest on."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("id"), str)
        and isinstance(value.get("tag"), str)
        and isinstance(value.get("description"), str | None)
    )


def digest_of(versions: Mapping[str, int]) -> str:
    """One word for everything that was read."""
    lines = "\n".join(f"{asset_id} {version}" for asset_id, version in sorted(versions.items()))
    return hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()
