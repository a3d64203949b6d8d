"""Whether a step that was decided some time ago still holds."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import assert_never

import msgspec

from plant3d_sync.model.conflict import WHOLE
from plant3d_sync.model.link import Link
from plant3d_sync.model.record import PlantItem
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.step import (
    Absent,
    Adopt,
    Archive,
    Create,
    Push,
    Restore,
    Settle,
    Step,
    Touch,
    Update,
)

UNDOING = ("undo", "undo_create")


class Today(msgspec.Struct, frozen=True, kw_only=True):
    """What both sides hold now of the items of a plan.

    `seen`: rows that are there; `moved`: those that changed since the plan; `items`: rows of the plan that were read.
    `there`: identities that some row carries, of items that the plan misses.
    `news`: identities of which SYNAPSE showed something new; `loose`: tags of live assets without a link.
    """

    seen: Container[int]
    moved: Container[int]
    items: Mapping[int, PlantItem]
    links: Mapping[str, Link]
    there: Container[str]
    news: Container[str]
    loose: Container[str]
    rules: RuleSet


def with_conditions_of_today(step: Step, link: Link | None) -> Step:
    """The step was compared again with what SYNAPSE was seen to hold now, so that is what its write rests on.

    An archive keeps the version that the plan was made on: nobody compared what else was edited since.
    """
    if link is None or not isinstance(step, Update | Restore | Adopt):
        return step
    return msgspec.structs.replace(
        step, asset_version=link.asset_version, description_version=link.description_version
    )


def why_stale(step: Step, today: Today) -> str | None:
    """Why the step must not be carried out any more, None if it may."""
    link, rules = today.links.get(step.plant3d_id), today.rules
    if _undoes(step):
        return _why_undo_is_stale(step, link, rules)  # whether the item lives in Plant 3D does not matter
    if isinstance(step, Archive | Absent):
        back = step.pnpid in today.seen or step.plant3d_id in today.there
        return "The item is back in Plant 3D." if back else None
    if step.pnpid not in today.seen:
        return "The item is gone from Plant 3D."
    if isinstance(step, Push):
        return _stale_cells(step, today.items.get(step.pnpid), link, rules)
    if step.pnpid in today.moved:
        return "The item changed in Plant 3D."
    match step:
        case Create():
            again = link is not None and link.lost_in_synapse and bool(step.link_id)
            if (link is not None and not again) or step.plant3d_id in today.news:
                return "SYNAPSE holds the asset already."
            return "SYNAPSE holds another asset with this tag." if step.tag in today.loose else None
        case Adopt() if link is None:
            return None
        case Update() | Restore() | Adopt():
            return _stale_fields(step, link, rules)
        case Settle() | Touch():
            return None if link is not None else "The item is not linked any more."
        case _:
            assert_never(step)


def _stale_fields(step: Update | Restore | Adopt, link: Link | None, rules: RuleSet) -> str | None:
    if link is None:
        return "The item is not linked any more."
    held = link.synapse_fields()
    for name, value in step.was.items():
        if name in step.set and not rules.is_same(name, held.get(name), value):
            return f"{name} changed in SYNAPSE."
    return None


def _undoes(step: Step) -> bool:
    return isinstance(step, Update | Restore | Archive | Adopt | Push) and step.why.get(WHOLE) in UNDOING


def _why_undo_is_stale(step: Step, link: Link | None, rules: RuleSet) -> str | None:
    if link is None:
        return "The item is not linked any more."
    if link.archived_in_synapse != isinstance(step, Restore):
        return "The asset was archived or restored in SYNAPSE."
    return _stale_fields(step, link, rules) if isinstance(step, Update | Restore) else None


def _stale_cells(step: Push, item: PlantItem | None, link: Link | None, rules: RuleSet) -> str | None:
    if link is not None and link.archived_in_synapse:
        return "The asset was archived in SYNAPSE."
    held = link.synapse_fields() if link is not None else {}
    for cell in step.cells:
        if link is not None and not rules.is_same(cell.field, held.get(cell.field), cell.synapse):
            return f"{cell.field} changed in SYNAPSE."
        if item is None:
            continue  # unchanged since: the writer compares value and stamp again
        if item.values.get(cell.column) != cell.old:
            return f"{cell.field} changed in Plant 3D."
        if item.timestamp != cell.ticks:
            return "The item was saved in Plant 3D since."
    return None
