"""Step 3: the plan as it is stored, shown and carried out; and whether a stored one still may be."""

from __future__ import annotations

from collections.abc import Sequence

from plant3d_sync.errors import NeedsPersonError, NotFoundError
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.step import Step
from plant3d_sync.reconcile.case import FOLLOWED
from plant3d_sync.run import leftovers, preflight, telling
from plant3d_sync.run.both_sides import Sides
from plant3d_sync.run.decide import Planned
from plant3d_sync.run.life import Life
from plant3d_sync.run.portions import Chunk
from plant3d_sync.run.project import POLICY_DIGITS, Project, World
from plant3d_sync.run.request import Request
from plant3d_sync.state import runs, seals
from plant3d_sync.state.runs import Run, StoredPlan

NOTHING_WRITTEN = "Nothing was written."
HEADER_ERRORS = 5000
"""How many row errors a stored plan carries; the run table holds them all."""


class PlanStore:
    """Stores the plans of one project's runs, and reads their steps again, sealed, when they are carried out."""

    def __init__(self, world: World, project: Project, life: Life) -> None:
        self._world = world
        self._project = project
        self._life = life
        self._sealed: dict[str, list[str]] = {}

    def put(
        self, planned: Planned, request: Request, *, run_id: str | None, follows: str | None = None
    ) -> str:
        """Store a plan; returns its id. `follows`: the plan of which this one decides some items anew, in the same run."""
        world, draft = self._world, planned.draft
        plan_id = world.new_id()
        stored = StoredPlan(
            plan_id=plan_id,
            project=self._project.name,
            direction=request.asked.direction.value,
            status="guarded" if draft.guards else ("approved" if run_id else "draft"),
            created_at=world.clock(),
            created_by=request.by,
            run_id=run_id,
            fingerprint=draft.fingerprint,
            mapping_digest=planned.mapping_digest,
            identity=planned.sides.snapshot.identity,
            signature=planned.sides.signature,
            header=self._header(planned, request, follows),
            lines=len(draft.lines),
            chunks=(len(draft.lines) + runs.CHUNK_LINES - 1) // runs.CHUNK_LINES,
        )
        failpoint("plan.before_store")
        with world.state.write() as connection:
            self._sealed[plan_id] = runs.put_plan(connection, stored, draft.lines)
            if run_id is not None:
                runs.update(connection, run_id, plan_id=plan_id)
        if follows is None:
            self._life.so_far.plan_id = plan_id
        failpoint("plan.stored")
        return plan_id

    def _header(self, planned: Planned, request: Request, follows: str | None) -> dict[str, object]:
        draft = planned.draft
        header: dict[str, object] = {
            "stats": draft.stats.to_dict(),
            "by_entity": {name: stats.to_dict() for name, stats in draft.by_entity.items()},
            "push_stats": draft.push_stats.to_dict(),
            "guards": [hit.to_dict() for hit in draft.guards],
            "errors": [error.to_dict() for error in draft.errors[:HEADER_ERRORS]],
            "errors_total": len(draft.errors),
            "conflicts": [conflict.to_dict() for conflict in draft.conflicts[:HEADER_ERRORS]],
            "work_items": draft.work_items[:HEADER_ERRORS],
            "writes": draft.writes,
            "waiting_for_person": draft.waiting_for_person,
            "remembered": draft.remembered,
            "reads_until_pending": self._project.config.missing.reads,
            "entity_types": sorted(entity.value for entity in request.asked.entities),
            "lock_ms": planned.sides.snapshot.lock_ms,
            "carries_out": sorted(choice for choice, fate in draft.fates.items() if fate == FOLLOWED),
        }
        return header if follows is None else {**header, "follows": follows}

    def chunks(self, plan_id: str, lines: int) -> list[Chunk]:
        """The steps of a plan that was just stored, read when they are carried out."""
        count = (lines + runs.CHUNK_LINES - 1) // runs.CHUNK_LINES
        digests = self._sealed.pop(plan_id)

        def reader(number: int) -> Chunk:
            def read() -> Sequence[Step]:
                with self._world.state.read() as connection:
                    return runs.steps_of(connection, plan_id, number, digest=digests[number])

            return read

        return [reader(number) for number in range(count)]


