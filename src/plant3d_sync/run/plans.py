"""Plans that wait for somebody, and how they end without being applied: a later run closes them, or a person does."""

from __future__ import annotations

from plant3d_sync.model.plan import PlanStatus
from plant3d_sync.model.side import Direction
from plant3d_sync.model.tally import WRITTEN
from plant3d_sync.run.asked import Asked
from plant3d_sync.run.decide import Planned
from plant3d_sync.run.report import Report
from plant3d_sync.state import Connection, runs
from plant3d_sync.state import plans as stored_plans
from plant3d_sync.state.plans import WAITING
from plant3d_sync.state.runs import StoredPlan

DECIDED_ANEW, GUARDED_ANEW, RULES_CHANGED, OTHER_DATABASE, DISCARDED, IN_WORKBOOK = (
    "decided_anew",
    "guarded_anew",
    "rules_changed",
    "other_database",
    "discarded",
    "in_workbook",
)
"""Why a plan was closed."""

_SAID = {
    DECIDED_ANEW: "a later run decided everything anew",
    GUARDED_ANEW: "a guard stopped a later run, whose plan takes its place",
    RULES_CHANGED: "the mapping, a setting or the schema of Plant 3D changed",
    OTHER_DATABASE: "the Plant 3D database is another one now",
    DISCARDED: "somebody discarded it",
    IN_WORKBOOK: "it was made for a workbook, which holds its values",
}


def said_of(stored: StoredPlan) -> str:
    """Why the plan cannot be applied any more, in words; empty if it was not closed so."""
    return _SAID.get((stored.header.get("settled") or {}).get("why", ""), "")


def close_after(
    connection: Connection, asked: Asked, planned: Planned, report: Report, *, guarded: bool
) -> None:
    """Close the older plans that a complete run made pointless.

    Expired: made under other rules, or of another database. Superseded: the run decided all of it anew (what waits for a
    person stays), or it was stopped by a guard as they were. Undo plans are about what was written, and stay.
    """
    asked_for = stored_plans.asked_for(connection, report.project)
    for one in stored_plans.decided_before(
        connection, report.project, planned.read_at, but=str(report.plan_id)
    ):
        if one in asked_for:
            continue  # somebody approved it, and its turn comes
        stored = runs.get_plan(connection, one)
        if stored is None:
            continue
        dbid = planned.sides.snapshot.identity.dbid
        why = _why_closed(stored, asked.direction, planned.mapping_digest, dbid, guarded=guarded)
        if why is None:
            continue
        status = PlanStatus.EXPIRED if why in (RULES_CHANGED, OTHER_DATABASE) else PlanStatus.SUPERSEDED
        close(connection, stored, status, {"why": why, "run_id": str(report.run_id)})


def _why_closed(
    stored: StoredPlan, direction: Direction, mapping_digest: str, dbid: str, *, guarded: bool
) -> str | None:
    if stored.mapping_digest != mapping_digest:
        return RULES_CHANGED
    if stored.identity is not None and stored.identity.dbid != dbid:
        return OTHER_DATABASE
    if guarded:
        same = stored.status == PlanStatus.GUARDED and stored.direction == direction.value
        return GUARDED_ANEW if same and stored.run_id is not None else None
    if stored.waiting_for_person or not _is_covered(stored, direction):
        return None
    return DECIDED_ANEW


def _is_covered(stored: StoredPlan, direction: Direction) -> bool:
    """Whether a run of this direction decides everything that the plan would write."""
    if direction is Direction.BOTH or stored.direction == direction.value:
        return True
    if stored.direction != Direction.BOTH.value:
        return False
    counts = stored.counts
    if direction is Direction.PULL:
        return not (counts.push_stats or {}).get("total", 1)
    return not any(counts.stats.get(name, 1) for name in WRITTEN)


def close(connection: Connection, stored: StoredPlan, status: PlanStatus, settled: dict[str, object]) -> bool:
    """Close a plan that waits, with the reason; False if it does not wait any more."""
    left = stored.lines - runs.remembered(connection, stored)
    return runs.set_plan(
        connection,
        stored.plan_id,
        expect=WAITING,
        status=status.value,
        header={
            **stored.header,
            "settled": {"written": 0, "left": left, "left_lines": [], **settled},
        },
    )
