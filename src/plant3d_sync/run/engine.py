"""One run from start to end: lease, feed, snapshot, recovery, plan, guards, apply, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from plant3d_sync.connectors.base import PlantSnapshot
from plant3d_sync.errors import (
    ConfigError,
    GuardStop,
    Interrupted,
    NeedsPersonError,
    NotFoundError,
    RetryLaterError,
    SyncError,
)
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.link import LinkState
from plant3d_sync.model.plan import GuardHit
from plant3d_sync.model.rules import RuleSet
from plant3d_sync.model.run import did_its_work
from plant3d_sync.model.side import Direction
from plant3d_sync.model.step import Step
from plant3d_sync.model.tally import End
from plant3d_sync.run import leftovers, mapping_diff, preflight, second_look, telling
from plant3d_sync.run.decide import Planned, make_plan
from plant3d_sync.run.life import Cancelled, Life
from plant3d_sync.run.project import POLICY_DIGITS, Project, World
from plant3d_sync.run.read_synapse import Feed, read_feed
from plant3d_sync.run.recount import recount
from plant3d_sync.run.recover import Recovered, recover_synapse
from plant3d_sync.run.remember import Memory, count_records
from plant3d_sync.run.report import Report
from plant3d_sync.run.request import Request
from plant3d_sync.run.standing import (
    Inputs,
    Standing,
    repeat,
    stands_so_far,
)
from plant3d_sync.run.unfinished import SoFar
from plant3d_sync.run.write_plant3d import apply_push, recover_plant3d
from plant3d_sync.run.write_synapse import Chunk, Execution, Outcome, apply_steps
from plant3d_sync.state import findings as finding_state
from plant3d_sync.state import intents, links, runs, seals
from plant3d_sync.state import plans as stored_plans
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.state.runs import Run, StoredPlan
from plant3d_sync.state.tally import LOCKS

NOTHING_WRITTEN = "Nothing was written."
HEADER_ERRORS = 5000
"""How many row errors a stored plan carries; the run table holds them all."""


_HALF_WAY = "?"
"""Behind the digest of a mapping: a run began to write under another one, and did not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beginning:
    """What the state says right after the lease was taken."""

    known: ProjectState
    open_intents: bool
    begun_plans: list[str]
    """Plans that another run left half applied."""


