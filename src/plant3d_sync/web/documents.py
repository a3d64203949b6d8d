"""From rows and use-case documents to what goes over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from plant3d_sync.model.run import is_over
from plant3d_sync.model.sentence import sentences
from plant3d_sync.model.step import Step, document
from plant3d_sync.state.runs import Run, StoredPlan
from plant3d_sync.usecases.health import Checked, Reason, Status
from plant3d_sync.web import schemas as s


def when(seconds: float | None) -> datetime | None:
    """POSIX seconds as a UTC time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def at(seconds: float) -> datetime:
    """POSIX seconds as a UTC time."""
    return datetime.fromtimestamp(seconds, UTC)


def stats(found: Mapping[str, Any] | None) -> s.Stats:
    """Counts; missing ones are zero."""
    return s.Stats.model_validate(dict(found or {}))


def error_info(error: Mapping[str, Any] | None) -> s.ErrorInfo | None:
    """Why a run failed or waits."""
    if not error:
        return None
    return s.ErrorInfo(
        code=str(error.get("code") or "failed"),
        message=str(error.get("message") or ""),
        hint=str(error.get("hint") or ""),
    )


def progress(run: Run) -> s.Progress:
    """How far it is."""
    return s.Progress(phase=run.phase, done=run.phase_done, total=run.phase_total)


def job(run: Run) -> s.SyncJob:
    """A run that was asked for."""
    return s.SyncJob.model_validate(
        {
            "sync_id": run.run_id,
            "status": run.status,
            "stats": stats(run.stats),
            "project_id": run.project,
            "direction": run.direction,
            "outcome": run.outcome,
            "dry_run": run.dry_run,
            "plan_id": run.plan_id,
            "created_at": at(run.created_at),
            "request_id": run.request_id,
        }
    )


def both_stats(run: Run) -> tuple[s.Stats, s.Stats]:
    """Pull and push counts of a run of any direction."""
    pull = run.result.get("pull_stats") or (run.stats if run.direction != "push" else None)
    push = run.result.get("push_stats") or (run.stats if run.direction == "push" else None)
    return stats(pull), stats(push)


def now_answer(run: Run, follow_up: str | None) -> s.SyncNow:
    """The body of `sync/now`, done or not."""
    pull, push = both_stats(run)
    return s.SyncNow.model_validate(
        {
            "sync_id": run.run_id,
            "pull_stats": pull,
            "push_stats": push,
            "status": run.status,
            "outcome": run.outcome,
            "project_id": run.project,
            "follow_up": follow_up,
            "progress": None if is_over(run.status) else progress(run),
            "error": error_info(run.error),
        }
    )


def _log_members(run: Run) -> dict[str, Any]:
    return {
        "sync_id": run.run_id,
        "project_id": run.project,
        "direction": run.direction,
        "trigger": run.trigger,
        "status": run.status,
        "outcome": run.outcome,
        "dry_run": run.dry_run,
        "created_at": at(run.created_at),
        "started_at": when(run.started_at),
        "completed_at": when(run.completed_at),
        "stats": stats(run.stats),
        "errors_total": run.errors_total,
        "plan_id": run.plan_id,
        "requested_by": run.requested_by,
        "error": error_info(run.error),
    }


def log(run: Run) -> s.SyncLog:
    """One run of the history."""
    return s.SyncLog.model_validate(_log_members(run))


def detail(run: Run, errors: list[dict[str, Any]]) -> s.SyncDetail:
    """Everything about a run."""
    result = run.result
    ended = is_over(run.status)
    pull, push = result.get("pull_stats"), result.get("push_stats")
    return s.SyncDetail.model_validate(
        _log_members(run)
        | {
            "errors": [row_error(error) for error in errors],
            "request_id": run.request_id,
            "progress": None if ended else progress(run),
            "attempts": run.attempts,
            "next_try_at": when(run.next_try_at),
            "cancel_requested": run.cancel_requested,
            "pull_stats": stats(pull) if pull else None,
            "push_stats": stats(push) if push else None,
            "by_entity": {name: stats(found) for name, found in (result.get("by_entity") or {}).items()},
            "writes": result.get("writes") or {},
            "guards": result.get("guards") or [],
            "lock_ms": result.get("lock_ms"),
            "continued_by": result.get("continued_by"),
            "found_applied": result.get("found_applied") or {},
            "written_before": result.get("written_before") or 0,
        }
    )


