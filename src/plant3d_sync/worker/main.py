"""The worker: wait for the bell, take a run from the table, carry it out, again.

One run at a time per process; start more processes for more. A programming error ends the process: its run is
found by its dead holder and carried on by another worker, five times at most.
"""

from __future__ import annotations

import argparse
import gc
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plant3d_sync.address import MASK, hide_in_tracebacks
from plant3d_sync.bootstrap import App, make_app
from plant3d_sync.errors import ConfigError, RetryLaterError, StateRefused, SyncError
from plant3d_sync.jobqueue import Bell, Heard, make_bell
from plant3d_sync.logs import bind, configure, get_logger, unbind
from plant3d_sync.model.run import read_both_sides
from plant3d_sync.model.side import Entity
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.engine import Cancelled, Engine, Request
from plant3d_sync.run.project import World
from plant3d_sync.scratch import sweep
from plant3d_sync.settings import weak_points
from plant3d_sync.state import runs, seals
from plant3d_sync.state.bounded import hurry
from plant3d_sync.state.runs import Run
from plant3d_sync.state.whose import holder_name
from plant3d_sync.usecases import queue
from plant3d_sync.usecases.wish import Wish
from plant3d_sync.worker.probe import Prober, note_success
from plant3d_sync.worker.process import Presence, Stop, wait_for_state
from plant3d_sync.worker.reconciler import Reconciler, Refusals
from plant3d_sync.worker.refusal import tell

SWEEP = 60.0
"""Seconds between two collections of garbage by a worker that has nothing to do; within a run there is hardly any."""

LISTEN = 1.0
"""Seconds to wait for the bell before looking into the table again."""

REFUSED_AT_ONCE = 200
"""How many refused rings are taken in a row before the run table is checked again."""


@dataclass(slots=True)
class Progress:
    """Where the run is; written to its row by the heart, never from inside a transaction of the run."""

    phase: str | None = None
    done: int | None = None
    total: int | None = None

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        self.phase, self.done, self.total = phase, done, total


class Heart:
    """Signs of life of one run. Stops the run when somebody else took it over, or the process is to end."""

    def __init__(self, world: World, run: Run, request: Request, progress: Progress, stop: Stop) -> None:
        self._world = world
        self._run = run
        self._hurry = request.hurry.set
        self._progress = progress
        self._stop = stop
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"heart-{run.project}", daemon=True)

    def __enter__(self) -> Heart:
        self._stop.then(self._hurry)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.not_then(self._hurry)
        self._ended.set()
        self._thread.join(timeout=self._world.lease_seconds)

    def _loop(self) -> None:
        pause = max(0.2, min(2.0, self._world.lease_seconds / 5))
        while not self._ended.wait(pause):
            now = self._progress
            try:
                if not queue.beat(self._world, self._run, phase=now.phase, done=now.done, total=now.total):
                    self._hurry()
                    return
            except SyncError as error:  # the state database is away for a moment; the fence decides
                get_logger().warning(
                    "run.heartbeat_postponed", run_id=self._run.run_id, code=error.error_code
                )


