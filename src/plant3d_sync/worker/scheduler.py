"""The scheduler: says when a run is due, never works itself.

A library wakes it up; a unique row per project and UTC slot decides. So any number of schedulers is harmless, a
late one catches up at most once, and daylight saving does not exist. A slot begins at a whole multiple of the
project's interval since 1970 (UTC) and is known by its begin in milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from plant3d_sync.bootstrap import App
from plant3d_sync.errors import ConfigError, RetryLaterError, StateRefused, SyncError
from plant3d_sync.jobqueue import Bell, make_bell
from plant3d_sync.logs import get_logger
from plant3d_sync.run.project import World
from plant3d_sync.state import Connection, audit, components, retention, seals, slots
from plant3d_sync.state.bounded import hurry
from plant3d_sync.state.components import DAILY
from plant3d_sync.state.run_queue import lock_project
from plant3d_sync.usecases import queue
from plant3d_sync.usecases.health import CLOCK
from plant3d_sync.usecases.wish import Asker, Wish
from plant3d_sync.worker.main import prepare
from plant3d_sync.worker.process import Presence, Stop, wait_for_state

RETENTION = "retention"
"""Name of the row that says when was pruned last."""

WAKE = 10.0
"""Seconds between two looks, less when an interval is short."""

SKIPPED_SHOWN = 300
"""How many missed slots are recorded after a long pause; older ones are not."""

LONG_AWAY = 30 * DAILY
"""Seconds since the last pruning from which the clock is believed only when it says the same a day later."""

JUMP = 60.0
"""Seconds. A clock that moves against the machine's own count by more than this in a moment was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A project and when it is to run."""

    name: str
    interval_ms: int
    direction: str


def slot_of(now: float, interval_ms: int) -> int:
    """Begin of the slot that holds `now` (POSIX seconds), in milliseconds."""
    return int(now * 1000) // interval_ms * interval_ms


def planned_projects(app: App) -> list[Planned]:
    """The active projects. Needs no credentials and no share."""
    return [
        Planned(
            name=name,
            interval_ms=max(1, int((entry.interval_minutes or app.settings.sync_interval_minutes) * 60_000)),
            direction=entry.direction,
        )
        for name, entry in app.config.projects.items()
        if entry.active
    ]


def tick(world: World, project: Planned, ring: Callable[[str], bool] = lambda _run: False) -> str | None:
    """Ask for a run if this slot has none yet. Returns its id, None if there was nothing to do.

    Slots missed since the last one are written down as skipped: the newest stands for all of them. So is a slot
    that found a run still waiting.
    """
    now = world.clock()
    current = slot_of(now, project.interval_ms)
    with world.state.read() as connection:
        if slots.is_known(connection, project.name, current):
            return None
    with world.state.write() as connection:
        lock_project(connection, project.name)
        last = slots.last_until(connection, project.name, current)
        if last == current or not slots.take(connection, project.name, current, at=now):
            return None
        _note_missed(connection, project, last, current, now)
        before = queue.waiting_in(connection, project.name)
        try:
            run = queue.enqueue_in(
                connection,
                world,
                project.name,
                Wish.to(project.direction),
                Asker(by="scheduler", trigger="schedule"),
            )
        except RetryLaterError as error:  # a preview or a plan waits: this slot gives way to it
            slots.note(connection, project.name, current, None, skipped=1)
            get_logger().info("slot.skipped", project=project.name, code=error.error_code)
            return None
        slots.note(connection, project.name, current, run.run_id, skipped=int(before is not None))
    get_logger().info(
        "slot.due", project=project.name, run_id=run.run_id, joined=before is not None, slot=current // 1000
    )
    ring(run.run_id)
    return run.run_id


def _note_missed(
    connection: Connection, project: Planned, last: int | None, current: int, now: float
) -> None:
    if last is None:
        return
    first = max(
        slot_of(last / 1000, project.interval_ms) + project.interval_ms,
        current - SKIPPED_SHOWN * project.interval_ms,
    )
    missed = range(first, current, project.interval_ms)
    for slot in missed:
        slots.take(connection, project.name, slot, at=now, skipped=1)
    if missed:
        get_logger().warning("slot.missed", project=project.name, slots=len(missed))


def prune_when_due(world: World, days: float) -> dict[str, int] | None:
    """Once a day, whoever comes first: remove what is old enough. None if it was done lately."""
    now = world.clock()
    with world.state.read() as connection:
        before = components.get(connection, RETENTION)
    if not _first_today(world, RETENTION, now):
        return None
    away = 0.0 if before is None else now - before.seen_at
    if away > LONG_AWAY:  # a clock that is years ahead would make everything old
        get_logger().warning("retention.postponed", days_since=round(away / DAILY))
        return None
    removed = retention.prune(world.state, now=now, days=days)
    get_logger().info("retention.done", **removed)
    return removed


def verify_when_due(world: World) -> int | None:
    """Once a day, whoever comes first: walk the audit trail and remember what was found, for the metrics.

    Returns the entries seen, None if it was done lately.
    """
    now = world.clock()
    if not _first_today(world, audit.CHECK, now):
        return None
    with world.state.read() as connection:
        found = seals.verify(connection)
    with world.state.write() as connection:
        audit.keep_check(connection, found.entries, found.broken, now)
    for item in found.broken:
        get_logger().error("audit.broken", project=item.project, seq=item.seq, reason=str(item))
    return found.entries


