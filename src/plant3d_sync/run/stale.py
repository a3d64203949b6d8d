"""Before a stored plan is applied: which of its steps still hold?"""

from __future__ import annotations

from collections.abc import Sequence

from plant3d_sync.model.record import PlantItem
from plant3d_sync.model.step import Absent, Archive, Push, Step
from plant3d_sync.reconcile.stale import Today, why_stale, with_conditions_of_today
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.lines import reading_of
from plant3d_sync.run.project import World
from plant3d_sync.state import links


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
    there: set[str] = set()
    wanted = {step.pnpid for step in steps}
    missed = {step.plant3d_id for step in steps if isinstance(step, Archive | Absent)}
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
            if item.guid in missed:
                there.add(item.guid)  # in another row, perhaps
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
    today = Today(
        seen=seen,
        moved=moved,
        items=items,
        links=linked,
        there=there,
        news=feed.news,
        loose=loose,
        rules=rules,
    )
    fresh: list[Step] = []
    stale: list[tuple[Step, str]] = []
    for step in steps:
        why = why_stale(step, today)
        if why is None:
            fresh.append(with_conditions_of_today(step, linked.get(step.plant3d_id)))
        else:
            stale.append((step, why))
    return fresh, stale
