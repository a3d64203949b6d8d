"""What people are asked and told: conflicts, work for a designer, drift."""

from __future__ import annotations

from collections.abc import Mapping

from plant3d_sync.model.conflict import (
    ARCHIVED_IN_SYNAPSE,
    GONE_FROM_PLANT3D,
    WHOLE,
    ConflictDraft,
)
from plant3d_sync.model.link import Link
from plant3d_sync.model.record import Finding, PlantItem, Value
from plant3d_sync.model.side import Side
from plant3d_sync.reconcile.case import finding
from plant3d_sync.reconcile.fields import FieldCase
from plant3d_sync.reconcile.merge import NEW_COLUMN, NoBase
from plant3d_sync.words import said


def of_field(field: FieldCase, kind: str, *, suggestion: str, why: str) -> ConflictDraft:
    """A field that a person has to decide."""
    link, item, name = field.pair.link, field.pair.case.item, field.name
    asset = field.pair.case.asset
    info = asset.field_info.get(name) if asset is not None else None
    told = name == "description"
    return ConflictDraft(
        link_id=link.link_id or None,
        plant3d_id=link.plant3d_id,
        asset_id=link.asset_id,
        tag=field.pair.case.tag or link.tag,
        field=name,
        kind=kind,
        base=None if isinstance(field.base, NoBase) else field.base,
        has_base=not isinstance(field.base, NoBase),
        plant3d=field.asked_about,
        synapse=field.synapse,
        plant3d_seen=field.observed.get("p"),
        synapse_seen=field.observed.get("s"),
        synapse_at=info.updated_at if info else (link.description_at if told else None),
        synapse_by=info.by if info else (link.description_by if told else None),
        suggestion=suggestion,
        suggestion_reason=why,
        drawing=item.drawing,
        plant3d_ticks=item.timestamp,
    )


def archived_in_synapse(item: PlantItem, link: Link, tag: str | None) -> ConflictDraft:
    """The item lives and was edited; its asset was archived by a person."""
    return ConflictDraft(
        link_id=link.link_id or None,
        plant3d_id=link.plant3d_id,
        asset_id=link.asset_id,
        tag=tag or link.tag,
        field=WHOLE,
        kind=ARCHIVED_IN_SYNAPSE,
        base=link.tag,
        has_base=True,
        plant3d=None,
        synapse=None,
        plant3d_seen=None,
        synapse_seen=None,
        synapse_at=None,
        synapse_by=None,
        suggestion="plant3d",
        suggestion_reason="the item lives in Plant 3D, the asset is archived in SYNAPSE",
        drawing=item.drawing,
        plant3d_ticks=item.timestamp,
    )


def gone_from_plant3d(link: Link, edited: Mapping[str, Value]) -> ConflictDraft:
    """The item is gone; its asset was edited in SYNAPSE."""
    return ConflictDraft(
        link_id=link.link_id,
        plant3d_id=link.plant3d_id,
        asset_id=link.asset_id,
        tag=link.tag,
        field=WHOLE,
        kind=GONE_FROM_PLANT3D,
        base=link.tag,
        has_base=True,
        plant3d=None,
        synapse=in_words(edited),
        plant3d_seen=None,
        synapse_seen=None,
        synapse_at=link.description_at,
        synapse_by=link.description_by,
        suggestion="synapse",
        suggestion_reason="deleted in Plant 3D, edited in SYNAPSE",
        drawing=None,
    )


def in_words(edited: Mapping[str, Value]) -> str:
    """Edited fields as one text, to be shown and compared."""
    return ", ".join(f"{name}={value}" for name, value in sorted(edited.items()))


def work_item(field: FieldCase) -> dict[str, object]:
    """A value that a designer has to bring into the drawing."""
    item, tag, name = field.pair.case.item, field.pair.link.tag, field.name
    return {
        "pnpid": item.pnpid,
        "plant3d_id": item.guid,
        "tag": tag,
        "class": item.class_name,
        "field": name,
        "plant3d_value": field.plant3d,
        "synapse_value": field.synapse,
        "drawing": item.drawing,
        "reason": field.outcome.reason,
        "what": f"Change {name} of {tag} in drawing {item.drawing or '(no drawing)'}: "
        f"from {said(field.plant3d)} to {said(field.outcome.value)}",
    }


def kept_apart(field: FieldCase) -> Finding:
    """Two values that stay apart because a person, or the mapping, wants it."""
    item, name, tag = field.pair.case.item, field.name, field.pair.link.tag
    both = f"Plant 3D {said(field.plant3d)}, SYNAPSE {said(field.synapse)}"
    if field.outcome.reason == "held_after_undo":
        code = "kept_by_undo"
        message = f"{name} of {tag} stays apart since a run was undone: {both}."
        hint = "Type the value that holds on either side, or undo the undo."
    elif field.outcome.reason == NEW_COLUMN:
        code = "blank_kept"
        message = (
            f"{name} of {tag} stands in a column that is new in Plant 3D, was made again, or is back in the mapping, and it is "
            f"empty there: SYNAPSE keeps {said(field.synapse)}."
        )
        hint = "Type the value that holds into Plant 3D; if there is to be none, empty the field in SYNAPSE."
    else:
        code = "blank_kept"
        message = (
            f"{name} of {tag} is empty on one side, and the mapping lets no blank erase a value: {both}."
        )
        hint = "Fill the empty side or empty the other one, or let the mapping allow it (`blank: allow`)."
    data = {"plant3d": field.plant3d, "synapse": field.synapse, "drawing": item.drawing}
    return finding(item, tag, code, message, hint, column=name, data=data)


def undo_lost(field: FieldCase) -> Finding:
    """An earlier state of the row brought back what a run had put back on somebody's word."""
    item, name, tag = field.pair.case.item, field.name, field.pair.link.tag
    why = "the row in Plant 3D is of before that, as after a failover or an older copy"
    if field.undo_lost == Side.SYNAPSE.value:
        why = "the asset in SYNAPSE is of before that, as after a backup"
    message = f"{name} of {tag} holds {said(field.plant3d)} again, which an undo had taken out: {why}."
    hint = "Undo the same run again if it is still meant."
    data = {"value": field.plant3d, "drawing": item.drawing}
    return finding(item, tag, "undo_lost", message, hint, column=name, data=data)


def drift(field: FieldCase) -> Finding:
    """An edit on the side that does not own the field."""
    item, name, reason, tag = field.pair.case.item, field.name, field.outcome.reason, field.pair.link.tag
    message = (
        f"{name} of {tag} was edited on the side that does not own it: "
        f"Plant 3D {said(field.plant3d)}, SYNAPSE {said(field.synapse)}."
    ) + (" The owner's value was put back." if reason == "drift_restored" else "")
    hint = "Correct one side, or change the drift policy of the field."
    data = {"plant3d": field.plant3d, "synapse": field.synapse, "reason": reason, "drawing": item.drawing}
    return finding(item, tag, "drift", message, hint, column=name, data=data)
