"""SYNAPSE refused writes because somebody edited meanwhile: the same run looks again and decides anew.

A refusal shows what SYNAPSE holds now, and the link remembers it. So the items of the refused steps are compared again
with the copy of Plant 3D that the run has, planned and written like any others; what the run says of itself is then
the sum of both looks, as if the edit had come before the first.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from plant3d_sync.failpoints import failpoint
from plant3d_sync.model.plan import Stats
from plant3d_sync.run.carry_out import Writing
from plant3d_sync.run.decide import Planned, make_plan
from plant3d_sync.run.execution import Execution, Outcome
from plant3d_sync.run.plan_store import PlanStore
from plant3d_sync.run.read_synapse import Feed
from plant3d_sync.run.report import Report
from plant3d_sync.run.request import Request
from plant3d_sync.state import runs

LOOKS = 3
"""How often one run decides anew what was refused; what is edited even then is left to the next run."""


def look_again(
    writing: Writing,
    plans: PlanStore,
    planned: Planned,
    report: Report,
    execution: Execution,
    request: Request,
) -> None:
    """Decide anew, and write, what SYNAPSE refused because somebody edited it since it was read."""
    failpoint("run.refused")
    world, project, feed = execution.world, execution.project, planned.sides.feed
    refused = [one.step for one in execution.outcome.refused]
    seen = replace(
        planned.sides,
        known=replace(execution.known, next_link=execution.next_link, feed_read_at=feed.started_at),
        feed=Feed(cursor=feed.cursor, started_at=feed.started_at),  # the links hold what was read
    )
    again = make_plan(
        world, project, seen, request.asked, only=frozenset(step.plant3d_id for step in refused)
    )
    if again.draft.guards:
        execution.outcome.leave_refused()  # the next run decides
        return
    plan_id = plans.put(again, request, run_id=None, follows=execution.plan_id)
    execution.outcome.decide_refused_anew()
    outcome = Outcome()
    second = replace(execution, plan_id=plan_id, outcome=outcome, stored_steps=False, just_read=frozenset())
    count = len(again.draft.lines)
    try:
        writing.carry_out(second, plans.chunks(plan_id, count), count, planned.sides.snapshot)
    finally:  # what ends the run here has to tell what was written until then
        add_up(planned, report, execution.outcome, again, outcome)
    execution.next_link = second.next_link
    with world.state.write() as connection:
        runs.set_plan(connection, plan_id, status="applied")


def add_up(first: Planned, report: Report, outcome: Outcome, again: Planned, second: Outcome) -> None:
    """The second look's decisions and outcomes join the first's."""
    one, two = first.draft, again.draft
    report.stats = _both(report.stats, two.stats.decided_anew())
    for name, more in two.by_entity.items():
        if name in report.by_entity:
            report.by_entity[name] = _both(report.by_entity[name], more.decided_anew())
    if report.push_stats is not None:
        report.push_stats = _both(report.push_stats, two.push_stats)
    report.errors = [*report.errors, *two.errors]
    one.findings.extend(two.findings)
    one.conflicts.extend(two.conflicts)
    one.work_items.extend(two.work_items)
    one.examined |= two.examined
    one.uncompared |= two.uncompared
    one.fates = {**one.fates, **two.fates}
    one.waiting += two.waiting
    first.choices |= again.choices
    outcome.join(second)


def _both(told: Mapping[str, int], more: Stats) -> dict[str, int]:
    return Stats(**told).plus(more).to_dict()


__all__ = ["LOOKS", "look_again"]
