"""One run from start to end, in the order of its five steps: read, decide, show, write, remember."""

from __future__ import annotations

from msgspec.structs import replace

from plant3d_sync.errors import GuardStop
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.run import did_its_work
from plant3d_sync.model.side import Direction
from plant3d_sync.run import leftovers, plan_store, second_look, telling
from plant3d_sync.run.both_sides import Reader, Sides, asks_for_everything, greet, remembered
from plant3d_sync.run.carry_out import Writing
from plant3d_sync.run.decide import make_plan
from plant3d_sync.run.life import Cancelled, Life, Underway
from plant3d_sync.run.plan_store import PlanStore
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.remember import Memory
from plant3d_sync.run.report import Report
from plant3d_sync.run.request import Request
from plant3d_sync.run.standing import Inputs, stands_so_far, still_stands
from plant3d_sync.state import links
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.state.runs import StoredPlan


class Engine:
    """Runs one project. Every entry point (CLI, worker) uses it, so there is one code path."""

    def __init__(self, world: World, project: Project) -> None:
        self._world = world
        self._project = project
        self._life = Life(world, project)
        self._plans = PlanStore(world, project, self._life)

    @property
    def ended_early(self) -> Report | None:
        """What the last run had come to when an error or Ctrl-C ended it; a plan that was refused shows its counts."""
        return self._life.ended_early

    def plan(self, request: Request) -> Report:
        """Decide and store the plan; write nothing else anywhere."""
        with self._life.clock(request, request.run_id):
            return self._plan(request)

    def run(self, request: Request) -> Report:
        """Plan and, if the guards pass, apply: the unattended path."""
        if request.dry_run:
            return self.plan(request)
        report = self._life.as_run(request, self._sync)
        if (
            request.trigger == "resolve"
            and did_its_work(report.status, report.outcome)
            and self._half_resolved()
        ):
            # a value chosen by hand goes to SYNAPSE first and, once read back there, into Plant 3D
            self._life.as_run(replace(request, run_id=None, attempt=None), self._sync)
        return report

    def apply(self, plan_id: str, *, approve_guards: bool, request: Request) -> Report:
        """Carry out exactly a stored plan; steps whose values moved since are refused as stale."""
        stored = plan_store.find(self._world, self._project, plan_id)
        if stored.status == "guarded" and not approve_guards:
            self._life.ended_early = telling.refused(stored)
            raise GuardStop(
                f"Plan {plan_id} was stopped by a guard. Nothing was written.",
                hint=f"Look at it (`show {plan_id}`), then `apply {plan_id} --approve-guards`.",
                code="guard",
                details={"guards": stored.header.get("guards", [])},
            )
        request.asked.direction = Direction(stored.direction)
        return self._life.as_run(
            request, lambda underway: self._apply_stored(stored, underway), applying=plan_id
        )

    # ------------------------------------------------------------------ what each of them does

    def _plan(self, request: Request) -> Report:
        world, project = self._world, self._project
        started = world.clock()
        known = remembered(world, project)
        greet(project, known)
        reader = Reader(world, project, known, keep=False)
        feed = reader.feed(full=asks_for_everything(project, known, full=request.asked.full))
        with reader.copied(feed) as sides:
            planned = make_plan(world, project, reader.fit(sides), request.asked)
            plan_id = self._plans.put(planned, request, run_id=None)
            report = telling.of_plan(
                project, planned, request.asked, plan_id=plan_id, run_id=None, started=started
            )
        report.dry_run = True
        report.outcome = "guarded" if planned.draft.guards else telling.outcome_of(report)
        report.completed_at = world.clock()
        return report

    def _sync(self, underway: Underway) -> Report:
        """Read both sides, unless the last decision stands: then there is nothing to do."""
        world, project, known, asked = self._world, self._project, underway.known, underway.request.asked
        greet(project, known)
        inputs = Inputs.of(project, known)
        stands = not underway.unsettled and stands_so_far(known, asked, inputs, world.clock())
        reader = Reader(world, project, known, keep=True, stop=self._life.stop_of(underway))
        feed = reader.feed(full=not stands and asks_for_everything(project, known, full=asked.full))
        if stands:
            looked_at = world.clock()
            decided = still_stands(project, known, asked, inputs, feed, looked_at)
            if decided is not None:
                return Memory(world, project, underway).end_unchanged(decided, feed, looked_at)
            if not feed.reset and asks_for_everything(project, known, full=asked.full):
                feed = reader.feed(full=True)  # a mapping that a guard stopped is still new
        with reader.copied(feed) as sides:
            return self._decide_and_write(underway, reader.fit(sides), inputs)

    def _decide_and_write(self, underway: Underway, sides: Sides, inputs: Inputs) -> Report:
        world, project, request = self._world, self._project, underway.request
        writing, memory = Writing(world, project, self._life, underway), Memory(world, project, underway)
        found = writing.recover(sides)
        sides = self._settled(underway, sides)
        with project.timed("compare"):
            planned = make_plan(world, project, sides, request.asked)
            plan_id = self._plans.put(planned, request, run_id=underway.run.run_id)
        report = telling.of_plan(
            project,
            planned,
            request.asked,
            plan_id=plan_id,
            run_id=underway.run.run_id,
            started=underway.run.started_at,
        )
        found.tell(report)
        if planned.draft.guards:
            return memory.end_guarded(planned, report, inputs)
        failpoint("guards.passed")
        execution = writing.execution(sides.known, sides.rules, plan_id)
        execution.outcome.findings.extend(found.findings)
        execution.stored_steps = True
        execution.just_read = sides.feed.news.keys()
        self._life.so_far.begin(report, execution.outcome)
        count = len(planned.draft.lines)
        planned.draft.lines.clear()
        writing.begin_with_mapping(sides.known, planned)
        writing.carry_out(execution, self._plans.chunks(plan_id, count), count, sides.snapshot)
        for _look in range(second_look.LOOKS):
            if not execution.outcome.refused:
                break
            second_look.look_again(writing, self._plans, planned, report, execution, request)
        execution.outcome.leave_refused()
        return memory.finish(planned, report, execution, inputs)

    def _apply_stored(self, stored: StoredPlan, underway: Underway) -> Report:
        from plant3d_sync.run.stale import split_stale

        world, project = self._world, self._project
        known = self._known()
        greet(project, known)
        reader = Reader(world, project, known, keep=True, stop=self._life.stop_of(underway))
        writing = Writing(world, project, self._life, underway)
        with reader.copied(reader.feed(full=False)) as sides:
            plan_store.check_still_fits(world, project, stored, sides)
            found = writing.recover(sides)
            sides = self._settled(underway, sides)
            steps, before = plan_store.take(world, project, stored, underway.run)
            fresh, stale = split_stale(world, sides, steps)
            execution = writing.execution(sides.known, sides.rules, stored.plan_id, approved=True)
            planned = telling.of_stored(stored)
            planned.lock_ms = sides.snapshot.lock_ms
            found.tell(planned)
            self._life.so_far.begin(planned, execution.outcome)
            for step, why in stale:
                execution.outcome.fail(step, telling.stale_error(step, why))
            writing.carry_out(execution, [lambda: fresh], len(fresh), sides.snapshot)
            execution.outcome.leave_refused()
            memory = Memory(world, project, underway)
            return memory.finish_stored(stored, sides, execution, found, written_before=before)

    # ------------------------------------------------------------------ what they share

    def _settled(self, underway: Underway, sides: Sides) -> Sides:
        """What other runs left half applied is closed; links are numbered from where they ended."""
        leftovers.settle(self._world, underway.lease.fence, underway.run.run_id, underway.begun_plans)
        return replace(sides, known=replace(sides.known, next_link=self._known().next_link))

    def _known(self) -> ProjectState:
        with self._world.state.read() as connection:
            known = project_state.get(connection, self._project.name)
        if known is None:
            raise AssertionError("the run made the project's row")
        return known

    def _half_resolved(self) -> bool:
        with self._world.state.read() as connection:
            known = project_state.get(connection, self._project.name)
            return known is not None and links.any_pending(connection, known.number, "resolving")


__all__ = ["Cancelled", "Engine", "Request"]
