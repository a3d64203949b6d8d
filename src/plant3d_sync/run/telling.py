"""What a run says: a report is a function of the plan and of what became of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plant3d_sync.model.coverage import Coverage, ProjectCoverage, settled
from plant3d_sync.model.document import Document
from plant3d_sync.model.plan import RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.model.run import Ending, RunOutcome, RunStatus
from plant3d_sync.model.side import Direction, WriteMode
from plant3d_sync.model.step import Step
from plant3d_sync.model.tally import WRITTEN, Counts
from plant3d_sync.run import plans
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.decide import Planned
from plant3d_sync.run.execution import Outcome
from plant3d_sync.run.project import Project
from plant3d_sync.run.report import Report
from plant3d_sync.state.runs import StoredPlan


def of_plan(
    project: Project,
    planned: Planned,
    asked: Asked,
    *,
    plan_id: str,
    run_id: str | None,
    started: float | None,
) -> Report:
    """What a plan means to do, before any of it is done."""
    draft = planned.draft
    report = Report(
        project=project.name,
        direction=asked.direction.value,
        run_id=run_id,
        plan_id=plan_id,
        started_at=started,
        stats=draft.stats.to_dict(),
        by_entity={name: stats.to_dict() for name, stats in draft.by_entity.items()},
        writes={"synapse": 0, "plant3d": 0},
        lock_ms=planned.sides.snapshot.lock_ms,
        guards=draft.guards,
        errors=list(draft.errors),
        waiting_for_person=draft.waiting_for_person,
    )
    report.findings_by_code = by_code(draft.findings)
    cover(project, report, planned)
    report.planned_writes = draft.writes
    report.schema_step = planned.schema.document if planned.schema is not None else None
    if asked.direction is Direction.BOTH:
        report.pull_stats = draft.stats.to_dict()
    if asked.direction is not Direction.PULL:
        report.push_stats = draft.push_stats.to_dict()
    if asked.direction is Direction.PUSH:
        conflicts = report.stats["conflicts"]
        report.stats = {**draft.push_stats.to_dict(), "conflicts": conflicts}
        report.by_entity = {}
    if project.config.write is WriteMode.WORKBOOK:
        report.for_workbook = draft.push_stats.skipped
    report.work_items = draft.work_items[:200]
    return report


def cover(project: Project, report: Report, planned: Planned) -> None:
    """How much of what the mapping asks for arrives, as this run (or plan) leaves it. A push hands nothing over."""
    if report.direction == Direction.PUSH.value:
        return
    report.coverage = ProjectCoverage(
        warn=project.config.coverage_warn, by_entity=coverage_of(report.by_entity, planned)
    )


def coverage_of(by_entity: Mapping[str, Mapping[str, int]], planned: Planned) -> dict[str, Coverage]:
    """Of each kind of asset, with these counts of what became of its items. One count for runs, plans and `doctor`."""
    return {
        entity: settled(
            stats,
            planned.draft.reasons.get(entity, {}),
            planned.whole.get(entity, 0),
            planned.same_line.get(entity, 0),
            planned.undrawn.get(entity, 0),
        )
        for entity, stats in by_entity.items()
    }


def of_stored(stored: StoredPlan) -> Report:
    """A stored plan as a report, its counts as planned."""
    counts = stored.counts
    report = Report(
        project=stored.project,
        direction=stored.direction,
        plan_id=stored.plan_id,
        stats=counts.stats,
        by_entity=counts.by_entity,
        errors=stored.errors,
        planned_writes=stored.writes,
    )
    if stored.direction != Direction.PULL.value:
        report.pull_stats = dict(report.stats)
        report.push_stats = counts.push_stats or {}
    return report


def refused(stored: StoredPlan) -> Report:
    """A plan that is not carried out, with what it would do and the guards that stopped it."""
    report = of_stored(stored)
    report.status, report.outcome = "failed", "guarded"
    _nothing_was_done(report)
    report.waiting_for_person, report.guards = stored.waiting_for_person, stored.guards
    return report


def _nothing_was_done(report: Report) -> None:
    """A stored plan that its guards still stop began no run: what it meant to write is in `planned_writes`."""
    for stats in (report.stats, report.pull_stats, report.push_stats, *report.by_entity.values()):
        if stats is not None:
            stats |= dict.fromkeys(WRITTEN, 0)


def tell_what_was_done(report: Report, counted: Counts | None) -> None:
    """A plan that a guard stopped was not carried out: its counts are those of the run's row, not what it meant."""
    if counted is not None:
        report.stats, report.by_entity = counted.stats, counted.by_entity
        report.pull_stats, report.push_stats = counted.pull_stats, counted.push_stats


