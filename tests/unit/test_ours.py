"""A value that left the base: an edit, an old copy of ours, or our own late write."""

from __future__ import annotations

import pytest

from plant3d_sync.model.ours import Origin, Ours
from plant3d_sync.model.record import Value
from plant3d_sync.reconcile.ours import ALIVE_COUNT, ALIVE_SECONDS, Copy, of_cell, of_field, what_it_is
from tests.support.builders import same

NOW = 1_000_000_000.0


def ours(value: Value, origin: Origin = Origin.WRITTEN, *, ticks: int | None = None, **more: float) -> Ours:
    return Ours("Pump", "Remark", value, origin, more.get("at", NOW), ticks)


PUSHED_TWICE = (
    ours("drawn", Origin.REPLACED),
    ours("first", ticks=10),
    ours("first", Origin.REPLACED),
    ours("second", ticks=20),
)


@pytest.mark.parametrize(
    ("known", "cell", "ticks", "expected"),
    [
        (PUSHED_TWICE, "typed", 30, Copy.NO),
        (PUSHED_TWICE, "drawn", 30, Copy.OLD),
        (PUSHED_TWICE, " drawn ", 30, Copy.OLD),
        (PUSHED_TWICE, "first", 30, Copy.OLD),
        (PUSHED_TWICE, "second", 30, Copy.NO),
        (PUSHED_TWICE, "second", 20, Copy.LATE),
        ((ours(None, Origin.REPLACED), ours("filled", ticks=10)), None, 30, Copy.OLD),
        ((ours("late", Origin.INTENDED),), "late", 30, Copy.LATE),
        ((ours("late", Origin.INTENDED),), "typed", 30, Copy.NO),
        ((ours("late", Origin.INTENDED), *PUSHED_TWICE), "late", 30, Copy.OLD),
        ((ours("late", ticks=40), *PUSHED_TWICE), "late", 40, Copy.LATE),
        ((ours("late", ticks=40), *PUSHED_TWICE), "late", 41, Copy.OLD),
        ((ours("imported", Origin.WORKBOOK),), "imported", 30, Copy.OLD),
        ((ours("older", Origin.WORKBOOK), ours("imported", Origin.WORKBOOK)), "older", 30, Copy.OLD),
        ((), "typed", 30, Copy.NO),
    ],
)
def test_what_a_value_that_left_the_base_is(
    known: tuple[Ours, ...], cell: Value, ticks: int, expected: Copy
) -> None:
    assert what_it_is(cell, ticks, of_cell(known, "Pump", "Remark", NOW), same) is expected


def test_a_value_is_ours_for_thirty_days_and_the_last_ten_however_old() -> None:
    long_ago, lately = NOW - ALIVE_SECONDS - 1, NOW - ALIVE_SECONDS
    old = [ours(f"old {number}", at=long_ago) for number in range(ALIVE_COUNT + 1)]
    assert [one.value for one in of_cell(old, "Pump", "Remark", NOW)] == [
        f"old {number}" for number in range(ALIVE_COUNT, 0, -1)
    ]
    new = [ours(f"new {number}", at=lately) for number in range(3 * ALIVE_COUNT)]
    assert len(of_cell([*old, *new], "Pump", "Remark", NOW)) == len(new)


def test_another_cell_of_the_item_tells_nothing() -> None:
    assert of_cell(PUSHED_TWICE, "Pump", "Note", NOW) == []
    assert len(of_cell(PUSHED_TWICE, "PUMP", "remark", NOW)) == len(PUSHED_TWICE)


@pytest.mark.parametrize(
    ("held_at", "written_at", "found"),
    [
        pytest.param(NOW - 20, NOW - 10, True, id="a session is open since before our write"),
        pytest.param(NOW - 10, NOW - 10, True, id="given and written by one run"),
        pytest.param(NOW - 5, NOW - 10, False, id="typed by a designer after our write"),
        pytest.param(NOW - 20, None, False, id="nobody ever wrote"),
        pytest.param(NOW - ALIVE_SECONDS - 1, NOW - 10, False, id="no session lives so long"),
    ],
)
def test_what_a_cell_held_before_we_wrote_it_is_an_old_copy(
    held_at: float, written_at: float | None, found: bool
) -> None:
    held = Ours("", "description", "typed", Origin.HELD, held_at)
    known = [held, held._replace(column="another field")]
    if written_at is not None:
        known.append(ours("from SYNAPSE", at=written_at))
    alive = of_cell(known, "Pump", "Remark", NOW)
    assert of_field(known, alive, "description", NOW) == [held] * found
    copies = [*alive, *of_field(known, alive, "description", NOW)]
    assert what_it_is("typed", 30, copies, same) is (Copy.OLD if found else Copy.NO)
