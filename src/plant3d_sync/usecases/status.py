"""One project now: what is stored of it, read and judged. It costs the same however many runs are stored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypedDict, cast

from plant3d_sync.model.coverage import Coverage, CoverageDocument
from plant3d_sync.model.limit import Limit
from plant3d_sync.model.run import RunStatus
from plant3d_sync.model.side import Direction
from plant3d_sync.state import Connection, components, run_queue, runs, schemas, waiting
from plant3d_sync.state import conflicts as conflict_state
from plant3d_sync.state import projects as project_state
from plant3d_sync.usecases.health import (
    AHEAD,
    CLOCK,
    SIDES,
    Checked,
    Components,
    Health,
    Status,
    Watched,
    worst,
)
from plant3d_sync.usecases.reasons import SchemaStep, why_unwell


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
        pending_conflicts=conflict_state.count_pending(connection, watched.name),
        waiting_counts=waiting.counts(connection, watched.name),
        coverage=covered(cast(dict[str, Counted], known.last_counts)) if known is not None else None,
        skew=skew if skew is not None else (known.skew if known is not None else None),
        limits=limits_in(probe),
        components=components,
    )
    status.next_scheduled = _next_slot(watched, components, now)
    status.reasons = why_unwell(
        status,
        succeeded=_expected_success(known, watched.direction),
        last=runs.last_ended(connection, watched.name),
        step=_waiting_step(connection, known),
        now=now,
    )
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


class Counted(TypedDict, total=False):
    """What is kept of a kind since the last complete run."""

    total: int
    unchanged: int
    coverage: CoverageDocument


def covered(counts: Mapping[str, Counted]) -> Coverage | None:
    """The coverage of the last complete run from what is kept of it."""
    parts = [Coverage.from_dict(one["coverage"]) for one in counts.values() if "coverage" in one]
    return Coverage.total(parts) if parts else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
