"""What a step counts as, whichever way it ends: the rows of one table."""

from __future__ import annotations

import pytest

from plant3d_sync.model.plan import STAT_NAMES, Op
from plant3d_sync.model.tally import End, StepCounts

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


def test_what_a_second_look_counted_joins_the_first() -> None:
    counts, stats = one(Op.UPDATE, End.FAILED), dict(PLANNED)
    counts.join(one(Op.UPDATE, End.FAILED))
    counts.add("equipment", Op.UPDATE, End.FAILED, -1)
    counts.settle(stats, by_person=False)
    assert stats["updated"] == 4
