"""What a run says about itself: the JSON of `pull` and `apply`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plant3d_sync.model.coverage import ProjectCoverage
from plant3d_sync.model.document import Document
from plant3d_sync.model.plan import STAT_NAMES, GuardHit, RowError
from plant3d_sync.model.schema import StepDocument
from plant3d_sync.run.project import iso


class Report(msgspec.Struct, kw_only=True):
    """One run (or dry run) as people and scripts see it."""

    project: str
    direction: str
    run_id: str | None = None
    plan_id: str | None = None
    status: str = "completed"
    outcome: str = "clean"
    dry_run: bool = False
    started_at: float | None = None
    completed_at: float | None = None
    stats: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(STAT_NAMES, 0))
    by_entity: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    writes: dict[str, int] = msgspec.field(default_factory=lambda: {"synapse": 0, "plant3d": 0})
    lock_ms: float = 0.0
    guards: list[GuardHit] = msgspec.field(default_factory=list)
    errors: list[RowError] = msgspec.field(default_factory=list)
    pull_stats: dict[str, int] | None = None
    push_stats: dict[str, int] | None = None
    waiting_for_person: dict[str, int] = msgspec.field(default_factory=dict)
    """Operation -> steps of the plan that only a person carries out, by applying it."""
    coverage: ProjectCoverage | None = None
    findings_by_code: dict[str, int] = msgspec.field(default_factory=dict)
    planned_writes: dict[str, int] | None = None
    """Side -> how much the plan writes there; None where there was no plan."""
    unchanged_source: bool = False
    decided_by: str | None = None
    """The run whose decision stands, where nothing moved since."""
    schema_step: StepDocument | None = None
    """The change of the schema that waits for a person."""
    for_workbook: int = 0
    """Items whose cells wait for a workbook."""
    work_items: list[Document] = msgspec.field(default_factory=list)
    written_before: int = 0
    """Steps of a stored plan that an earlier run wrote."""
    found_applied: dict[str, int] | None = None
    """Side -> writes of an interrupted run that were found there."""

    def to_dict(self) -> Document:
        """JSON form; the names are part of the interface."""
        data: Document = {
            "run_id": self.run_id,
            "plan_id": self.plan_id,
            "project": self.project,
            "direction": self.direction,
            "status": self.status,
            "outcome": self.outcome,
            "dry_run": self.dry_run,
            "started_at": iso(self.started_at),
            "completed_at": iso(self.completed_at),
            "stats": self.stats,
            "by_entity": self.by_entity,
            "writes": self.writes,
            "waiting_for_person": self.waiting_for_person,
            "lock_ms": round(self.lock_ms, 3),
            "guards": [hit.to_dict() for hit in self.guards],
            "errors": [error.to_dict() for error in self.errors],
        }
        if self.pull_stats is not None:
            data["pull_stats"] = self.pull_stats
        if self.push_stats is not None:
            data["push_stats"] = self.push_stats
        data |= {
            "coverage": None if self.coverage is None else self.coverage.to_dict(),
            "findings_by_code": self.findings_by_code,
            "planned_writes": self.planned_writes,
            "unchanged_source": self.unchanged_source,
        }
        some: Document = {
            "decided_by": self.decided_by,
            "schema_step": self.schema_step,
            "for_workbook": self.for_workbook,
            "work_items": self.work_items,
            "written_before": self.written_before,
            "found_applied": self.found_applied,
        }
        return data | {name: value for name, value in some.items() if value}

    @property
    def exit_code(self) -> int:
        """0 done; 3 row errors, or somebody has to decide; 5 stopped by a guard."""
        if self.outcome == "guarded":
            return 5
        if self.outcome == "failed":
            return 1
        if self.outcome == "cancelled":
            return 130
        left = self.stats.get("errors") or self.stats.get("conflicts") or self.errors or self.schema_step
        return 3 if left else 0


def always() -> Document:
    """Keys of every run's JSON that only some runs have something to say about."""
    return {"coverage": None, "findings_by_code": {}, "planned_writes": None, "unchanged_source": False}


def add_stats(one: Mapping[str, int], two: Mapping[str, int]) -> dict[str, int]:
    """Sum by name."""
    return {name: one.get(name, 0) + two.get(name, 0) for name in STAT_NAMES}
