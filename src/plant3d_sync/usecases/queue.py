"""The run table as the queue: who waits, who may start, what happens to a run that could not be done.

One project has at most one running and one waiting run. A second request joins the waiting one. Redis, if
there is one, only rings a bell (`plant3d_sync.jobqueue`); losing it loses nothing.

A claimed run belongs to its claimer as long as `attempts` is what the claim made it: every later change of
the row by the claimer is conditional on that number, so one who was away too long cannot end a run that
somebody else carries on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plant3d_sync.address import MASK
from plant3d_sync.errors import ConfigError, NotFoundError, RetryLaterError, SyncError
from plant3d_sync.model.run import Ending, RunOutcome, RunStatus, is_over
from plant3d_sync.model.side import Direction
from plant3d_sync.run.project import World
from plant3d_sync.run.recount import recount
from plant3d_sync.state import Connection, audit, components, run_queue, runs, seals
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.run_queue import lock_project
from plant3d_sync.state.runs import Run
from plant3d_sync.state.whose import is_dead
from plant3d_sync.usecases.wish import Asker, Wish, merge

PAUSES = (60.0, 120.0, 300.0, 600.0)
"""Seconds between attempts of a run that has to wait; the last one repeats."""

BUSY_PAUSE = 5.0
"""Seconds until the next attempt when another process holds the project."""

LOST_LIMIT = 5
"""How many workers in a row may die with a run before we give it up."""

FRUITLESS_LIMIT = 3
"""How many times in a row a run may meet its deadline without having done anything."""

STALE_GRACE = 10.0
"""Seconds of silence beyond the lease before a running run counts as abandoned."""

AHEAD = 900.0
"""Seconds. A heartbeat this far in the future was written before our clock was set back."""

NOW_SPACING = 6.0
"""Seconds between the starts of two "now" runs of one project: presses in between share one run."""

CLAIM = "claim"


def enqueue(world: World, project: str, wish: Wish, asker: Asker, *, run_id: str | None = None) -> Run:
    """Ask for a run. Returns the new waiting run, or the one that waits already, widened to cover this too.

    A preview and the application of a plan never share a run with anything else: RetryLaterError `run_waiting` while
    another request waits. `run_id`: the id a new run gets.
    """
    with world.state.write() as connection:
        return enqueue_in(connection, world, project, wish, asker, run_id=run_id)


def enqueue_in(
    connection: Connection, world: World, project: str, wish: Wish, asker: Asker, *, run_id: str | None = None
) -> Run:
    """`enqueue` inside the caller's writing transaction."""
    lock_project(connection, project)
    waiting = waiting_in(connection, project)
    if waiting is not None:
        return _join(connection, world, waiting, wish, asker.trigger)
    now = world.clock()
    run = Run(
        run_id=run_id or world.new_id(),
        project=project,
        direction=wish.direction.value,
        trigger=asker.trigger,
        status="queued",
        dry_run=wish.dry_run,
        requested_by=asker.by,
        request_id=asker.request_id,
        options=wish.options(),
        created_at=now,
        next_try_at=max(now, _spaced(connection, project, wish, asker.trigger)),
    )
    runs.insert(connection, run)
    runs.update(connection, run.run_id, next_try_at=run.next_try_at)
    if asker.trigger != "schedule":
        seals.seal(connection, "run", [run.run_id], at=now)
    runs.event(connection, run.run_id, "queued", now, trigger=asker.trigger)
    return _get(connection, run.run_id)


def running(world: World, project: str) -> Run | None:
    """The run that is going, if any."""
    with world.state.read() as connection:
        return run_queue.oldest(connection, project, RunStatus.RUNNING)


def waiting(world: World, project: str) -> Run | None:
    """The run that waits, if any."""
    with world.state.read() as connection:
        return waiting_in(connection, project)


def waiting_in(connection: Connection, project: str) -> Run | None:
    """`waiting` inside the caller's transaction."""
    return run_queue.oldest(connection, project, RunStatus.QUEUED)


def _get(connection: Connection, run_id: str) -> Run:
    run = runs.get(connection, run_id)
    if run is None:
        raise NotFoundError(
            f"There is no run {run_id}. Nothing was done.", hint="`plant3d-sync runs PROJECT` lists runs."
        )
    return run