# ------------------------------------------------------------------ a stored plan


def find(world: World, project: Project, plan_id: str) -> StoredPlan:
    """A plan that may be carried out as far as it is concerned itself. Raises NotFoundError, NeedsPersonError."""
    with world.state.read() as connection:
        seals.check_plan(connection, project.name, plan_id, nothing=NOTHING_WRITTEN)
        stored = runs.get_plan(connection, plan_id)
    if stored is None or stored.project != project.name:
        raise NotFoundError(f"There is no plan {plan_id} of {project.name}.", hint="List plans with `runs`.")
    if stored.status == "applied":
        raise NeedsPersonError(
            f"Plan {plan_id} was applied already. Nothing was written.",
            hint="Make a new plan.",
            code="plan_applied",
        )
    if stored.status in ("superseded", "expired"):
        raise NeedsPersonError(
            f"{telling.superseded(stored)} Nothing was written.",
            hint="What is left is planned anew by the next run; make a new plan to see it.",
            code=f"plan_{stored.status}",
        )
    return stored


def check_still_fits(world: World, project: Project, stored: StoredPlan, sides: Sides) -> None:
    """The plan is of these rules and of this database, or a person approved the difference. Raises NeedsPersonError
    `plan_stale`, and what the questions of `preflight` raise.
    """
    moved = _what_changed(stored.mapping_digest, sides.mapping_digest(project))
    if moved and not stored.undo_of:
        raise NeedsPersonError(
            f"{moved} since the plan was made. Nothing was written.",
            hint="Make a new plan.",
            code="plan_stale",
        )
    seen = sides.snapshot.identity
    if stored.identity is not None and stored.identity.dbid != seen.dbid:
        raise NeedsPersonError(
            "The plan was made for another Plant 3D database. Nothing was written.",
            hint="Check the project's source, then make a new plan.",
            code="plan_stale",
        )
    preflight.check_neighbours(world, project, seen)
    preflight.check_source(sides.known, seen, approved=_guards_of(stored))


def take(world: World, project: Project, stored: StoredPlan, run: Run) -> tuple[list[Step], int]:
    """The plan belongs to this run from now on. Returns the steps that are left, and how many were written before."""
    with world.state.write() as connection:
        if not runs.set_plan(
            connection,
            stored.plan_id,
            expect=("draft", "guarded", "approved", "applying"),
            run_id=run.run_id,
        ):
            raise NeedsPersonError(
                f"Plan {stored.plan_id} was settled by another run meanwhile. Nothing was written.",
                code="plan_applied",
            )
        runs.update(connection, run.run_id, plan_id=stored.plan_id)
    with world.state.read() as connection:
        seals.check_plan(connection, project.name, stored.plan_id, nothing=NOTHING_WRITTEN)
        before = leftovers.done_steps(connection, stored)
        every = runs.all_steps(connection, stored)
        return [step for step in every if not before or not leftovers.is_done(step, before)], len(before)


def _guards_of(stored: StoredPlan) -> frozenset[str]:
    """Names of the guards that stopped a plan; who applies it has approved them, and no others."""
    return frozenset(hit.name for hit in stored.guards)


def _what_changed(then: str, now: str) -> str:
    """What makes the rules of a plan differ from those of today, in words; empty if nothing does.

    Both are "token of the mapping's files, token of the project's policies, `:`, digest of the compiled rules".
    """
    if then == now:
        return ""
    files_then, files_now = then.partition(":")[0], now.partition(":")[0]
    if files_then[:-POLICY_DIGITS] != files_now[:-POLICY_DIGITS]:
        return "The mapping changed"
    if files_then != files_now:
        return "A setting of the project (`write`, `conflict` or `drift`) changed"
    return "The classes or columns of the Plant 3D project changed"
