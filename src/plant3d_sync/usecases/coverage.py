"""What a pull would leave of a Plant 3D project now, by what is remembered, without asking SYNAPSE."""

from __future__ import annotations

import msgspec

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.model.coverage import Coverage
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.both_sides import Sides, remembered
from plant3d_sync.run.decide import make_plan
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.read_synapse import Feed
from plant3d_sync.run.schema import Look
from plant3d_sync.run.telling import coverage_of


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """`coverage`: of all kinds together, as the next pull would tell it. `look`: the catalogue as it was accepted and as it
    is. `left_alone`: assets of classes that the mapping does not bring.
    """

    coverage: Coverage
    look: Look
    left_alone: int


def expected_coverage(world: World, project: Project, snapshot: PlantSnapshot, rules: RuleSet) -> Expected:
    """The plan of a pull in which SYNAPSE has no news, counted as a run counts it. Writes nothing and asks nobody.

    A project without a state is seen as the first pull of an empty SYNAPSE project would see it. Raises what deciding raises.
    """
    known = remembered(world, project)
    now = world.clock()
    sides = Sides(
        known=known,
        feed=Feed(cursor=known.feed_cursor, started_at=now),
        snapshot=snapshot,
        signature=None,
        copied_after=now,
        rules=rules,
    )
    planned = make_plan(world, project, sides, Asked())
    parts = coverage_of({name: stats.to_dict() for name, stats in planned.draft.by_entity.items()}, planned)
    left = sum(finding.code == "out_of_mapping" for finding in planned.draft.findings)
    if planned.schema is None:
        raise AssertionError("a plan of everything looks at the schema")
    return Expected(coverage=Coverage.total(parts.values()), look=planned.schema, left_alone=left)
