"""Before a stored plan is applied: which of its steps still hold?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import msgspec

from plant3d_sync.model.link import Link
from plant3d_sync.model.record import PlantItem, Value
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
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.lines import reading_of
from plant3d_sync.run.project import World
from plant3d_sync.run.read_synapse import Feed
from plant3d_sync.state import links

UNDOING = ("undo", "undo_create")


def split_stale(
    world: World, sides: Sides, steps: Sequence[Step]
) -> tuple[list[Step], list[tuple[Step, str]]]:
    """Steps whose two sides still hold what the plan was made of, and the others with the reason."""
    known, feed, rules = sides.known, sides.feed, sides.rules
    digests = {
        step.pnpid: bytes.fromhex(step.after.digest)
        for step in steps
        if not isinstance(step, Push) and step.after.digest
    }
    moved: set[int] = set()
    seen: set[int] = set()
    items: dict[int, PlantItem] = {}
    wanted = {step.pnpid for step in steps}
    with world.state.read() as connection:
        reading = reading_of(connection, known.name, known.number, rules)
    for batch in sides.snapshot.scan(sorted(rules.classes), digests, reading):
        seen.update(batch.unchanged)
        seen.update(batch.unsettled)
        moved.update(batch.unsettled)
        for item in batch.changed:
            if reading.is_undrawn(item):
                continue  # a line without a segment is not there
            seen.add(item.pnpid)
            if item.pnpid in digests:
                moved.add(item.pnpid)
            if item.pnpid in wanted:
                items[item.pnpid] = item
    with world.state.read() as connection:
        linked = {
            link.plant3d_id: link
            for link in links.by_items(connection, known.number, [step.plant3d_id for step in steps], [])
        }
        loose = {row[2]: row[0] for row in links.unlinked(connection, known.number) if not row[4]}
    fresh: list[Step] = []
    stale: list[tuple[Step, str]] = []
    for step in steps:
        why = _why_stale(step, seen, moved, items, linked.get(step.plant3d_id), feed, loose, rules)
        if why is None:
            fresh.append(_with_conditions_of_today(step, linked.get(step.plant3d_id)))
        else:
            stale.append((step, why))
    return fresh, stale


def _with_conditions_of_today(step: Step, link: Link | None) -> Step:
    """The step was compared again with what SYNAPSE was seen to hold now, so that is what its write rests on.

    An archive keeps the version that the plan was made on: nobody compared what else was edited since.
    """
    if link is None or not isinstance(step, Update | Restore | Adopt):
        return step
    return msgspec.structs.replace(
        step, asset_version=link.asset_version, description_version=link.description_version
    )


def _why_stale(
    step: Step,
    seen: set[int],
    moved: set[int],
    items: dict[int, PlantItem],
    link: Link | None,
    feed: Feed,
    loose: dict[str, str],
    rules: RuleSet,
) -> str | None:
    if _undoes(step):
        return _why_undo_is_stale(step, link, rules)  # whether the item lives in Plant 3D does not matter
    if isinstance(step, Archive | Absent):
        return "The item is back in Plant 3D." if step.pnpid in seen else None
    if step.pnpid not in seen:
        return "The item is gone from Plant 3D."
    if isinstance(step, Push):
        return _stale_cells(step, items.get(step.pnpid), link, rules)
    if step.pnpid in moved:
        return "The item changed in Plant 3D."
    match step:
        case Create():
            again = link is not None and link.lost_in_synapse and bool(step.link_id)
            if (link is not None and not again) or step.plant3d_id in feed.news:
                return "SYNAPSE holds the asset already."
            return "SYNAPSE holds another asset with this tag." if step.tag in loose else None
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
        if name in step.set and not _same(rules, name, held.get(name), value):
            return f"{name} changed in SYNAPSE."
    return None


def _undoes(step: Step) -> bool:
    return isinstance(step, Update | Restore | Archive | Adopt | Push) and step.why.get("*") in UNDOING


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
        if link is not None and not _same(rules, cell.field, held.get(cell.field), cell.synapse):
            return f"{cell.field} changed in SYNAPSE."
        if item is None:
            continue  # unchanged since: the writer compares value and stamp again
        if item.values.get(cell.column) != cell.old:
            return f"{cell.field} changed in Plant 3D."
        if item.timestamp != cell.ticks:
            return "The item was saved in Plant 3D since."
    return None


def _same(rules: RuleSet, name: str, one: Value, two: Value) -> bool:
    if one == two:
        return True
    same = rules.same.get(name)
    return same is not None and same(one, two)
