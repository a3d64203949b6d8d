"""What a step counts as, whichever way it ends: the rows of one table."""

from __future__ import annotations

import pytest

from plant3d_sync.model.plan import STAT_NAMES, Op, RowError
from plant3d_sync.model.record import Finding
from plant3d_sync.model.step import Restore
from plant3d_sync.model.tally import End, StepCounts, statistic
from plant3d_sync.run.execution import Outcome, Refused

PLANNED = dict.fromkeys(STAT_NAMES, 5)

FAILED = {
    Op.CREATE: {"created": 4, "errors": 6},
    Op.UPDATE: {"updated": 4, "errors": 6},
    Op.ADOPT: {"updated": 4, "errors": 6},
    Op.RESTORE: {"updated": 4, "errors": 6},
    Op.SETTLE: {"unchanged": 4, "errors": 6},
    Op.TOUCH: {"unchanged": 4, "errors": 6},
    Op.ARCHIVE: {"archived": 4},  # its item was not read, so no read record is in error
    Op.MISSING: {},
    Op.PUSH: {},  # counted by itself, towards Plant 3D
}
DONE = {
    Op.CREATE: "created",
    Op.UPDATE: "updated",
    Op.ADOPT: "updated",
    Op.RESTORE: "updated",
    Op.ARCHIVE: "archived",
}


def one(op: Op, end: End) -> StepCounts:
    counts = StepCounts()
    counts.add("equipment", op, end)
    return counts


@pytest.mark.parametrize("op", Op)
def test_a_planned_step_that_failed_leaves_its_statistic(op: Op) -> None:
    stats = dict(PLANNED)
    one(op, End.FAILED).settle(stats, by_person=False)
    assert stats == PLANNED | FAILED[op]


@pytest.mark.parametrize("op", Op)
def test_a_run_that_ended_early_counts_what_it_did(op: Op) -> None:
    stats = dict(PLANNED)
    one(op, End.DONE).add_to(stats)
    assert stats == PLANNED | ({DONE[op]: 6} if op in DONE else {})


@pytest.mark.parametrize("op", Op)
def test_a_run_that_ended_early_counts_what_it_could_not_do(op: Op) -> None:
    stats = dict(PLANNED)
    one(op, End.FAILED).add_to(stats)
    assert stats["errors"] == PLANNED["errors"] + ("errors" in FAILED[op])


def test_a_plan_that_a_person_applied_archived_what_it_archived() -> None:
    stats = dict(PLANNED)
    one(Op.ARCHIVE, End.DONE).settle(stats, by_person=True)
    assert stats["archived"] == 1


def test_one_kind_of_asset_is_counted_by_itself() -> None:
    stats = dict(PLANNED)
    one(Op.CREATE, End.FAILED).settle(stats, "valve", by_person=False)
    assert stats == PLANNED


@pytest.mark.parametrize("op", Op)
def test_a_step_that_is_decided_anew_leaves_its_statistic_to_what_follows(op: Op) -> None:
    counts, stats = one(op, End.ANEW), dict(PLANNED)
    stats[statistic(op)] += 1  # as the second look plans it again
    counts.join(one(op, End.DONE))
    counts.settle(stats, by_person=False)
    assert stats == PLANNED
    counts.add_to(stats)
    assert stats == PLANNED | ({DONE[op]: 6} if op in DONE else {}), (
        "of a run that ended early it is counted once"
    )


def refused() -> Outcome:
    step = Restore(entity="valves", pnpid=7, plant3d_id="g", class_name="GateValve", tag="HV-1")
    return Outcome(refused=[Refused(step, RowError(code="moved", message="", plant3d_id="g"))])


def test_what_was_refused_failed_once_it_is_known_that_nobody_decides_it_anew() -> None:
    outcome, stats = refused(), dict(PLANNED)
    outcome.counts.settle(stats, by_person=False)
    assert (stats, outcome.errors, outcome.waiting) == (PLANNED, [], 0), "until then it is in no count"
    outcome.leave_refused()
    outcome.leave_refused()
    outcome.counts.settle(stats, by_person=False)
    assert (stats["errors"], len(outcome.errors), outcome.waiting) == (PLANNED["errors"] + 1, 1, 1)


def test_what_was_refused_and_is_decided_anew_failed_in_nothing() -> None:
    outcome = refused()
    outcome.errors = [RowError(code=code, message="", plant3d_id=code) for code in ("g", "another")]
    outcome.decide_refused_anew()
    outcome.leave_refused()
    assert ([error.code for error in outcome.errors], outcome.waiting) == (["another"], 0)


def test_every_member_of_what_a_later_look_came_to_is_added() -> None:
    error, finding = RowError(code="c", message=""), Finding(code="f", message="")
    later = refused()
    later.counts = one(Op.UPDATE, End.DONE)
    later.errors, later.findings, later.push = [error], [finding], {"applied": 1}
    later.written = later.cells_written = later.waiting = later.remembered = later.echoes = later.misses = 1
    empty = Outcome()
    alike = [name for name in Outcome.__struct_fields__ if getattr(later, name) == getattr(empty, name)]
    assert not alike, "each member has something to add"
    empty.join(later)
    assert empty == later
