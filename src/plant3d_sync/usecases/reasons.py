"""Why a project is not healthy: each reason with what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from plant3d_sync.model.run import RunOutcome, RunStatus
from plant3d_sync.state.runs import Run
from plant3d_sync.usecases.health import (
    AHEAD,
    COMPONENT_SILENT,
    JUMP_SHOWN,
    SIDES,
    Health,
    Reason,
    Status,
    Watched,
    redis_away,
)
from plant3d_sync.words import counted


class _Changed(TypedDict):
    message: str


class SchemaStep(TypedDict, total=False):
    """The change of the schema that waits: what it says to people."""

    changes: Sequence[_Changed]


def why_unwell(
    status: Status, *, succeeded: float | None, last: Run | None, step: SchemaStep, now: float
) -> list[Reason]:
    """Every reason. `succeeded`: when everything that the schedule does was last done to the end (POSIX seconds).

    `last`: the run that ended last. `step`: the change of the schema that waits, empty if none does.
    """
    return [
        *_connection_reasons(status),
        *_component_reasons(status, now),
        *_config_reasons(status.project),
        *_success_reasons(status.project, succeeded, now),
        *_run_reasons(status, last, now),
        *_coverage_reasons(status),
        *_schema_reasons(step, status.project),
        *_people_reasons(status),
    ]


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


def _run_reasons(status: Status, last: Run | None, now: float) -> list[Reason]:
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
    return [*reasons, *_last_run_reasons(last)]


def _waiting_text(waiting: Run) -> str:
    error = waiting.error or {}
    why = _text(error.get("message"))
    return f"A run waits: {why}" if why else "A run waits longer than three intervals."


def _last_run_reasons(last: Run | None) -> list[Reason]:
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


def _config_reasons(watched: Watched) -> list[Reason]:
    if not watched.config_error:
        return []
    return [
        Reason(
            code="config_unreadable",
            level=Health.DEGRADED,
            message=f"The configuration file cannot be read now, so nothing is written into Plant 3D: {watched.config_error}",
            hint="Correct the file (`plant3d-sync check-config`); it is heard again without a restart.",
        )
    ]


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


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
