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

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from enum import StrEnum
from typing import TypedDict, cast

import msgspec

from plant3d_sync.model.coverage import WARN, Coverage, CoverageDocument
from plant3d_sync.model.limit import Limit
from plant3d_sync.model.run import RunOutcome, RunStatus
from plant3d_sync.model.side import Direction
from plant3d_sync.run.project import iso
from plant3d_sync.state import Connection, components, findings, run_queue, runs, schemas, waiting
from plant3d_sync.state import projects as project_state
from plant3d_sync.state.runs import Run
from plant3d_sync.words import counted

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


def read_components(connection: Connection) -> Components:
    """The newest sign of life of each kind."""
    worker = components.newest(connection, "worker")
    scheduler = components.newest(connection, "scheduler")
    clock = components.get(connection, CLOCK)
    facts = {} if worker is None else worker.facts
    return Components(
        worker=None if worker is None else worker.seen_at,
        scheduler=None if scheduler is None else scheduler.seen_at,
        redis=_text(facts.get("redis_error")) if facts.get("redis") == "error" else None,
        jumped_at=None if clock is None else clock.seen_at,
        jumped_by=0.0 if clock is None else _number(clock.facts.get("seconds")) or 0.0,
    )


def read_status(connection: Connection, watched: Watched, *, now: float) -> Status:
    """Everything about one project. Costs the same however many runs are stored."""
    known = project_state.get(connection, watched.name)
    probe: Mapping[str, object] = known.probe if known is not None else {}
    connections = {side: _checked(side, probe.get(side), watched, now) for side in SIDES}
    components = read_components(connection)
    skew = _number(probe.get("skew"))
    status = Status(
        project=watched,
        health=Health.HEALTHY,
        reasons=[],
        connections=connections,
        last_sync=_last_success(known),
        current=run_queue.oldest(connection, watched.name, RunStatus.RUNNING),
        waiting=run_queue.oldest(connection, watched.name, RunStatus.QUEUED),
        pending_conflicts=findings.count_pending(connection, watched.name),
        waiting_counts=waiting.counts(connection, watched.name),
        coverage=covered(cast(dict[str, Counted], known.last_counts)) if known is not None else None,
        skew=skew if skew is not None else (known.skew if known is not None else None),
        limits=limits_in(probe),
        components=components,
    )
    expected = _expected_success(known, watched.direction)
    status.next_scheduled = _next_slot(watched, components, now)
    status.reasons = [
        *_connection_reasons(status),
        *_component_reasons(status, now),
        *_success_reasons(watched, expected, now),
        *_run_reasons(connection, status, now),
        *_coverage_reasons(status),
        *_schema_reasons(_waiting_step(connection, known), watched),
        *_people_reasons(status),
    ]
    status.health = worst(reason.level for reason in status.reasons)
    return status


def _waiting_step(connection: Connection, known: project_state.ProjectState | None) -> SchemaStep:
    return SchemaStep() if known is None else cast(SchemaStep, schemas.waiting(connection, known.number))


def limits_in(probe: Mapping[str, object]) -> list[Limit]:
    """What is stored of a project's SYNAPSE."""
    stored = probe.get("limits")
    found = [Limit.from_dict(one) for one in stored] if isinstance(stored, list) else []
    return [one for one in found if one is not None]


def limits_of(connection: Connection, names: Iterable[str]) -> list[str]:
    """Codes of what the SYNAPSE of any of these projects cannot do."""
    codes: dict[str, None] = {}
    for name in names:
        known = project_state.get(connection, name)
        codes |= dict.fromkeys(one.code for one in limits_in(known.probe if known is not None else {}))
    return list(codes)


def _last_success(known: project_state.ProjectState | None) -> float | None:
    if known is None:
        return None
    found = [at for at in (known.pull_ok_at, known.push_ok_at) if at is not None]
    return max(found, default=None)