class Worker:
    """Carries out runs of the configured projects until it is asked to stop."""

    def __init__(self, app: App, *, stop: Stop | None = None, bell: Bell | None = None) -> None:
        url = app.settings.redis_url
        self.app = app
        self.stop = stop or Stop()
        self.bell = bell or make_bell(url.get_secret_value() if url else None)
        self.world = app.world()
        self.done = 0
        self.refused = 0
        self._holder = holder_name("worker")
        self._current: Run | None = None
        self._bell_works = True
        self._swept = time.monotonic()
        self._prober = Prober(app, self.world)
        self._reconciler = Reconciler(self.world)
        self._refusals = Refusals(self.world)

    def work(self, *, burst: bool = False) -> int:
        """Until asked to stop; with `burst` until nothing is due. Returns how many runs were carried out."""
        self.stop.then(self.bell.wake)
        get_logger().info("worker.started", queue=self.bell.kind, burst=burst)
        with Presence(self.world, "worker", self._facts):
            if not burst:
                self._prober.start()
            try:
                while not self.stop.is_set() and self._turn(burst=burst):
                    pass
            finally:
                if not burst:
                    self._prober.stop()
                self.bell.close()
                self._last_words()
        get_logger().info("worker.stopped", runs=self.done)
        return self.done

    def _last_words(self) -> None:
        try:
            self._refusals.tell(now=time.monotonic(), last=True)
        except SyncError as error:
            get_logger().warning("worker.postponed", code=error.error_code, reason=error.message)

    def _facts(self) -> dict[str, Any]:
        run = self._current
        self._bell_works = self.bell.alive()
        return {
            "queue": self.bell.kind,
            "redis": "ok" if self._bell_works else "error",
            "redis_error": self.bell.trouble,
            "state": "busy" if run else "idle",
            "run": run.run_id if run else None,
            "project": run.project if run else None,
            "runs": self.done,
            "refused": self.refused,
            "holder": self._holder,
        }

    def _turn(self, *, burst: bool) -> bool:
        """One look into the table. False when a burst is over."""
        try:
            self.world.state.ready()  # a newer program may have moved the schema since the start
            self._reconciler.look(now=time.monotonic())
            self._refusals.tell(now=time.monotonic())
            run = queue.claim(self.world, self._holder, self.app.project_names())
            if run is not None:
                self.carry_out(run)
                return True
            self._sweep(now=time.monotonic())
            heard = self._listen()
            self._check(heard)
            return not burst or heard.run_id is not None or heard.refused is not None
        except (RetryLaterError, StateRefused) as error:
            if burst:
                raise
            get_logger().warning("worker.postponed", code=error.error_code, reason=error.message)
            self.stop.wait(2.0)
            return True

    def _sweep(self, *, now: float) -> None:
        if now - self._swept >= SWEEP:
            gc.collect()
            self._swept = now

    def _listen(self) -> Heard:
        """Wait for the bell. Rings that are refused are counted and cost no look into the table."""
        heard = self.bell.wait(LISTEN)
        for _ in range(REFUSED_AT_ONCE):
            if heard.refused is None:
                break
            self._check(heard)
            heard = self.bell.wait(LISTEN)
        return heard

    def _check(self, heard: Heard) -> None:
        """A ring says "look into the table", no more; one that is not ours is refused, counted and kept in the audit."""
        reason = heard.refused
        if heard.run_id is not None:
            with self.world.state.read() as connection:
                if runs.get(connection, heard.run_id) is None:
                    reason = "unknown run"
        if reason is not None:
            self.refused += 1
            self._refusals.note(reason, heard.job_id)

    # ------------------------------------------------------------------ one run

    def carry_out(self, run: Run) -> Run:
        """Carry out a claimed run and leave its row in a state that says what came of it."""
        bind(run_id=run.run_id, project=run.project, request_id=run.request_id)
        started = time.monotonic()
        get_logger().info("run.started", direction=run.direction, trigger=run.trigger, attempt=run.attempts)
        progress = Progress()
        request = self._request(run)
        self._current = run
        try:
            world = self.app.world(progress)
            with Heart(world, run, request, progress, self.stop):
                self._do(world, run, request)
        except Cancelled:  # a preview: it has nothing to leave in order
            queue.release(self.world, run)
        except RetryLaterError as error:
            self._put_back(run, error)
        except SyncError as error:
            queue.fail(self.world, run, error)
            self._prober.soon(run.project)
            get_logger().error("run.refused", code=error.error_code, reason=error.message, hint=error.hint)
        finally:
            self._current = None
            self.done += 1
        ended = queue.note_end(self.world, run.run_id)
        if read_both_sides(ended.status, ended.outcome):
            note_success(self.world, run.project)
        get_logger().info(
            "run.ended",
            status=ended.status,
            outcome=ended.outcome,
            stats=ended.stats,
            seconds=round(time.monotonic() - started, 3),
        )
        unbind()
        return ended

    def _request(self, run: Run) -> Request:
        wish = Wish.of(run)
        return Request(
            asked=Asked(
                direction=wish.direction,
                entities=frozenset(Entity(name) for name in wish.entity_types),
                full=wish.full,
                only_assets=None if wish.asset_ids is None else frozenset(wish.asset_ids),
            ),
            dry_run=run.dry_run,
            trigger=run.trigger,
            by=run.requested_by or run.trigger,
            run_id=run.run_id,
            attempt=run.attempts,
            request_id=run.request_id,
            deadline=time.monotonic() + self.app.settings.p3dsync_run_deadline_minutes * 60,
        )

    def _do(self, world: World, run: Run, request: Request) -> None:
        with world.state.read() as connection:
            seals.check_request(connection, run.run_id, nothing="Nothing was done for the request.")
        wish = Wish.of(run)
        engine = Engine(world, self.app.project(run.project, request_id=run.request_id))
        if wish.plan_id is not None:
            engine.apply(wish.plan_id, approve_guards=wish.approve_guards, request=request)
        elif wish.dry_run:
            report = engine.plan(request)
            queue.complete(world, run, outcome=report.outcome, result=report.to_dict())
        else:
            engine.run(request)

    def _put_back(self, run: Run, error: RetryLaterError) -> None:
        if self.stop.is_set() and error.error_code == "deadline":
            queue.release(self.world, run)
            get_logger().info("run.interrupted")
            return
        minutes = self.app.config.projects[run.project].interval_minutes
        interval = (minutes or self.app.settings.sync_interval_minutes) * 60
        queue.requeue(self.world, run, error, interval=interval)
        if error.error_code not in ("deadline", "project_busy"):
            self._prober.soon(run.project)
        get_logger().warning("run.waiting", code=error.error_code, reason=error.message, hint=error.hint)