def settle_counts(report: Report, outcome: Outcome, *, approved: bool = False) -> None:
    """From what was planned to what happened: failed steps move from their count to errors."""
    outcome.counts.settle(report.stats, by_person=approved)
    for entity in outcome.counts.entities() & report.by_entity.keys():
        outcome.counts.settle(report.by_entity[entity], entity, by_person=approved)
    report.errors = [*report.errors, *outcome.errors]
    report.writes = {"synapse": outcome.written, "plant3d": outcome.cells_written}
    report.stats["findings"] += len(outcome.findings)
    if report.push_stats is not None and outcome.push:
        failed = outcome.push.get("stale", 0) + outcome.push.get("refused", 0)
        report.push_stats["updated"] = outcome.push.get("applied", 0) + outcome.push.get("found_applied", 0)
        report.push_stats["errors"] += failed
        report.push_stats["skipped"] = outcome.push.get("waiting", 0)
        if report.direction == Direction.PUSH.value:
            for name in ("updated", "errors", "skipped"):
                report.stats[name] = report.push_stats[name]


def outcome_of(report: Report) -> str:
    """Whether something is left for somebody to do, by the names of `RunOutcome`."""
    if report.guards:
        return "guarded"
    if report.errors or report.stats["errors"] or report.stats["conflicts"]:
        return "with_issues"
    if report.schema_step is not None:
        return "with_issues"
    return "with_issues" if report.coverage is not None and report.coverage.below else "clean"


def ending(report: Report, *, error: dict[str, object] | None = None) -> Ending:
    """The end of the run that this report tells of."""
    return Ending(
        at=report.completed_at or 0.0,
        status=RunStatus(report.status),
        outcome=RunOutcome(report.outcome),
        error=error,
        stats=report.stats,
        result=_slim(report),
        errors=[one.to_dict() for one in report.errors],
    )


def _slim(report: Report) -> Document:
    """The stored result: everything but the row errors, which have their own table."""
    data = report.to_dict()
    data.pop("errors", None)
    return data


def by_code(found: Sequence[Finding]) -> dict[str, int]:
    """Code -> how many, in the order of codes."""
    counts: dict[str, int] = {}
    for item in found:
        counts[item.code] = counts.get(item.code, 0) + 1
    return dict(sorted(counts.items()))


def superseded(stored: StoredPlan) -> str:
    """What became of a plan that was closed, or whose application ended half-way."""
    if why := plans.said_of(stored):
        return f"Plan {stored.plan_id} is closed: {why}."
    settled = stored.header.get("settled") or {}
    return (
        f"Plan {stored.plan_id} was begun and not finished: {settled.get('written', 0)} of its steps were written, "
        f"{settled.get('left', 0)} were not, as run {settled.get('run_id')} found."
    )


def stale_error(step: Step, why: str) -> RowError:
    """What is reported of a step of a stored plan that does not hold any more."""
    return RowError(
        code="stale",
        message=f"{why} Not written: the plan was made before.",
        hint="Make a new plan.",
        plant3d_id=step.plant3d_id,
        pnpid=step.pnpid,
        class_name=step.class_name,
        tag=step.tag,
    )