def _spaced(connection: Connection, project: str, wish: Wish, trigger: str) -> float:
    """When a "now" may start so that a burst of presses makes two runs at most."""
    if wish.direction is not Direction.BOTH or wish.dry_run or wish.plan_id or not _is_press(trigger):
        return 0.0
    last = run_queue.newest_of(connection, project, Direction.BOTH.value)
    return last[0] + NOW_SPACING if last is not None and _is_press(last[1]) else 0.0


def _is_press(trigger: str) -> bool:
    """Whether a person or a script pressed the button, rather than the clock or a follow-up."""
    return trigger not in ("schedule", "resolve", "retry", "cli", "apply")


def _join(connection: Connection, world: World, run: Run, wish: Wish, trigger: str) -> Run:
    """Widen the waiting run so that it covers the new wish. Raises RetryLaterError if it cannot."""
    held = Wish.of(run)
    special = held.dry_run or wish.dry_run or held.plan_id or wish.plan_id
    if special and (held.dry_run, held.plan_id) != (wish.dry_run, wish.plan_id):
        raise RetryLaterError(
            f"Run {run.run_id} of {run.project} waits already and cannot be joined with this request. "
            "Nothing was queued.",
            hint=f"Wait until it is done, or cancel it, then ask again. Run: {run.run_id}.",
            code="run_waiting",
            details={"run_id": run.run_id},
        )
    values: dict[str, object] = {}
    merged = merge(held, wish)
    if merged != held:
        values |= {"direction": merged.direction.value, "options": merged.options()}
    if trigger != "schedule" and run.error is not None:
        values["next_try_at"] = world.clock()  # somebody asks now: do not sit out the pause
    if values:
        runs.update(connection, run.run_id, **values)
        if "options" in values:
            seals.seal(connection, "run", [run.run_id], at=world.clock())
        runs.event(connection, run.run_id, "joined", world.clock(), trigger=trigger)
    return _get(connection, run.run_id)


# ---------------------------------------------------------------- claiming


def claim(world: World, holder: str, projects: Sequence[str]) -> Run | None:
    """Take the run that is due longest among `projects`; None if nothing is due.

    `holder`: who claims (`state.whose.holder_name`), so that others can tell whether it still lives.
    A project with a running run is passed over; so is one that another worker is claiming from right now.
    """
    with world.state.read() as connection:  # most looks find nothing: they take no lock
        if not _due(connection, world, projects):
            return None
    with world.state.write() as connection:
        for run_id, project in _due(connection, world, projects):
            if not run_queue.try_lock(connection, project):
                continue
            if run_queue.oldest(connection, project, RunStatus.RUNNING) is not None:
                continue
            now = world.clock()
            if not run_queue.take(connection, run_id, now=now):
                continue
            run = _get(connection, run_id)
            components.show(
                connection,
                f"{CLAIM}:{project}",
                kind=CLAIM,
                at=now,
                facts={"run": run_id, "holder": holder},
            )
            runs.event(connection, run_id, "started", now, attempt=run.attempts)
            return run
    return None


def _due(connection: Connection, world: World, projects: Sequence[str]) -> list[tuple[str, str]]:
    return run_queue.due(connection, projects, now=world.clock(), longest_pause=PAUSES[-1])


def beat(world: World, run: Run, *, phase: str | None, done: int | None, total: int | None) -> bool:
    """The claimer's sign of life, with the run's progress. False if the run is not its own any more."""
    with world.state.write() as connection:
        ours = runs.update_claimed(
            connection, run, heartbeat_at=world.clock(), phase=phase, phase_done=done, phase_total=total
        )
        if ours and phase is not None and phase != run.phase:
            runs.event(connection, run.run_id, "phase", world.clock(), phase=phase, done=done, total=total)
            run.phase = phase
        return ours


# ---------------------------------------------------------------- giving back


def requeue(world: World, run: Run, error: SyncError, *, interval: float) -> bool:
    """A claimed run that could not be done waits: growing pauses, never longer than the schedule's interval.

    One that met its deadline goes on after a short pause as long as it got on; one that did not for
    `FRUITLESS_LIMIT` times in a row ends as failed. `interval` in seconds. The error stays on the run for people
    to see. False if the run is not ours any more.
    """
    pause = min(PAUSES[min(max(run.attempts, 1), len(PAUSES)) - 1], interval)
    if error.error_code == "project_busy":
        pause = min(BUSY_PAUSE, interval)
    document: dict[str, object] = MASK.value(error.to_dict())
    if error.error_code == "deadline":
        fruitless = 0 if error.details.get("done") else _fruitless(run) + 1
        if fruitless >= FRUITLESS_LIMIT:
            return fail(world, run, _no_progress(fruitless))
        pause = min(PAUSES[max(fruitless, 1) - 1], interval)
        document["details"] = {**error.details, "times": fruitless}
    return _put_back(world, run, document, pause, "waiting")


