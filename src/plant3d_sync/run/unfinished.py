"""What a run that ends early has come to: its counts say what was done, where a plan's say what was meant."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from plant3d_sync.model.side import Direction
from plant3d_sync.model.tally import WRITTEN
from plant3d_sync.run.execution import Outcome
from plant3d_sync.run.report import Report


class SoFar(msgspec.Struct):
    """What is known of a run while it goes on. `plan_id`: the plan, once there is one."""

    plan_id: str | None = None
    outcome: Outcome = msgspec.field(default_factory=Outcome)
    planned: Report | None = None

    def begin(self, planned: Report, outcome: Outcome) -> None:
        """There is a plan and it is carried out from now on; its counts are kept as they are at this moment."""
        self.plan_id, self.outcome = planned.plan_id, outcome
        self.planned = replace(
            planned,
            stats=dict(planned.stats),
            by_entity={name: dict(stats) for name, stats in planned.by_entity.items()},
            push_stats=None if planned.push_stats is None else dict(planned.push_stats),
        )

    def report(self, project: str, direction: str) -> Report:
        """The run as far as it came. Records of the plan that it did not come to stand in no count but the total."""
        report = self.planned or Report(project=project, direction=direction)
        outcome = self.outcome
        outcome.leave_refused()
        report = replace(
            report,
            plan_id=self.plan_id,
            stats=dict(report.stats),
            by_entity={name: dict(stats) for name, stats in report.by_entity.items()},
            errors=[*report.errors, *outcome.errors],
            writes={"synapse": outcome.written, "plant3d": outcome.cells_written},
        )
        if self.planned is None:
            return report
        if report.direction != Direction.PUSH.value:
            for stats in (report.stats, *report.by_entity.values()):
                stats.update(dict.fromkeys(WRITTEN, 0))
            outcome.counts.add_to(report.stats)
            for entity, stats in report.by_entity.items():
                outcome.counts.add_to(stats, entity)
            report.pull_stats = None if report.pull_stats is None else dict(report.stats)
        report.stats["findings"] += len(outcome.findings)
        if report.push_stats is not None:
            push = outcome.push
            done = push.get("applied", 0) + push.get("found_applied", 0)
            failed = push.get("stale", 0) + push.get("refused", 0)
            report.push_stats = {
                **report.push_stats,
                "updated": done,
                "errors": report.push_stats.get("errors", 0) + failed,
            }
            if report.direction == Direction.PUSH.value:
                report.stats |= {name: report.push_stats[name] for name in ("updated", "errors")}
        return report
