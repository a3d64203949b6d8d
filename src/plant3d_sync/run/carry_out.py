"""Step 4: what one run writes, into SYNAPSE first and then into Plant 3D, and what it finds that a dead run wrote."""

from __future__ import annotations

from collections.abc import Sequence

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.decide import Planned
from plant3d_sync.run.execution import Execution, Outcome
from plant3d_sync.run.life import Life, Underway
from plant3d_sync.run.plan_store import NOTHING_WRITTEN
from plant3d_sync.run.portions import Chunk
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.recover import Recovered, recover_plant3d, recover_synapse
from plant3d_sync.run.write_plant3d import apply_push
from plant3d_sync.run.write_synapse import apply_steps
from plant3d_sync.state import projects as project_state
from plant3d_sync.state import runs, seals
from plant3d_sync.state.projects import ProjectState

_HALF_WAY = "?"
"""Behind the digest of a mapping: a run began to write under another one, and did not come to its end."""


class Writing:
    """Carries out the plans of one run that is under way."""

    def __init__(self, world: World, project: Project, life: Life, underway: Underway) -> None:
        self._world = world
        self._project = project
        self._life = life
        self._underway = underway

    def execution(
        self, known: ProjectState, rules: RuleSet, plan_id: str, *, approved: bool = False
    ) -> Execution:
        """What carrying out a plan needs. `approved`: a person applies it."""
        outcome, underway = Outcome(), self._underway
        return Execution(
            world=self._world,
            project=self._project,
            known=known,
            lease=underway.lease,
            run_id=underway.run.run_id,
            plan_id=plan_id,
            rules=rules,
            actor=underway.request.by,
            outcome=outcome,
            approved=approved,
            stop=lambda: self._life.stop(underway.run.run_id, underway.request, outcome.progress),
            next_link=known.next_link,
        )

    def recover(self, sides: Sides) -> Recovered:
        """Settle what an earlier run wrote and did not hear of, before anything is decided."""
        with self._world.state.read() as connection:
            seals.check_recovery(connection, self._project.name, nothing=NOTHING_WRITTEN)
        execution = self.execution(sides.known, sides.rules, "recovery")
        return Recovered(
            synapse=recover_synapse(execution, sides.feed),
            plant3d=recover_plant3d(execution, sides.snapshot),
            findings=execution.outcome.findings,
        )

    def begin_with_mapping(self, known: ProjectState, planned: Planned) -> None:
        """Before the first write under another mapping: whatever ends this run early, and whichever mapping the next one
        has, that one compares everything, because some pairs were agreed under this one.
        """
        before = known.mapping_digest
        if before is None or before == planned.mapping_digest or before.endswith(_HALF_WAY):
            return
        with self._world.state.write() as connection:
            self._underway.lease.fence.check(connection)
            project_state.update(connection, self._project.name, mapping_digest=before + _HALF_WAY)

    def carry_out(
        self, execution: Execution, chunks: Sequence[Chunk], total: int, snapshot: PlantSnapshot
    ) -> None:
        """Write the steps of a plan; nothing is decided any more."""
        with self._world.state.write() as connection:
            runs.set_plan(
                connection,
                execution.plan_id,
                status="applying",
                applied_by=execution.actor,
                applied_at=self._world.clock(),
            )
        with self._project.timed("write"):
            pushed = apply_steps(execution, chunks, total)
        if pushed:
            with self._project.timed("push"):
                apply_push(execution, pushed, snapshot)