def carry_out(run_id: str) -> None:
    """The name that jobs hold. It does nothing: `plant3d-sync worker` takes runs from the table by itself.

    Raises ConfigError, which is what RQ's own worker shows when somebody starts that one by mistake.
    """
    raise ConfigError(
        f"Run {run_id} was given to RQ's own worker. Nothing was done; the run waits.",
        hint="Start `plant3d-sync worker` in its place: it executes nothing that Redis names.",
        code="wrong_worker",
    )


def prepare(app: App) -> None:
    """Logs for this process; refuse to start with the secrets of the examples. Raises ConfigError."""
    settings = app.settings
    configure(
        level=settings.log_level,
        form=settings.log_format,
        service=settings.service_name,
    )
    weak = weak_points(settings, app.config, app.environ)
    if weak and not settings.debug:
        listed = "; ".join(weak)
        raise ConfigError(
            f"The settings are not safe: {listed}. Nothing was started.",
            hint="Choose secrets of your own and a login with few rights. DEBUG=true allows it on a test machine.",
            code="weak_secrets",
            details={"problems": weak},
        )


def run_worker(app: App, *, burst: bool = False, parent_pipe: bool = False) -> int:
    """The worker as a process: signals, logs, work. Returns how many runs were carried out."""
    prepare(app)
    stop = Stop()
    stop.listen()
    stop.then(hurry)
    if parent_pipe:
        stop.when_parent_ends()
    stop.when_a_thread_fails()
    for folder in sweep():
        get_logger().warning("copy.removed", folder=str(folder), why="left by a process that was killed")
    if not burst and not wait_for_state(lambda: app.state, stop):
        return 0
    done = Worker(app, stop=stop).work(burst=burst)
    stop.raise_failure()
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m plant3d_sync.worker [--burst] [--config FILE]`."""
    parser = argparse.ArgumentParser(prog="plant3d-sync-worker", description="Carry out runs that wait.")
    parser.add_argument("--burst", action="store_true", help="end when nothing is due")
    parser.add_argument("--config", help="configuration file (P3DSYNC_CONFIG)")
    chosen = parser.parse_args(arguments)
    hide_in_tracebacks()
    try:
        run_worker(make_app(chosen.config), burst=chosen.burst)
    except SyncError as error:
        if tell(error):
            return error.exit_code
        sys.stderr.write(f"error[{error.error_code}]: {MASK.text(error.message)}\n")
        if error.hint:
            sys.stderr.write(f"  what to do: {MASK.text(error.hint)}\n")
        return error.exit_code
    return 0