def _fruitless(run: Run) -> int:
    """How often in a row the run met its deadline before it had done anything."""
    before = run.error or {}
    return int((before.get("details") or {}).get("times", 0)) if before.get("code") == "deadline" else 0


def _no_progress(times: int) -> ConfigError:
    return ConfigError(
        f"The run met its deadline {times} times in a row without getting on. It was given up; "
        "nothing was written those times.",
        hint="Give runs more time (P3DSYNC_RUN_DEADLINE_MINUTES), or find out what is so slow: the metric "
        "phase_duration_seconds and `plant3d-sync doctor` help.",
        code="deadline_no_progress",
        details={"times": times},
    )


def release(world: World, run: Run) -> bool:
    """Put a claimed run back untouched: its worker is being stopped. False if it is not ours any more."""
    return _put_back(world, run, None, 0.0, "interrupted")


def _put_back(world: World, run: Run, error: dict[str, object] | None, pause: float, event: str) -> bool:
    now = world.clock()
    with world.state.write() as connection:
        lock_project(connection, run.project)
        stored = _get(connection, run.run_id)
        if stored.status != "running" or stored.attempts != run.attempts:
            return False
        if stored.cancel_requested:
            _cancel_now(connection, stored, now)
            return True
        _absorb(connection, stored, now)
        runs.update(
            connection,
            run.run_id,
            status="queued",
            error=error,
            next_try_at=now + pause,
            phase=None,
            phase_done=None,
            phase_total=None,
        )
        runs.event(connection, run.run_id, event, now, error=error, next_try_at=now + pause)
        return True


def _absorb(connection: Connection, run: Run, now: float) -> None:
    """A started run goes back to wait: a request that came meanwhile is covered by it and ends.

    So one run waits, not two; the later one's result names the run that does its work. A preview or a plan
    cannot be covered: then both wait, the older first.
    """
    newer = waiting_in(connection, run.project)
    if newer is None:
        return
    held, wish = Wish.of(run), Wish.of(newer)
    if held.dry_run or wish.dry_run or held.plan_id or wish.plan_id:
        return
    merged = merge(held, wish)
    runs.update(connection, run.run_id, direction=merged.direction.value, options=merged.options())
    seals.seal(connection, "run", [run.run_id], at=now)
    runs.end(
        connection,
        newer.run_id,
        Ending(
            at=now,
            outcome=RunOutcome.CANCELLED,
            error=newer.error,
            result={"continued_by": run.run_id},
        ),
    )
    runs.event(connection, newer.run_id, "continued", now, by=run.run_id)


def fail(world: World, run: Run, error: SyncError) -> bool:
    """End a claimed run for good. False if it is not ours any more."""
    now = world.clock()
    with world.state.write() as connection:
        ending = Ending(
            at=now,
            status=RunStatus.FAILED,
            outcome=RunOutcome.FAILED,
            error=MASK.value(error.to_dict()),
        )
        ours = runs.end(connection, run.run_id, ending, claimed=run)
        if ours:
            runs.event(connection, run.run_id, "failed", now, code=error.error_code)
        return ours


def complete(world: World, run: Run, *, outcome: str, result: Mapping[str, object]) -> bool:
    """End a claimed run whose work was a preview: the Engine does not keep a row for those.

    False if the run is not ours any more. Row errors in `result` stay with the plan.
    """
    now = world.clock()
    errors, stats, plan_id = result.get("errors"), result.get("stats"), result.get("plan_id")
    with world.state.write() as connection:
        if _get(connection, run.run_id).cancel_requested:
            outcome = "cancelled"
        ending = Ending(
            at=now,
            outcome=RunOutcome(outcome),
            plan_id=plan_id if isinstance(plan_id, str) else None,
            stats=stats if isinstance(stats, dict) else None,
            result={name: value for name, value in result.items() if name != "errors"},
            errors=errors if isinstance(errors, list) else [],
        )
        return runs.end(connection, run.run_id, ending, claimed=run)


