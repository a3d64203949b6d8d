"""What a mapping would bring of a Plant 3D project, with nothing known of SYNAPSE."""

from __future__ import annotations

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.model.coverage import Coverage, settled
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.schema import Step
from plant3d_sync.model.side import Direction, Entity
from plant3d_sync.reconcile.planning import Knowledge, Planner
from plant3d_sync.run.decide import by_entity
from plant3d_sync.run.spool import LineSpool


def expected_coverage(snapshot: PlantSnapshot, rules: RuleSet, step: Step | None = None) -> Coverage:
    """As the first pull of an empty SYNAPSE project would leave it. `step`: a change of the schema that waits."""
    know = Knowledge(
        now=0.0,
        now_iso="",
        direction=Direction.PULL,
        entities=frozenset(Entity),
        catalog=snapshot.catalog,
        schema=step,
    )
    planner = Planner(rules, know, LineSpool)
    classes = sorted(rules.classes)
    for batch in snapshot.scan(classes, {}, rules.reading):
        for item in batch.changed:
            planner.see(item, None, None)
    draft = planner.finish()
    whole = by_entity(rules, snapshot.counts(classes))
    same_line = by_entity(rules, snapshot.folded)
    return Coverage.total(
        settled(stats.to_dict(), draft.reasons.get(name, {}), whole.get(name, 0), same_line.get(name, 0))
        for name, stats in draft.by_entity.items()
    )
