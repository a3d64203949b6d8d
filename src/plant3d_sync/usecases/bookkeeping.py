"""What a link remembers once a line is done. The base moves here, and only to what was read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plant3d_sync.connectors.base import Creation, Echo
from plant3d_sync.model.creation import CreationLine, base_text
from plant3d_sync.model.link import Link
from plant3d_sync.model.record import Asset, Value
from plant3d_sync.state import intents, links
from plant3d_sync.state.codec import dump

Same = Callable[[Value, Value], bool]


def new_link(
    line: Mapping[str, Any],
    asset: Asset,
    *,
    link_id: int,
    number: int,
    run_id: str,
    fields: Mapping[str, Value],
) -> dict[str, Any]:
    """Columns of the link that a creation or adoption makes.

    `fields`: Plant 3D's values that were sent. The base is what SYNAPSE gave back for them.
    """
    base = {name: asset.fields.get(name) for name in fields}
    altered = {name: value for name, value in fields.items() if base[name] != value}
    after = line.get("after") or {}
    info = asset.field_info.get("description")
    return {
        "id": link_id,
        "project": number,
        "pnpid": line["pnpid"],
        "plant3d_id": line["id"],
        "class_name": line["class"],
        "entity": line["entity"],
        "asset_id": asset.asset_id,
        "asset_version": asset.version,
        "description_version": info.version if info else None,
        "description_at": info.updated_at if info else None,
        "description_by": info.by if info else None,
        "tag": asset.tag,
        "state": "active",
        "gone_in_synapse": 0,
        "digest": bytes.fromhex(after["digest"]) if "digest" in after else None,
        "ticks": after.get("ticks"),
        "base": dump(base),
        "base_plant": dump(altered),
        "synapse_delta": None,
        "pending": None,
        "observed": None,
        "holds": None,
        "flips": None,
        "missing": None,
        "drawing": line.get("drawing"),
        "run_id": run_id,
    }


def created_link(
    line: Mapping[str, Any], asset: Asset, *, link_id: int, number: int, run_id: str
) -> tuple[dict[str, Any], str]:
    """Columns of a freshly created pair, and its base as JSON (the usual case, so it is kept lean).

    The base holds what was sent and, as empty, what Plant 3D is known to leave empty.
    """
    sent: Mapping[str, Value] = line["set"]
    held = asset.fields
    after = line["after"]
    blank = after.get("base_set")
    if blank:  # empty on both sides: agreed on too, so that filling one is a change
        sent = {**sent, **blank}
    base = {name: held.get(name) for name in sent}
    text = dump(base) or "{}"
    info = asset.field_info.get("description")
    row: dict[str, Any] = {
        "id": link_id,
        "project": number,
        "pnpid": line["pnpid"],
        "plant3d_id": line["id"],
        "class_name": line["class"],
        "entity": line["entity"],
        "asset_id": asset.asset_id,
        "asset_version": asset.version,
        "description_version": info.version if info else None,
        "description_at": info.updated_at if info else None,
        "description_by": info.by if info else None,
        "tag": asset.tag,
        "state": "active",
        "digest": bytes.fromhex(after["digest"]),
        "ticks": after["ticks"],
        "base": text,
        "drawing": line.get("drawing"),
        "run_id": run_id,
    }
    if base != sent:
        row["base_plant"] = dump({name: value for name, value in sent.items() if base[name] != value})
    if "pending" in after:
        row["pending"] = dump(after["pending"])
        row["synapse_delta"] = dump({name: held.get(name) for name in after["pending"]})
    return row, text


def created_rows(
    lines: Sequence[CreationLine],
    writes: Sequence[Creation],
    echoes: Sequence[Echo],
    *,
    first: int,
    number: int,
    run_id: str,
) -> list[links.CreatedRow]:
    """As `created_link` for assets that are just what was sent; their link ids go up from `first`."""
    rows: list[links.CreatedRow] = []
    key_of, from_hex = links.key_of, bytes.fromhex
    for link_id, (line, write, echo) in enumerate(zip(lines, writes, echoes, strict=True), first):
        after, identity = line.after, line.plant3d_id
        info = echo.description
        rows.append(
            (
                link_id,
                number,
                line.pnpid,
                identity,
                line.class_name,
                line.entity,
                echo.asset_id,
                echo.version,
                info.version,
                info.updated_at,
                info.by,
                line.tag,
                "active",
                from_hex(after.digest),
                after.ticks,
                base_text(write.text, bytes(after.base_set)),
                line.drawing,
                run_id,
                key_of(identity),
            )
        )
    return rows


def moved_base(
    link: Link, line: Mapping[str, Any], asset: Asset | None, sent: Mapping[str, Value]
) -> dict[str, Any]:
    """Columns of a link after a line that changed, settled or just saw it.

    `asset`: what SYNAPSE holds after the write (None when nothing was written there). `sent`: what was written.
    """
    after = line.get("after") or {}
    base: dict[str, Value] = dict(link.base or {})
    base_plant: dict[str, Value] = dict(link.base_plant)
    for name, value in (after.get("base_set") or {}).items():
        base[name] = value
        base_plant.pop(name, None)
    for name, value in (after.get("plant_set") or {}).items():
        base_plant[name] = value
    held = dict(asset.fields) if asset is not None else link.synapse_fields()
    for name, value in sent.items():
        if name in (after.get("pending") or {}):
            continue  # a choice that Plant 3D does not hold yet: the base must not move
        stored = held.get(name)
        base[name] = stored
        if stored != value:
            base_plant[name] = value
        else:
            base_plant.pop(name, None)
    delta = {name: held.get(name) for name in base if held.get(name) != base[name]}
    pending = after.get("pending") or {}
    for name, entry in pending.items():
        if name in sent and "given" in entry:
            entry["s"], entry["given"] = held.get(name), [sent[name], held.get(name)]
        if name not in base:
            delta[name] = held.get(name, entry.get("s"))
    columns: dict[str, Any] = {
        "state": after.get("state", "active"),
        "base": dump(base) or "{}",
        "base_plant": dump(base_plant),
        "synapse_delta": dump(delta),
        "pending": dump(pending),
        "observed": dump(_observed(after, delta)),
        "holds": dump(after.get("holds")),
        "flips": dump({**{k: list(v) for k, v in link.flips.items()}, **(after.get("flips") or {})}),
        "missing": None,
        "class_name": line["class"],
        "pnpid": line["pnpid"],
        "drawing": line.get("drawing"),
        "digest": bytes.fromhex(after["digest"]) if "digest" in after else None,
        "ticks": after.get("ticks"),
        "asset_id": link.asset_id,
        "asset_version": link.asset_version,
        "description_version": link.description_version,
        "description_at": link.description_at,
        "description_by": link.description_by,
        "tag": link.tag,
        "gone_in_synapse": int(link.archived_in_synapse),
    }
    if asset is not None:
        info = asset.field_info.get("description")
        columns |= {
            "asset_id": asset.asset_id,
            "asset_version": asset.version,
            "description_version": info.version if info else None,
            "description_at": info.updated_at if info else None,
            "description_by": info.by if info else None,
            "tag": asset.tag or link.tag,
            "gone_in_synapse": int(asset.archived),
        }
    return columns


def _observed(after: Mapping[str, Any], delta: Mapping[str, Value]) -> dict[str, Any]:
    """Intervals of the fields that are still open."""
    observed = dict(after.get("observed") or {})
    return {name: sides for name, sides in observed.items() if sides}


def gone_columns(line: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a link whose item was not seen."""
    after = line.get("after") or {}
    return {"state": after["state"], "missing": dump(after.get("missing")), "digest": None}


def change_row(
    *,
    number: int,
    run_id: str,
    intent_id: int,
    link_id: int | None,
    line: Mapping[str, Any],
    outcome: str,
    asset: Asset | None,
    at: float,
) -> dict[str, Any]:
    """The change entry of one written asset: field -> [old, new as read back, the rule that decided]."""
    sent: Mapping[str, Value] = line.get("set") or {}
    was: Mapping[str, Value] = line.get("was") or {}
    fields = {
        name: [was.get(name), asset.fields.get(name) if asset is not None else value]
        for name, value in sent.items()
    }
    return {
        "project": number,
        "run_id": run_id,
        "intent_id": intent_id,
        "link_id": link_id,
        "pnpid": line["pnpid"],
        "tag": asset.tag if asset is not None and asset.tag else line["tag"],
        "side": "synapse",
        "op": line["op"],
        "outcome": outcome,
        "fields": dump(intents.fields_with_why(fields, line.get("why") or {})) or "{}",
        "at": at,
    }


__all__ = [
    "change_row",
    "created_rows",
    "created_link",
    "gone_columns",
    "links",
    "moved_base",
    "new_link",
]