def _expected_success(known: project_state.ProjectState | None, direction: Direction) -> float | None:
    """When everything that the schedule does was last done to the end; None if part of it never was.

    A push by hand does not hide that pulls fail.
    """
    if known is None:
        return None
    parts = {
        Direction.PULL: [known.pull_ok_at],
        Direction.PUSH: [known.push_ok_at],
        Direction.BOTH: [known.pull_ok_at, known.push_ok_at],
    }[direction]
    found = [at for at in parts if at is not None]
    return min(found) if len(found) == len(parts) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _checked(side: str, stored: object, watched: Watched, now: float) -> Checked:
    facts: Mapping[str, object] = stored if isinstance(stored, Mapping) else {}
    at = _number(facts.get("checked_at"))
    if at is None or not -AHEAD <= now - at <= watched.patience:
        return Checked(
            side=side,
            ok=False,
            checked_at=at,
            age=None if at is None else max(now - at, 0.0),
            code="not_checked",
            message="never checked" if at is None else "not checked lately",
        )
    return Checked(
        side=side,
        ok=facts.get("ok") is True,
        checked_at=at,
        age=max(now - at, 0.0),
        code=_text(facts.get("code")),
        message=_text(facts.get("message")),
    )


def _next_slot(watched: Watched, components: Components, now: float) -> float | None:
    """Start of the next UTC slot; None when no scheduler would start anything then."""
    if not watched.active or components.silent("scheduler", now):
        return None
    return (math.floor(now / watched.interval) + 1) * watched.interval


def _connection_reasons(status: Status) -> list[Reason]:
    if not status.project.active:
        return []
    bad = [found for found in status.connections.values() if not found.ok]
    level = Health.OFFLINE if len(bad) == len(SIDES) else Health.DEGRADED
    names = {"plant3d": "Plant 3D", "synapse": "SYNAPSE"}
    return [
        Reason(
            code=f"{found.side}_{'not_checked' if found.code == 'not_checked' else 'unreachable'}",
            level=level,
            message=f"{names[found.side]}: {found.message or found.code or 'cannot be reached'}.",
            hint="Is a worker running? It checks the connections."
            if found.code == "not_checked"
            else f"`plant3d-sync doctor {status.project.name}` on the worker's machine says what to do.",
            since=found.checked_at,
        )
        for found in bad
    ]


def _component_reasons(status: Status, now: float) -> list[Reason]:
    reasons = []
    if status.components.silent("worker", now):
        reasons.append(
            Reason(
                code="worker_silent",
                level=Health.OFFLINE,
                message="No worker was seen for a minute; runs wait.",
                hint="Start `plant3d-sync worker` (or `up`).",
                since=status.components.worker,
            )
        )
    if status.project.active and status.components.silent("scheduler", now):
        reasons.append(
            Reason(
                code="scheduler_silent",
                level=Health.DEGRADED,
                message="No scheduler was seen for a minute; nothing starts by itself.",
                hint="Start `plant3d-sync scheduler` (or `up`).",
                since=status.components.scheduler,
            )
        )
    jumped = status.components.jumped_at
    if jumped is not None and -AHEAD <= now - jumped <= JUMP_SHOWN:
        reasons.append(
            Reason(
                code="clock_jumped",
                level=Health.DEGRADED,
                message=f"The clock of the scheduler's machine was set by {status.components.jumped_by:+.0f} s.",
                hint="Set it by NTP. Times in lists before and after that moment do not compare; no run was lost.",
                since=jumped,
            )
        )
    if status.components.redis is not None and not status.components.silent("worker", now):
        reasons.append(redis_away(status.components.redis))
    return reasons


def _success_reasons(watched: Watched, success: float | None, now: float) -> list[Reason]:
    if not watched.active or (success is not None and now - success <= watched.patience):
        return []
    return [
        Reason(
            code="never_synced" if success is None else "success_too_old",
            level=Health.DEGRADED,
            message=f"No {watched.direction.value} run succeeded yet."
            if success is None
            else f"The last complete success ({watched.direction.value}) is older than three intervals.",
            hint="Look at the newest runs.",
            since=success,
        )
    ]


def _run_reasons(connection: Connection, status: Status, now: float) -> list[Reason]:
    reasons = []
    watched = status.project
    if status.waiting is not None and now - status.waiting.created_at > watched.patience:
        reasons.append(
            Reason(
                code="run_waiting",
                level=Health.DEGRADED,
                message=_waiting_text(status.waiting),
                hint="It is tried again by itself.",
                since=status.waiting.created_at,
            )
        )
    beat = status.current.heartbeat_at or status.current.started_at if status.current is not None else None
    if beat is not None and now - beat > COMPONENT_SILENT:
        reasons.append(
            Reason(
                code="run_silent",
                level=Health.DEGRADED,
                message="The running run gave no sign of life for a minute.",
                hint="Another worker takes it over; look at the worker's log.",
                since=beat,
            )
        )
    return [*reasons, *_last_run_reasons(connection, watched)]