class Engine:
    """Runs one project. Every entry point (CLI, worker) uses it, so there is one code path."""

    def __init__(self, world: World, project: Project) -> None:
        self._world = world
        self._project = project
        self._copied_after = 0.0
        """When the last copy began: what it does not show yet happened after this moment."""
        self._life = Life(world, project)
        self._sealed: dict[str, list[str]] = {}

    @property
    def ended_early(self) -> Report | None:
        """What the last run had come to when an error or Ctrl-C ended it; a plan that was refused shows its counts."""
        return self._life.ended_early

    # ------------------------------------------------------------------ plan only

    def plan(self, request: Request) -> Report:
        """Decide and store the plan; write nothing else anywhere."""
        with self._life.clock(request, request.run_id):
            return self._plan(request)

    def _plan(self, request: Request) -> Report:
        world, project = self._world, self._project
        started = world.clock()
        with world.state.read() as connection:
            known = project_state.get(connection, project.name) or ProjectState(name=project.name, number=0)
        preflight.check_synapse_project(self._project, known)
        known.skew = project.synapse.capabilities().skew_seconds
        feed = read_feed(world, project, known, full=self._full_feed(known, request), keep=False)
        snapshot, signature = self._snapshot()
        try:
            preflight.check_neighbours(world, project, snapshot.identity)
            if self._has_new_rules(known, project.rules(snapshot.catalog), feed):
                feed = read_feed(world, project, known, full=True, keep=False)
            planned = make_plan(world, project, known, feed, snapshot, signature, request.asked)
            plan_id = self._store_plan(planned, request, run_id=None)
            report = telling.of_plan(
                self._project, planned, request.asked, plan_id=plan_id, run_id=None, started=started
            )
        finally:
            snapshot.close()
        report.dry_run = True
        report.outcome = "guarded" if planned.draft.guards else telling.outcome_of(report)
        report.completed_at = world.clock()
        return report

    def mapping_diff(self, request: Request) -> dict[str, Any]:
        """What the mapping as it is now would change in SYNAPSE. Stores and writes nothing."""
        world, project = self._world, self._project
        with self._life.clock(request, None):
            with world.state.read() as connection:
                known = project_state.get(connection, project.name)
            known = known or ProjectState(name=project.name, number=0)
            preflight.check_synapse_project(project, known)
            known.skew = project.synapse.capabilities().skew_seconds
            feed = read_feed(world, project, known, full=True, keep=False)
            snapshot, signature = self._snapshot()
            try:
                planned = make_plan(world, project, known, feed, snapshot, signature, request.asked)
                with world.state.read() as connection:
                    leaving = [
                        {"pnpid": brief.pnpid, "tag": brief.tag, "class": brief.class_name}
                        for brief in links.briefs(connection, known.number)
                        if brief.class_name not in planned.rules.classes
                        and brief.state in (LinkState.ACTIVE, LinkState.MISSING, LinkState.PENDING)
                    ]
                return mapping_diff.document(
                    planned, leaving, project=project.name, last=known.mapping_digest
                )
            finally:
                snapshot.close()

    # ------------------------------------------------------------------ run

    def run(self, request: Request) -> Report:
        """Plan and, if the guards pass, apply: the unattended path."""
        if request.dry_run:
            return self.plan(request)
        report = self._as_run(request, lambda run, lease, begun: self._sync(request, run, lease, begun))
        if (
            request.trigger == "resolve"
            and did_its_work(report.status, report.outcome)
            and self._half_resolved()
        ):
            # a value chosen by hand goes to SYNAPSE first and, once read back there, into Plant 3D
            second = replace(request, run_id=None, attempt=None)
            self._as_run(second, lambda run, lease, begun: self._sync(second, run, lease, begun))
        return report

    def _half_resolved(self) -> bool:
        with self._world.state.read() as connection:
            known = project_state.get(connection, self._project.name)
            return known is not None and links.any_pending(connection, known.number, "resolving")

    def apply(self, plan_id: str, *, approve_guards: bool, request: Request) -> Report:
        """Carry out exactly a stored plan; lines whose values moved since are refused as stale."""
        with self._world.state.read() as connection:
            seals.one_moment(connection)
            seals.check_plan(connection, self._project.name, plan_id, nothing=NOTHING_WRITTEN)
            stored = runs.get_plan(connection, plan_id)
        if stored is None or stored.project != self._project.name:
            raise NotFoundError(
                f"There is no plan {plan_id} of {self._project.name}.", hint="List plans with `runs`."
            )
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
        if stored.status == "guarded" and not approve_guards:
            self._life.ended_early = telling.refused(stored)
            raise GuardStop(
                f"Plan {plan_id} was stopped by a guard. Nothing was written.",
                hint=f"Look at it (`show {plan_id}`), then `apply {plan_id} --approve-guards`.",
                code="guard",
                details={"guards": stored.header.get("guards", [])},
            )
        request.asked.direction = Direction(stored.direction)
        return self._as_run(
            request,
            lambda run, lease, begun: self._apply_stored(stored, request, run, lease, begun),
            applying=plan_id,
        )

    def _as_run(
        self,
        request: Request,
        work: Callable[[Run, Lease, _Beginning], Report],
        *,
        applying: str | None = None,
    ) -> Report:
        world = self._world
        self._life.so_far, self._life.ended_early = SoFar(plan_id=applying), None
        run = self._life.start(request)
        try:
            with (
                Lease(
                    world.state,
                    self._project.name,
                    run.run_id,
                    seconds=world.lease_seconds,
                    on_beat=lambda: self._life.beat(run.run_id),
                ) as lease,
                self._life.clock(request, run.run_id),
            ):
                with world.state.write() as connection:
                    runs.update(connection, run.run_id, fence=lease.fence.number)
                    for ended in runs.end_abandoned(
                        connection,
                        run,
                        fence=lease.fence.number,
                        now=world.clock(),
                        silent_since=world.clock() - world.lease_seconds,
                    ):
                        recount(connection, ended)
                    begun = _Beginning(
                        known=project_state.ensure(connection, self._project.name),
                        open_intents=intents.any_open(connection, self._project.name),
                        begun_plans=stored_plans.begun(connection, self._project.name, but=applying),
                    )
                report = work(run, lease, begun)
        except Cancelled:
            return self._life.end_cancelled(run)
        except RetryLaterError as error:
            self._life.count_trouble(error)
            if request.attempt is None:
                self._life.end_failed(run, error)
            else:
                self._life.leave_to_claimer()
            raise
        except SyncError as error:
            self._life.end_failed(run, error)
            raise
        except KeyboardInterrupt:
            if request.attempt is not None:
                raise  # the run is its claimer's
            interrupted = Interrupted(
                "Interrupted. What was written is recorded.", hint="The next run continues."
            )
            self._life.end_failed(run, interrupted, outcome="cancelled")
            raise interrupted from None
        return report

    # ------------------------------------------------------------------ the unattended path

    def _sync(self, request: Request, run: Run, lease: Lease, begun: _Beginning) -> Report:
        world, project, known = self._world, self._project, begun.known
        preflight.check_synapse_project(self._project, known)
        known.skew = project.synapse.capabilities().skew_seconds
        unsettled = begun.open_intents or begun.begun_plans

        def stop(entries: int) -> None:
            self._life.stop(run.run_id, request, entries)

        inputs = Inputs.of(project, known)
        stands = not unsettled and stands_so_far(known, request.asked, inputs, world.clock())
        full = self._full_feed(known, request)
        with self._life.timed("read_synapse"):
            feed = read_feed(world, project, known, full=full and not stands, keep=True, stop=stop)
        quiet = self._nothing_happened(request, run, known, feed, inputs) if stands else None
        if quiet is not None:
            return quiet
        if full and not feed.reset:  # a mapping that a guard stopped is still new
            with self._life.timed("read_synapse"):
                feed = read_feed(world, project, known, full=True, keep=True, stop=stop)
        snapshot, signature = self._snapshot()
        try:
            preflight.check_neighbours(world, project, snapshot.identity)
            rules = project.rules(snapshot.catalog)
            if self._has_new_rules(known, rules, feed):
                with self._life.timed("read_synapse"):
                    feed = read_feed(world, project, known, full=True, keep=True)
            found = self._recover(run, lease, known, rules, feed, snapshot, request)
            leftovers.settle(world, lease.fence, run.run_id, begun.begun_plans)
            known = replace(known, next_link=self._known().next_link)
            with self._life.timed("compare"):
                planned = make_plan(world, project, known, feed, snapshot, signature, request.asked)
                plan_id = self._store_plan(planned, request, run_id=run.run_id)
            report = telling.of_plan(
                self._project,
                planned,
                request.asked,
                plan_id=plan_id,
                run_id=run.run_id,
                started=run.started_at,
            )
            found.tell(report)
            if planned.draft.guards:
                return self._memory().end_guarded(run, planned, report, lease, request, inputs)
            failpoint("guards.passed")
            execution = self._execution(run, lease, known, rules, plan_id, request, approved=False)
            execution.outcome.findings.extend(found.findings)
            execution.stored_steps = True
            execution.just_read = feed.news.keys()
            self._life.so_far.begin(report, execution.outcome)
            count = len(planned.draft.lines)
            planned.draft.lines.clear()
            self._begin_with_mapping(lease, known, planned)
            self._carry_out(execution, self._chunks(plan_id, count), count, snapshot)
            for _look in range(second_look.LOOKS):
                if not execution.outcome.refused:
                    break
                self._look_again(run, planned, report, execution, feed, request)
            return self._memory().finish(run, planned, report, execution, feed, request, inputs)
        finally:
            snapshot.close()

    def _begin_with_mapping(self, lease: Lease, known: ProjectState, planned: Planned) -> None:
        """Before the first write under another mapping: whatever ends this run early, and whichever mapping the next one
        has, that one compares everything, because some pairs were agreed under this one.
        """
        before = known.mapping_digest
        if before is None or before == planned.mapping_digest or before.endswith(_HALF_WAY):
            return
        with self._world.state.write() as connection:
            lease.fence.check(connection)
            project_state.update(connection, self._project.name, mapping_digest=before + _HALF_WAY)

    def _look_again(
        self,
        run: Run,
        planned: Planned,
        report: Report,
        execution: Execution,
        feed: Feed,
        request: Request,
    ) -> None:
        """Decide anew, and write, what SYNAPSE refused because somebody edited it since it was read."""
        failpoint("run.refused")
        refused = execution.outcome.refused
        whose = frozenset(step.plant3d_id for step in refused)
        known = replace(execution.known, next_link=execution.next_link, feed_read_at=feed.started_at)
        seen = Feed(cursor=feed.cursor, started_at=feed.started_at)  # the links hold what was read
        again = make_plan(
            self._world,
            self._project,
            known,
            seen,
            planned.snapshot,
            planned.signature,
            request.asked,
            only=whose,
        )
        if again.draft.guards:
            refused.clear()  # their errors stand; the next run decides
            return
        plan_id = self._store_plan(again, request, run_id=None, follows=execution.plan_id)
        second_look.take_back(report, execution.outcome, refused)
        outcome = Outcome()
        second = replace(
            execution, plan_id=plan_id, outcome=outcome, stored_steps=False, just_read=frozenset()
        )
        count = len(again.draft.lines)
        self._carry_out(second, self._chunks(plan_id, count), count, planned.snapshot)
        execution.next_link = second.next_link
        with self._world.state.write() as connection:
            runs.set_plan(connection, plan_id, status="applied")
        second_look.add_up(planned, report, execution.outcome, again, outcome)

    def _known(self) -> ProjectState:
        with self._world.state.read() as connection:
            known = project_state.get(connection, self._project.name)
        if known is None:
            raise AssertionError("the run made the project's row")
        return known

    def _memory(self) -> Memory:
        return Memory(self._world, self._project, copied_after=self._copied_after)

    def _full_feed(self, known: ProjectState, request: Request) -> bool:
        """A new mapping may need fields that were never kept: read SYNAPSE from the beginning."""
        if known.mapping_digest is None:
            return known.feed_cursor is None
        token = known.mapping_digest.split(":", 1)[0]
        return request.asked.full or token != self._project.mapping_token()

    def _has_new_rules(self, known: ProjectState, rules: RuleSet, feed: Feed) -> bool:
        """Whether the project grew or lost a mapped column: what SYNAPSE holds in such a field was never kept."""
        if known.mapping_digest is None or feed.reset:
            return False
        if known.mapping_version is None:
            return True  # a state of an earlier version, which passed such fields over
        return known.mapping_digest != f"{self._project.mapping_token()}:{rules.digest}"

    def _snapshot(self) -> tuple[PlantSnapshot, str | None]:
        self._copied_after = self._world.clock()
        signature = self._project.source.signature()
        with self._life.timed("copy"):
            snapshot = self._project.source.snapshot()
        if snapshot.lock_ms > 0:
            self._project.counts.observe("lock", seconds=snapshot.lock_ms / 1000, bounds=LOCKS)
        if signature != self._project.source.signature():
            signature = None  # it moved while we copied: never take this for "unchanged"
        return snapshot, signature

    def _nothing_happened(
        self, request: Request, run: Run, known: ProjectState, feed: Feed, inputs: Inputs
    ) -> Report | None:
        """The cheap test in front: what was decided stands, because none of its inputs moved."""
        decided = Standing.of(known.standing)
        looked_at = self._world.clock()
        if decided is None or decided.moved(known, request.asked, inputs, looked_at):
            return None
        if feed.news or feed.unlinked or feed.reset:
            return None
        if self._project.source.signature() != decided.signature:
            return None
        now = self._world.clock()
        report = Report(
            project=self._project.name,
            direction=request.asked.direction.value,
            run_id=run.run_id,
            started_at=run.started_at,
            completed_at=now,
            extra={"unchanged_source": True, "decided_by": decided.run_id},
        )
        with self._world.state.write() as connection:
            count = int(decided.told["errors"])
            errors = runs.errors(connection, decided.run_id, limit=count) if count else []
            repeat(decided, request.asked, report, [telling.row_error(error) for error in errors])
            open_findings = finding_state.counts_by_code(connection, known.number)
            report.stats["findings"] = sum(open_findings.values())
            report.extra["findings_by_code"] = open_findings
            ending = replace(telling.ending(report), errors=None, errors_total=len(report.errors))
            runs.end(connection, run.run_id, ending)
            if report.outcome != "guarded":
                project_state.update(
                    connection,
                    self._project.name,
                    plant_read_at=looked_at,
                    feed_read_at=feed.started_at,
                    skew=known.skew,
                    **project_state.succeeded(request.asked.direction, now),
                )
                count_records(self._project, report)
            self._life.store_counts(connection)
        return report

    def _recover(
        self,
        run: Run,
        lease: Lease,
        known: ProjectState,
        rules: RuleSet,
        feed: Feed,
        snapshot: PlantSnapshot,
        request: Request,
    ) -> Recovered:
        with self._world.state.read() as connection:
            seals.one_moment(connection)
            seals.check_recovery(connection, self._project.name, nothing=NOTHING_WRITTEN)
        execution = self._execution(run, lease, known, rules, "recovery", request, approved=False)
        return Recovered(
            synapse=recover_synapse(execution, feed),
            plant3d=recover_plant3d(execution, snapshot),
            findings=execution.outcome.findings,
        )

    def _execution(
        self,
        run: Run,
        lease: Lease,
        known: ProjectState,
        rules: RuleSet,
        plan_id: str,
        request: Request,
        *,
        approved: bool,
    ) -> Execution:
        outcome = Outcome()
        return Execution(
            world=self._world,
            project=self._project,
            known=known,
            lease=lease,
            run_id=run.run_id,
            plan_id=plan_id,
            rules=rules,
            actor=request.by,
            outcome=outcome,
            approved=approved,
            stop=lambda: self._life.stop(run.run_id, request, outcome.progress),
            next_link=known.next_link,
        )

    def _chunks(self, plan_id: str, lines: int) -> list[Chunk]:
        count = (lines + runs.CHUNK_LINES - 1) // runs.CHUNK_LINES
        digests = self._sealed.pop(plan_id)

        def reader(number: int) -> Chunk:
            def read() -> Sequence[Step]:
                with self._world.state.read() as connection:
                    return runs.steps_of(connection, plan_id, number, digest=digests[number])

            return read

        return [reader(number) for number in range(count)]

    def _carry_out(
        self,
        execution: Execution,
        chunks: Sequence[Chunk],
        total: int,
        snapshot: PlantSnapshot,
    ) -> None:
        with self._world.state.write() as connection:
            runs.set_plan(
                connection,
                execution.plan_id,
                status="applying",
                applied_by=execution.actor,
                applied_at=self._world.clock(),
            )
        with self._life.timed("write"):
            pushed = apply_steps(execution, chunks, total)
        if pushed:
            with self._life.timed("push"):
                apply_push(execution, pushed, snapshot)

    # ------------------------------------------------------------------ plans

    def _store_plan(
        self, planned: Planned, request: Request, *, run_id: str | None, follows: str | None = None
    ) -> str:
        """`follows`: the plan of which this one decides some items anew, in the same run."""
        world, draft = self._world, planned.draft
        plan_id = world.new_id()
        status = "guarded" if draft.guards else ("approved" if run_id else "draft")
        header: dict[str, Any] = {
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
            "reads_until_pending": self._project.config.missing.reads,
            "entity_types": sorted(entity.value for entity in request.asked.entities),
            "lock_ms": planned.snapshot.lock_ms,
        }
        if follows is not None:
            header["follows"] = follows
        stored = StoredPlan(
            plan_id=plan_id,
            project=self._project.name,
            direction=request.asked.direction.value,
            status=status,
            created_at=world.clock(),
            created_by=request.by,
            run_id=run_id,
            fingerprint=draft.fingerprint,
            mapping_digest=planned.mapping_digest,
            identity=planned.snapshot.identity,
            signature=planned.signature,
            header=header,
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

    # ------------------------------------------------------------------ a stored plan

    def _apply_stored(
        self, stored: StoredPlan, request: Request, run: Run, lease: Lease, begun: _Beginning
    ) -> Report:
        world, project = self._world, self._project
        known = self._known()
        preflight.check_synapse_project(project, known)
        known.skew = project.synapse.capabilities().skew_seconds
        with self._life.timed("read_synapse"):
            feed = read_feed(
                world,
                project,
                known,
                full=False,
                keep=True,
                stop=lambda entries: self._life.stop(run.run_id, request, entries),
            )
        snapshot, signature = self._snapshot()
        try:
            rules = project.rules(snapshot.catalog)
            moved = _what_changed(stored.mapping_digest, f"{project.mapping_token()}:{rules.digest}")
            if moved and not stored.undo_of:
                raise NeedsPersonError(
                    f"{moved} since the plan was made. Nothing was written.",
                    hint="Make a new plan.",
                    code="plan_stale",
                )
            if stored.identity is not None and stored.identity.dbid != snapshot.identity.dbid:
                raise NeedsPersonError(
                    "The plan was made for another Plant 3D database. Nothing was written.",
                    hint="Check the project's source, then make a new plan.",
                    code="plan_stale",
                )
            preflight.check_neighbours(world, project, snapshot.identity)
            preflight.check_source(known, snapshot.identity, approved=_guards_of(stored))
            found = self._recover(run, lease, known, rules, feed, snapshot, request)
            leftovers.settle(world, lease.fence, run.run_id, begun.begun_plans)
            known = replace(known, next_link=self._known().next_link)
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
                seals.one_moment(connection)
                seals.check_plan(connection, project.name, stored.plan_id, nothing=NOTHING_WRITTEN)
                before = leftovers.done_steps(connection, stored)
                steps = [
                    step
                    for step in runs.all_steps(connection, stored)
                    if not before or not leftovers.is_done(step, before)
                ]
            from plant3d_sync.run.stale import split_stale

            fresh, stale = split_stale(world, project, known, feed, snapshot, rules, steps)
            execution = self._execution(run, lease, known, rules, stored.plan_id, request, approved=True)
            planned = telling.of_stored(stored)
            planned.lock_ms = snapshot.lock_ms
            found.tell(planned)
            self._life.so_far.begin(planned, execution.outcome)
            for step, why in stale:
                execution.outcome.counts.add(step.entity, step.op, End.FAILED)
                execution.outcome.errors.append(telling.stale_error(step, why))
                execution.outcome.waiting += 1
            self._carry_out(execution, [lambda: fresh], len(fresh), snapshot)
            extra = {"written_before": len(before)} if before else {}
            return self._memory().finish_stored(stored, run, execution, snapshot, feed, request, found, extra)
        finally:
            snapshot.close()


# ---------------------------------------------------------------- helpers


def _guards_of(stored: StoredPlan) -> frozenset[str]:
    """Names of the guards that stopped a plan; who applies it has approved them, and no others."""
    return frozenset(str(hit["name"]) for hit in stored.header.get("guards") or [])


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


__all__ = ["Cancelled", "ConfigError", "Engine", "GuardHit", "Request"]
