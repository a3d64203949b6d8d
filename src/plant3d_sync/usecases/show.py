"""Runs as documents, the same for the command line and the web."""

from __future__ import annotations

from typing import Any

from plant3d_sync.state.runs import Run
from plant3d_sync.usecases.project import iso


def run_document(run: Run) -> dict[str, Any]:
    """One run: what was asked, what came of it."""
    document: dict[str, Any] = {
        **run.result,
        "run_id": run.run_id,
        "sync_id": run.run_id,
        "project": run.project,
        "project_id": run.project,
        "direction": run.direction,
        "trigger": run.trigger,
        "requested_by": run.requested_by,
        "request_id": run.request_id,
        "status": run.status,
        "outcome": run.outcome,
        "dry_run": run.dry_run,
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "completed_at": iso(run.completed_at),
        "plan_id": run.plan_id,
        "stats": run.stats,
        "errors_total": run.errors_total,
        "error": run.error,
    }
    return document