def _waiting_text(waiting: Run) -> str:
    error = waiting.error or {}
    why = _text(error.get("message"))
    return f"A run waits: {why}" if why else "A run waits longer than three intervals."


def _last_run_reasons(connection: Connection, watched: Watched) -> list[Reason]:
    last = runs.last_ended(connection, watched.name)
    if last is None:
        return []
    if last.status == RunStatus.FAILED:
        error = last.error or {}
        return [
            Reason(
                code="last_run_failed",
                level=Health.DEGRADED,
                message=f"The last run failed: {error.get('message') or error.get('code') or 'no reason kept'}",
                hint=str(error.get("hint") or ""),
                since=last.completed_at,
            )
        ]
    if last.outcome == RunOutcome.GUARDED:
        return [
            Reason(
                code="guard_stopped",
                level=Health.DEGRADED,
                message="A guard stopped the last run before its first write.",
                hint="Look at its plan, then apply it with approved guards, or correct the source.",
                since=last.completed_at,
            )
        ]
    return []


class Counted(TypedDict, total=False):
    """What is kept of a kind since the last complete run."""

    total: int
    unchanged: int
    coverage: CoverageDocument


def covered(counts: Mapping[str, Counted]) -> Coverage | None:
    """The coverage of the last complete run from what is kept of it."""
    parts = [Coverage.from_dict(one["coverage"]) for one in counts.values() if "coverage" in one]
    return Coverage.total(parts) if parts else None


def _coverage_reasons(status: Status) -> list[Reason]:
    found = status.coverage
    if found is None or not found.is_below(status.project.coverage_warn):
        return []
    return [
        Reason(
            code="coverage_low",
            level=Health.DEGRADED,
            message=f"Of what the mapping asks for arrives {found.said()}.",
            hint="`plant3d-sync findings` names the items; `coverage: {warn: …}` sets the floor of a project.",
        )
    ]


class _Changed(TypedDict):
    message: str


class SchemaStep(TypedDict, total=False):
    """The change of the schema that waits: what it says to people."""

    changes: Sequence[_Changed]


def _schema_reasons(step: SchemaStep, watched: Watched) -> list[Reason]:
    if not step:
        return []
    changes = " ".join(one["message"] for one in step["changes"][:3])
    return [
        Reason(
            code="schema_step",
            level=Health.DEGRADED,
            message=f"The schema of Plant 3D changed: {changes}",
            hint=f"`plant3d-sync schema show {watched.name}`, then `schema accept`; until then the fields and items that it concerns wait.",
        )
    ]


def _people_reasons(status: Status) -> list[Reason]:
    reasons = []
    if status.pending_conflicts:
        reasons.append(
            Reason(
                code="conflicts_pending",
                level=Health.DEGRADED,
                message=counted(
                    status.pending_conflicts,
                    f"{status.pending_conflicts} conflict waits for a decision; its field is frozen.",
                    f"{status.pending_conflicts} conflicts wait for a decision; their fields are frozen.",
                ),
                hint="GET /api/v1/conflicts, or `plant3d-sync conflicts`.",
            )
        )
    if refused := status.waiting_counts.get("quarantine"):
        reasons.append(
            Reason(
                code="rows_refused",
                level=Health.DEGRADED,
                message=f"Refused rows that wait for somebody: {refused}.",
                hint=f"`plant3d-sync quarantine list {status.project.name}` shows both values, and who refused them.",
            )
        )
    if status.skew is not None and abs(status.skew) > status.project.skew_allowed:
        reasons.append(
            Reason(
                code="clock_skew",
                level=Health.DEGRADED,
                message=f"SYNAPSE's clock and ours differ by {status.skew:.0f} s; no conflict is decided by time.",
                hint="Set the clocks by NTP.",
            )
        )
    return reasons
