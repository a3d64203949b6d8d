"""Status and health, judged from stored facts: nothing here reaches Plant 3D or SYNAPSE.

The worker stores what it found when it tried the connections (`project.probe`) and its own signs of life
(`component`). Whoever asks judges them by their age, so a silent worker is seen although it says nothing.

===========  ===============================================================================================
healthy      both connections answered lately, the last complete success is recent, nobody has to do anything
degraded     it goes on, but something is late, failed, or waits for a person
offline      nothing can be synchronised: no worker, or neither side can be reached
===========  ===============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from enum import StrEnum

import msgspec

from plant3d_sync.model.coverage import WARN, Coverage
from plant3d_sync.model.limit import Limit
from plant3d_sync.model.side import Direction
from plant3d_sync.run.project import iso
from plant3d_sync.state.runs import Run

LATE_INTERVALS = 3.0
"""How many intervals may pass before a check or a success counts as old."""

SHORTEST_PATIENCE = 30.0
"""Seconds; however short the interval is, nothing counts as old before."""

COMPONENT_SILENT = 60.0
"""Seconds without a sign of life after which a worker or scheduler counts as gone."""

CLOCK = "clock"
"""Name and kind of the row that says when and by how much the clock was set last."""

JUMP_SHOWN = 86_400.0
"""Seconds for which a clock that was set is a reason in the status."""

AHEAD = 900.0
"""Seconds. What is dated further ahead was written before the clock was set back: it says nothing of now."""

SIDES = ("plant3d", "synapse")


class Health(StrEnum):
    """The plan's three words."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    OFFLINE = "offline"


_ORDER = (Health.HEALTHY, Health.DEGRADED, Health.OFFLINE)


def worst(found: Iterable[Health]) -> Health:
    """The worst of several judgements, healthy if nothing spoke against it. Of no project at all see `unconfigured`."""
    return max(found, key=_ORDER.index, default=Health.HEALTHY)


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why it is not healthy. `since`: POSIX seconds, None if unknown."""

    code: str
    level: Health
    message: str
    hint: str = ""
    since: float | None = None

    def to_dict(self) -> dict[str, object]:
        """As in the JSON of the status."""
        return {
            "code": self.code,
            "level": self.level.value,
            "message": self.message,
            "hint": self.hint,
            "since": iso(self.since),
        }


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A configured project: what is expected of it. Seconds."""

    name: str
    active: bool
    interval: float
    skew_allowed: float = 120.0
    direction: Direction = Direction.PULL
    """What its schedule does: only the success of that counts."""
    coverage_warn: float = WARN
    """Share of what the mapping asks for that has to arrive."""
    config_error: str = ""
    """Why the configuration file cannot be read now, where that keeps the project from being written to."""

    @property
    def patience(self) -> float:
        """How old a check or a success may be."""
        return max(self.interval * LATE_INTERVALS, SHORTEST_PATIENCE)


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One connection as the worker last found it. `ok` is False when the check is too old to count."""

    side: str
    ok: bool
    checked_at: float | None
    age: float | None
    code: str | None = None
    message: str | None = None

    def to_dict(self) -> dict[str, object]:
        """As in the JSON of the status."""
        return {
            "status": "ok" if self.ok else "error",
            "checked_at": iso(self.checked_at),
            "age_seconds": None if self.age is None else round(self.age, 1),
            "code": self.code,
            "message": self.message,
        }


class Components(msgspec.Struct, kw_only=True):
    """When workers and schedulers were last seen (POSIX seconds), None if never."""

    worker: float | None = None
    scheduler: float | None = None
    redis: str | None = None
    """Why the worker seen last could not use Redis, None if it could or has none."""
    jumped_at: float | None = None
    jumped_by: float = 0.0
    """When the scheduler's clock was set last, and by how many seconds."""

    def silent(self, kind: str, now: float) -> bool:
        """Whether nobody of this kind was seen lately."""
        seen = self.worker if kind == "worker" else self.scheduler
        return seen is None or not -AHEAD <= now - seen <= COMPONENT_SILENT


class Status(msgspec.Struct, kw_only=True):
    """One project now."""

    project: Watched
    health: Health
    reasons: list[Reason]
    connections: dict[str, Checked]
    last_sync: float | None = None
    next_scheduled: float | None = None
    current: Run | None = None
    waiting: Run | None = None
    pending_conflicts: int = 0
    waiting_counts: dict[str, int] = msgspec.field(default_factory=dict)
    """How much waits for a person, by kind."""
    coverage: Coverage | None = None
    """As the last complete run left it; None before the first one."""
    skew: float | None = None
    limits: list[Limit] = msgspec.field(default_factory=list)
    """What the project's SYNAPSE cannot do, as the last run that ended found it."""
    components: Components = msgspec.field(default_factory=Components)


def unconfigured(active: Sized) -> list[Reason]:
    """Why nothing can be in order when no project is synchronised: nothing was looked at, so nothing is well."""
    if active:
        return []
    return [
        Reason(
            code="no_project",
            level=Health.OFFLINE,
            message="No project is configured and switched on: nothing is synchronised.",
            hint="Configure a project (README), or set `active: true` on one; `plant3d-sync check-config` helps.",
        )
    ]


def redis_away(why: str) -> Reason:
    """Redis cannot be used: no run is lost, each begins up to a second later."""
    return Reason(
        code="redis_unreachable",
        level=Health.DEGRADED,
        message=f"Redis cannot be used: {why}. Workers look into the run table instead.",
        hint="Start Redis or correct REDIS_URL; `plant3d-sync doctor` tries it.",
    )
