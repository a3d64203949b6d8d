"""What a link remembers once a step is done. The base moves here, and only to what was read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from plant3d_sync.connectors.base import Creation, Echo
from plant3d_sync.model.link import Interval, Link, Open, known
from plant3d_sync.model.record import Asset, Value
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    After,
    Archive,
    Create,
    Restore,
    Settle,
    ToSynapse,
    Touch,
    Update,
    base_text,
)
from plant3d_sync.state import intents, links
from plant3d_sync.state.codec import dump

Same = Callable[[Value, Value], bool]


Known = Adopt | Update | Restore | Settle | Touch
"""Steps of pairs whose item was seen."""


def new_link(
    step: Create | Adopt | Update | Restore,
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
    after = step.after
    info = asset.field_info.get("description")
    return {
        "id": link_id,
        "project": number,
        "pnpid": step.pnpid,
        "plant3d_id": step.plant3d_id,
        "class_name": step.class_name,
        "entity": step.entity,
        "asset_id": asset.asset_id,
        "asset_version": asset.version,
        "description_version": info.version if info else None,
        "description_at": info.updated_at if info else None,
        "description_by": info.by if info else None,
        "tag": asset.tag,
        "state": "active",
        "gone_in_synapse": 0,
        "digest": bytes.fromhex(after.digest) if after.digest is not None else None,
        "ticks": after.ticks,
        "base": dump(base),
        "base_plant": dump(altered),
        "synapse_delta": None,
        "pending": None,
        "observed": None,
        "holds": None,
        "flips": None,
        "missing": None,
        "drawing": step.drawing,
        "run_id": run_id,
    }


def created_link(
    step: Create, asset: Asset, *, link_id: int, number: int, run_id: str
) -> tuple[dict[str, Any], str]:
    """Columns of a freshly created pair, and its base as JSON (the usual case, so it is kept lean).

    The base holds what was sent and, as empty, what Plant 3D is known to leave empty.
    """
    sent: Mapping[str, Value] = step.set
    held = asset.fields
    after = step.after
    blank = after.base_set
    if blank:  # empty on both sides: agreed on too, so that filling one is a change
        sent = {**sent, **blank}
    base = {name: held.get(name) for name in sent}
    text = dump(base) or "{}"
    info = asset.field_info.get("description")
    row: dict[str, Any] = {
        "id": link_id,
        "project": number,
        "pnpid": step.pnpid,
        "plant3d_id": step.plant3d_id,
        "class_name": step.class_name,
        "entity": step.entity,
        "asset_id": asset.asset_id,
        "asset_version": asset.version,
        "description_version": info.version if info else None,
        "description_at": info.updated_at if info else None,
        "description_by": info.by if info else None,
        "tag": asset.tag,
        "state": "active",
        "digest": bytes.fromhex(after.digest or ""),
        "ticks": after.ticks,
        "base": text,
        "drawing": step.drawing,
        "run_id": run_id,
    }
    if base != sent:
        row["base_plant"] = dump({name: value for name, value in sent.items() if base[name] != value})
    if after.pending:
        row["pending"] = dump(after.pending)
        row["synapse_delta"] = dump({name: held.get(name) for name in after.pending})
    return row, text


def created_rows(
    steps: Sequence[Create],
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
    for link_id, (step, write, echo) in enumerate(zip(steps, writes, echoes, strict=True), first):
        after, identity = step.after, step.plant3d_id
        info = echo.description
        rows.append(
            (
                link_id,
                number,
                step.pnpid,
                identity,
                step.class_name,
                step.entity,
                echo.asset_id,
                echo.version,
                info.version,
                info.updated_at,
                info.by,
                step.tag,
                "active",
                from_hex(after.digest or ""),
                after.ticks or 0,
                base_text(write.text, bytes(after.blank)),
                step.drawing,
                run_id,
                key_of(identity),
            )
        )
    return rows


def moved_base(
    link: Link, step: Create | Known, asset: Asset | None, sent: Mapping[str, Value]
) -> dict[str, Any]:
    """Columns of a link after a step that changed, settled or just saw it.

    `asset`: what SYNAPSE holds after the write (None when nothing was written there). `sent`: what was written.
    """
    after = _after(step)
    base: dict[str, Value] = dict(link.base or {})
    base_plant: dict[str, Value] = dict(link.base_plant)
    for name, value in after.base_set.items():
        base[name] = value
        base_plant.pop(name, None)
    base_plant |= after.plant_set
    held = dict(asset.fields) if asset is not None else link.synapse_fields()
    for name, value in sent.items():
        if name in after.pending:
            continue  # a choice that Plant 3D does not hold yet: the base must not move
        stored = held.get(name)
        base[name] = stored
        if stored != value:
            base_plant[name] = value
        else:
            base_plant.pop(name, None)
    delta = {name: held.get(name) for name in base if held.get(name) != base[name]}
    pending: dict[str, Open] = {}
    for name, entry in after.pending.items():
        pending[name] = entry
        if name in sent and entry.given is not UNSET:
            given = (sent[name], held.get(name))
            pending[name] = msgspec.structs.replace(entry, synapse=held.get(name), given=given)
        if name not in base:
            delta[name] = held.get(name, known(entry.synapse))
    columns: dict[str, Any] = {
        "state": after.state.value,
        "base": dump(base) or "{}",
        "base_plant": dump(base_plant),
        "synapse_delta": dump(delta),
        "pending": dump(pending),
        "observed": dump(_observed(after)),
        "holds": dump(after.holds),
        "flips": dump({**link.flips, **after.flips}),
        "missing": None,
        "class_name": step.class_name,
        "pnpid": step.pnpid,
        "drawing": step.drawing,
        "digest": bytes.fromhex(after.digest) if after.digest is not None else None,
        "ticks": after.ticks,
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


def _after(step: Create | Known) -> After:
    """What a step says that the link will remember; of a creation, what it says of the item."""
    if isinstance(step, Create):
        born = step.after
        return After(digest=born.digest, ticks=born.ticks, pending=born.pending, base_set=born.base_set)
    return step.after


def _observed(after: After) -> dict[str, dict[str, Interval]]:
    """Intervals of the fields that are still open."""
    return {name: sides for name, sides in after.observed.items() if sides}


def gone_columns(step: Absent | Archive) -> dict[str, Any]:
    """Columns of a link whose item was not seen."""
    return {"state": step.after.state.value, "missing": dump(step.after.missing), "digest": None}


def change_row(
    *,
    number: int,
    run_id: str,
    intent_id: int,
    link_id: int | None,
    step: ToSynapse,
    outcome: str,
    asset: Asset | None,
    at: float,
) -> dict[str, Any]:
    """The change entry of one written asset: field -> [old, new as read back, the rule that decided]."""
    sent: Mapping[str, Value] = {} if isinstance(step, Archive) else step.set
    was: Mapping[str, Value] = {} if isinstance(step, Create | Archive) else step.was
    why: Mapping[str, str] = {} if isinstance(step, Create) else step.why
    fields = {
        name: [was.get(name), asset.fields.get(name) if asset is not None else value]
        for name, value in sent.items()
    }
    return {
        "project": number,
        "run_id": run_id,
        "intent_id": intent_id,
        "link_id": link_id,
        "pnpid": step.pnpid,
        "tag": asset.tag if asset is not None and asset.tag else step.tag,
        "side": "synapse",
        "op": step.op.value,
        "outcome": outcome,
        "fields": dump(intents.fields_with_why(fields, why)) or "{}",
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
