"""The life of a run apart from its work: its row, its signs of life, and how it ends early."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from plant3d_sync import patience
from plant3d_sync.address import MASK
from plant3d_sync.errors import (
    Interrupted,
    LeaseLost,
    RetryLaterError,
    SyncError,
)
from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.run import RunStatus
from plant3d_sync.run import leftovers, telling
from plant3d_sync.run.project import Project, World
from plant3d_sync.run.recount import recount
from plant3d_sync.run.report import Report
from plant3d_sync.run.request import Request
from plant3d_sync.run.unfinished import SoFar
from plant3d_sync.state import Connection, intents, runs
from plant3d_sync.state import plans as stored_plans
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.lease import Lease
from plant3d_sync.state.projects import ProjectState
from plant3d_sync.state.runs import Run

LOOK_SECONDS = 0.5
"""Seconds between two looks whether somebody asked a run to end."""


def _deadline_met(done: int) -> RetryLaterError:
    return RetryLaterError(
        "The run took longer than allowed, or its process is to end, so it stopped where it was.",
        hint="Nothing is lost; it goes on after a pause.",
        code="deadline",
        details={"done": done},
    )


class Cancelled(Exception):
    """Somebody asked the run to end; it ends at a safe point."""


class Underway(msgspec.Struct, frozen=True, kw_only=True):
    """A run that holds the lease: its row, what was asked, and what the state said right after it took the lease.

    `begun_plans`: plans that another run left half applied.
    """

    request: Request
    run: Run
    lease: Lease
    known: ProjectState
    open_intents: bool
    begun_plans: list[str]

    @property
    def unsettled(self) -> bool:
        """Whether an earlier run left something that this one has to settle."""
        return self.open_intents or bool(self.begun_plans)


class Life:
    """How a run of one project begins, shows that it lives, is asked to stop, and ends before its work is done."""

    def __init__(self, world: World, project: Project) -> None:
        self._world = world
        self._project = project
        self.so_far = SoFar()
        self._done = 0
        """What the run had done at its last safe point."""
        self.ended_early: Report | None = None
        """What the last run had come to when an error or Ctrl-C ended it."""

    def as_run(
        self, request: Request, work: Callable[[Underway], Report], *, applying: str | None = None
    ) -> Report:
        """Do this as a run: with its row, under the lease, and with an end whatever happens. `applying`: a plan's id."""
        self.so_far, self.ended_early = SoFar(plan_id=applying), None
        run = self._start(request)
        try:
            with self._leased(run) as lease, self.clock(request, run.run_id):
                return work(self._take_over(request, run, lease, applying))
        except Cancelled:
            return self._end_early(run, status="completed", outcome="cancelled")
        except RetryLaterError as error:
            self._count_trouble(error)
            if request.attempt is None:
                self._end_failed(run, error)
            else:
                self._leave_to_claimer()
            raise
        except SyncError as error:
            self._end_failed(run, error)
            raise
        except KeyboardInterrupt:
            if request.attempt is not None:
                raise  # the run is its claimer's
            interrupted = Interrupted(
                "Interrupted. What was written is recorded.", hint="The next run continues."
            )
            self._end_failed(run, interrupted, outcome="cancelled")
            raise interrupted from None

    def _leased(self, run: Run) -> Lease:
        return Lease(
            self._world.state,
            self._project.name,
            run.run_id,
            seconds=self._world.lease_seconds,
            on_beat=lambda: self._beat(run.run_id),
        )

    def _take_over(self, request: Request, run: Run, lease: Lease, applying: str | None) -> Underway:
        """End the rows of runs that died, and see what they left."""
        world, name = self._world, self._project.name
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
            begun = stored_plans.begun(connection, name, but=applying)
            for plan_id in begun:  # before SYNAPSE is read: what a person did there since is his newer word
                if (left := runs.get_plan(connection, plan_id)) is not None:
                    leftovers.end_choices(connection, left, at=world.clock())
            return Underway(
                request=request,
                run=run,
                lease=lease,
                known=project_state.ensure(connection, name),
                open_intents=intents.any_open(connection, name),
                begun_plans=begun,
            )

    def _start(self, request: Request) -> Run:
        """The row of the run, made or taken up: a run that somebody else claimed since is left alone (LeaseLost)."""
        world = self._world
        now = world.clock()
        with world.state.write() as connection:
            project_state.ensure(connection, self._project.name)
            known = runs.get(connection, request.run_id) if request.run_id else None
            if known is not None:
                if request.attempt is not None and (known.status, known.attempts) != (
                    "running",
                    request.attempt,
                ):
                    raise LeaseLost(
                        f"Run {known.run_id} was taken over by another worker. Nothing was done here.",
                        hint="Look at the run; nothing has to be repaired.",
                    )
                runs.update(
                    connection,
                    known.run_id,
                    status="running",
                    started_at=known.started_at or now,
                    heartbeat_at=now,
                    attempts=known.attempts + (request.attempt is None),
                )
                run = known
            else:
                run = Run(
                    run_id=request.run_id or world.new_id(),
                    project=self._project.name,
                    direction=request.asked.direction.value,
                    trigger=request.trigger,
                    status="running",
                    requested_by=request.by,
                    request_id=request.request_id,
                    options={
                        "entity_types": sorted(entity.value for entity in request.asked.entities),
                        "full": request.asked.full,
                    },
                    created_at=now,
                    started_at=now,
                    heartbeat_at=now,
                )
                runs.insert(connection, run)
        failpoint("run.row_stored")
        run.started_at = run.started_at or now
        return run

    def _beat(self, run_id: str) -> None:
        """A sign of life."""
        with self._world.state.write() as connection:
            runs.update(connection, run_id, heartbeat_at=self._world.clock())

    def _count_trouble(self, error: RetryLaterError) -> None:
        """Count what passes by itself, for the metrics."""
        if isinstance(error, LeaseLost):
            self._project.counts.add("lease_lost")
            if error.details.get("fenced"):
                self._project.counts.add("fenced_writes")
        elif error.error_code in ("source_busy", "source_locked"):
            self._project.counts.add("source_busy")

    def _store_counts(self, connection: Connection) -> None:
        """What was counted goes with what it tells of; the last statement of its transaction."""
        self._project.counts.store(connection, self._project.name, self._world.clock())

    def _leave_to_claimer(self) -> None:
        """The claimer puts the run back into the queue; what it left undone must be compared again."""
        with self._world.state.write() as connection:
            project_state.update(connection, self._project.name, force_compare=True)
            self._store_counts(connection)

    def _end_failed(self, run: Run, error: SyncError, *, outcome: str = "failed") -> None:
        """An error ended the run, or Ctrl-C did (`outcome` cancelled)."""
        self.ended_early = self._end_early(
            run, status="failed", outcome=outcome, error=MASK.value(error.to_dict())
        )

    def _end_early(
        self, run: Run, *, status: str, outcome: str, error: dict[str, object] | None = None
    ) -> Report:
        """End the run's row with what it had come to. Its open intents and its plan are left to the next run."""
        report = self.so_far.report(self._project.name, run.direction)
        report.run_id, report.started_at = run.run_id, run.started_at
        report.completed_at, report.status, report.outcome = self._world.clock(), status, outcome
        with self._world.state.write() as connection:
            stored = runs.get(connection, run.run_id)
            if stored is not None and stored.status == RunStatus.COMPLETED:
                # it had come to its end already; only what follows that was interrupted
                report.status, report.outcome = stored.status, stored.outcome or outcome
                return report
            runs.end(connection, run.run_id, telling.ending(report, error=error))
            project_state.update(connection, self._project.name, force_compare=True)
            self._store_counts(connection)
        return report

    @contextmanager
    def clock(self, request: Request, run_id: str | None) -> Iterator[None]:
        """The one clock of a run: its deadline, and whether somebody asked it to end."""
        cancelled, over = threading.Event(), threading.Event()
        self._done = 0

        def ended() -> Exception | None:
            if request.is_late():
                return _deadline_met(self._done)
            return Cancelled() if cancelled.is_set() else None

        def watch() -> None:
            while not over.wait(LOOK_SECONDS):
                # a state database that is away for a moment is asked again
                with suppress(SyncError), self._world.state.read() as connection:
                    if run_id is not None and runs.cancel_requested(connection, run_id):
                        cancelled.set()

        watcher = threading.Thread(target=watch, name=f"watch-{self._project.name}", daemon=True)
        watcher.start()
        try:
            with patience.held(patience.Patience(ended)):
                yield
        finally:
            over.set()
            watcher.join(timeout=self._world.lease_seconds)

    def stop_of(self, underway: Underway) -> Callable[[int], None]:
        """`stop` for this run, as a read calls it."""
        return lambda entries: self.stop(underway.run.run_id, underway.request, entries)

    def stop(self, run_id: str, request: Request, done: int) -> None:
        """Called at a safe point: raises when the run must end. `done`: what it has done so far."""
        self._done = done
        if request.is_late():
            raise _deadline_met(done)
        with self._world.state.read() as connection:
            cancelled = runs.cancel_requested(connection, run_id)
        if cancelled:
            raise Cancelled