def _first_today(world: World, name: str, now: float) -> bool:
    """Whether this process is the one to do a daily task, and has now marked it as done."""
    with world.state.write() as connection:
        return components.first_today(connection, name, now=now)


class Wakes(IntervalTrigger):  # type: ignore[misc]
    """Every `seconds` seconds. After a jump of the clock the newest time stands for all that were missed.

    The library lists every missed time one by one: years of them fill the memory, and nothing else gets done.
    """

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The next time after `previous_fire_time`, not older than one interval before `now`."""
        due: datetime | None = super().get_next_fire_time(previous_fire_time, now)
        if due is None:
            return None
        missed = int((now - due).total_seconds() // self.interval_length)
        return due + missed * self.interval if missed > 0 else due


def _machine_count() -> float:
    """Seconds that the machine counted by itself, its sleep included: whoever sets the clock does not change it."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.perf_counter() if boot is None else time.clock_gettime(boot)


def note_jump(world: World, seconds: float) -> None:
    """The clock of this machine was set by this many seconds: report it in the log, the audit trail and the status."""
    now = world.clock()
    get_logger().warning("scheduler.clock_set", seconds=round(seconds))
    with world.state.write() as connection:
        components.show(connection, CLOCK, kind=CLOCK, at=now, facts={"seconds": round(seconds)})
        audit.append(
            connection,
            retention.SYSTEM,
            action="clock.jumped",
            actor="scheduler",
            at=now,
            seconds=str(round(seconds)),
        )


class Scheduler:
    """Looks at every active project each time the library wakes it up."""

    def __init__(self, app: App, *, stop: Stop | None = None, bell: Bell | None = None) -> None:
        url = app.settings.redis_url
        self.app = app
        self.stop = stop or Stop()
        self.bell = bell or make_bell(url.get_secret_value() if url else None)
        self.world = app.world()
        self.projects = planned_projects(app)
        self._ticks = 0
        self._refused: ConfigError | None = None

    @property
    def wake_seconds(self) -> float:
        """How often to look: often enough for the shortest interval."""
        shortest = min((project.interval_ms for project in self.projects), default=60_000) / 1000
        return max(0.2, min(WAKE, shortest / 3))

    def look(self) -> None:
        """One look at every project. A state database that is away is looked at again next time."""
        for project in self.projects:
            try:
                self.world.state.ready()  # a newer program may have moved the schema since the start
                tick(self.world, project, self.bell.ring)
            except StateRefused as error:  # it was fit when we began: somebody is at work on it
                get_logger().warning("scheduler.postponed", code=error.error_code, reason=error.message)
            except ConfigError as error:
                self._refused = error
                return
            except SyncError as error:
                get_logger().warning(
                    "scheduler.postponed", project=project.name, code=error.error_code, reason=error.message
                )
        self._ticks += 1

    def daily(self) -> None:
        """Prune and walk the audit trail, once a day."""
        try:
            prune_when_due(self.world, self.app.settings.p3dsync_retention_days)
            verify_when_due(self.world)
        except SyncError as error:
            get_logger().warning("daily.postponed", code=error.error_code, reason=error.message)

    def run(self) -> None:
        """Until asked to stop. Raises ConfigError if the state database belongs to another version by now."""
        get_logger().info("scheduler.started", projects=[project.name for project in self.projects])
        library = BackgroundScheduler(timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1})
        library.add_job(self.look, Wakes(seconds=self.wake_seconds, timezone=UTC), misfire_grace_time=None)
        library.add_job(self.daily, Wakes(minutes=10, timezone=UTC), misfire_grace_time=None)
        apart = time.time() - _machine_count()
        with Presence(self.world, "scheduler", self._facts):
            self.look()
            self.daily()
            library.start()
            while self._refused is None:
                if self.stop.wait(1.0):  # short: Windows sees Ctrl-C only between waits
                    break
                before, apart = apart, time.time() - _machine_count()
                if abs(apart - before) > 1.0:
                    _look_now(library)
                if abs(apart - before) > JUMP:
                    self._jumped(apart - before)
            library.shutdown(wait=True)
        self.bell.close()
        get_logger().info("scheduler.stopped", ticks=self._ticks)
        if self._refused is not None:
            raise self._refused

    def _jumped(self, seconds: float) -> None:
        try:
            note_jump(self.world, seconds)
        except SyncError as error:
            get_logger().warning("scheduler.postponed", code=error.error_code, reason=error.message)

    def _facts(self) -> dict[str, Any]:
        return {"ticks": self._ticks, "projects": len(self.projects)}


def _look_now(library: BackgroundScheduler) -> None:
    """The clock was set: the library would sleep until its next look is due by the old one."""
    for job in library.get_jobs():
        job.modify(next_run_time=datetime.now(UTC))


def run_scheduler(app: App, *, parent_pipe: bool = False) -> None:
    """The scheduler as a process: signals, logs, ticks."""
    prepare(app)
    stop = Stop()
    stop.listen()
    stop.then(hurry)
    if parent_pipe:
        stop.when_parent_ends()
    stop.when_a_thread_fails()
    if not wait_for_state(lambda: app.state, stop):
        return
    Scheduler(app, stop=stop).run()
    stop.raise_failure()