def row_error(error: Mapping[str, Any]) -> s.SyncError:
    """A row error by the plan's names."""
    return s.SyncError(
        plant3d_id=error.get("plant3d_id"),
        asset_tag=error.get("tag"),
        field=error.get("field"),
        code=str(error.get("code") or "record"),
        message=str(error.get("message") or ""),
        hint=str(error.get("hint") or ""),
        pnpid=error.get("pnpid"),
        class_name=error.get("class"),
    )


def reason(found: Reason) -> s.HealthReason:
    """Why it is not healthy."""
    return s.HealthReason.model_validate(
        {
            "code": found.code,
            "level": found.level.value,
            "message": found.message,
            "hint": found.hint,
            "since": when(found.since),
        }
    )


def connection(found: Checked) -> s.ConnectionState:
    """A connection as last checked."""
    return s.ConnectionState(
        status="ok" if found.ok else "error",
        checked_at=when(found.checked_at),
        age_seconds=None if found.age is None else round(found.age, 1),
        code=found.code,
        message=found.message,
    )


def current(run: Run | None) -> s.CurrentJob | None:
    """A run that goes or waits."""
    if run is None:
        return None
    return s.CurrentJob.model_validate(
        {
            "sync_id": run.run_id,
            "direction": run.direction,
            "status": run.status,
            "started_at": when(run.started_at),
            "progress": progress(run),
        }
    )


def status(found: Status, queue_kind: str) -> s.SyncStatus:
    """A project now."""
    return s.SyncStatus.model_validate(
        {
            "last_sync": when(found.last_sync),
            "next_scheduled": when(found.next_scheduled),
            "current_job": current(found.current or found.waiting),
            "health": found.health.value,
            "reasons": [reason(one) for one in found.reasons],
            "project_id": found.project.name,
            "waiting_job": current(found.waiting) if found.current is not None else None,
            "connections": {side: connection(one) for side, one in found.connections.items()},
            "pending_conflicts": found.pending_conflicts,
            "waiting": found.waiting_counts,
            "coverage": found.coverage.to_dict() if found.coverage is not None else None,
            "synapse_limits": [one.to_dict() for one in found.limits],
            "clock_skew_seconds": found.skew,
            "worker_seen_at": when(found.components.worker),
            "scheduler_seen_at": when(found.components.scheduler),
            "queue": queue_kind,
        }
    )


def plan_members(plan: StoredPlan) -> dict[str, Any]:
    """A stored plan without its steps."""
    header = plan.header
    return {
        "plan_id": plan.plan_id,
        "project_id": plan.project,
        "direction": plan.direction,
        "status": plan.status,
        "created_at": at(plan.created_at),
        "created_by": plan.created_by,
        "sync_id": plan.run_id,
        "fingerprint": plan.fingerprint,
        "lines_total": plan.lines,
        "remembered": plan.remembered,
        "stats": stats(header.get("stats")),
        "push_stats": stats(header.get("push_stats")),
        "guards": header.get("guards") or [],
        "errors_total": header.get("errors_total") or len(header.get("errors") or []),
        "writes": header.get("writes"),
        "applied_at": when(plan.applied_at),
        "applied_by": plan.applied_by,
        "undo_of": plan.undo_of,
        "settled": header.get("settled"),
        "version": plan.version,
    }


def plan_line(number: int, step: Step, needed: int | None) -> s.PlanLine:
    """One step of a plan (`lines` in the API); what the link will remember stays inside. `needed`: as `sentences` has it."""
    shown = document(step)
    return s.PlanLine.model_validate(
        {
            **{name: shown[name] for name in _OF_STEP if name in shown},
            "n": number,
            "plant3d_id": step.plant3d_id,
            "class_name": step.class_name,
            "asset_tag": step.tag,
            "sentences": sentences(step, needed=needed),
        }
    )


_OF_STEP = (
    "op",
    "entity",
    "pnpid",
    "asset_id",
    "old_tag",
    "set",
    "was",
    "cells",
    "why",
    "needs",
    "drawing",
)
"""Members of a step that the API shows as they are."""