def note_end(world: World, run_id: str) -> Run:
    """Close a run's story with its end as an event; returns the run as it is now."""
    with world.state.write() as connection:
        run = _get(connection, run_id)
        if is_over(run.status):
            if run.status == RunStatus.COMPLETED and run.error is not None:
                runs.update(connection, run_id, error=None)
            if run.attempts > 1 and not run.dry_run:
                recount(connection, run_id)  # what it told counts its last attempt only
                run = _get(connection, run_id)
            runs.event(connection, run_id, run.status, world.clock(), outcome=run.outcome, stats=run.stats)
        return run


# ---------------------------------------------------------------- cancel and recover


def cancel(world: World, run_id: str, *, by: str = "api") -> Run:
    """A waiting run ends at once; a running one is asked to stop between two batches; an ended one stays.

    Raises NotFoundError. Audited.
    """
    now = world.clock()
    with world.state.write() as connection:
        run = _get(connection, run_id)
        lock_project(connection, run.project)
        run = _get(connection, run_id)
        if run.status == "queued":
            _cancel_now(connection, run, now)
        elif run.status == "running":
            runs.update(connection, run_id, cancel_requested=1)
        else:
            return run
        audit.append(connection, run.project, action="run.cancelled", actor=by, at=now, run=run_id)
        return _get(connection, run_id)


def _cancel_now(connection: Connection, run: Run, now: float) -> None:
    runs.update(connection, run.run_id, cancel_requested=1)
    runs.end(connection, run.run_id, Ending(at=now, outcome=RunOutcome.CANCELLED, error=run.error))
    if run.attempts:
        recount(connection, run.run_id)
    if run.options.get("plan_id"):
        seals.end_request(connection, run.project, run.run_id, at=now)
    runs.event(connection, run.run_id, "cancelled", now)


def recover_stale(world: World) -> list[Run]:
    """Runs whose process is gone: back to the queue, or ended after `LOST_LIMIT` losses in a row.

    Gone means: the claimer is provably a dead process (`state.whose`), or the heartbeat is older than the lease plus
    10 s while nobody holds the project's lease for this run (judged by the database's clock). A run started
    by hand is ended: nobody waits for it to be carried on, and the next run continues its work.
    """
    with world.state.read() as connection:
        suspects = [
            run_id
            for run_id in run_queue.running(connection)
            if _is_stale(connection, world, _get(connection, run_id))
        ]
    changed = []
    for run_id in suspects:
        with world.state.write() as connection:
            lock_project(connection, _get(connection, run_id).project)
            run = _get(connection, run_id)
            if run.status == "running" and _is_stale(connection, world, run):
                _recover(connection, world, run)
                changed.append(_get(connection, run_id))
    return changed


def _is_stale(connection: Connection, world: World, run: Run) -> bool:
    if run_queue.holds_lease(connection, world.state, run, seconds=world.lease_seconds):
        return False
    claim = components.get(connection, f"{CLAIM}:{run.project}")
    if claim is not None and claim.facts.get("run") == run.run_id and is_dead(claim.facts.get("holder")):
        return True
    silent_since = run.heartbeat_at or run.started_at or run.created_at
    silence = world.clock() - silent_since
    return silence > world.lease_seconds + STALE_GRACE or -silence > AHEAD


def _recover(connection: Connection, world: World, run: Run) -> None:
    now = world.clock()
    project_state.update(connection, run.project, force_compare=True)
    if run.cancel_requested:
        _cancel_now(connection, run, now)
        return
    before = run.error or {}
    details = before.get("details") or {}
    lost = 1 + (int(details.get("times", 0)) if before.get("code") == "worker_lost" else 0)
    if not run.options.get("queued") or lost >= LOST_LIMIT:
        error = {
            "code": "abandoned",
            "message": "The process that carried out this run ended before the run did. "
            "What it had written is recorded; nothing else was written.",
            "hint": "The next run continues by itself. If it happens again, look at the worker's log.",
            "details": {"times": lost},
        }
        ending = Ending(at=now, status=RunStatus.FAILED, outcome=RunOutcome.FAILED, error=error)
        runs.end(connection, run.run_id, ending)
        recount(connection, run.run_id)
        runs.event(connection, run.run_id, "failed", now, code="abandoned")
        return
    _absorb(connection, run, now)
    runs.update(
        connection,
        run.run_id,
        status="queued",
        next_try_at=now,
        phase=None,
        error={
            "code": "worker_lost",
            "message": "The worker ended before the run did. What it had written is recorded.",
            "hint": "Nothing has to be done; another worker carries on.",
            "details": {"times": lost},
        },
    )
    runs.event(connection, run.run_id, "recovered", now, times=lost)
