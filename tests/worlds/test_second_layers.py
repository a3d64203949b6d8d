"""What is held twice, held once: the layer behind the first is silent here, so the first has to speak."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from plant3d_sync.errors import SkipRecordError
from tests.worlds import moves
from tests.worlds.play import happens, stage
from tests.worlds.world import POINTS, World


@pytest.fixture(scope="module")
def begin() -> Iterator[object]:
    with stage("P-1") as made:
        yield made.begin


@pytest.fixture
def world(begin: object) -> Iterator[World]:
    made: World = begin()  # type: ignore[operator]
    yield made
    made.close()


def codes(world: World) -> list[str]:
    """Codes of the row errors of the last run."""
    return [one["code"] for one in world.last["errors"]]


def test_apply_writes_nothing_of_an_item_that_a_designer_saved_since_the_plan(world: World) -> None:
    happens(world, "the designer types", "plan", "the designer types a maker", "apply")
    assert codes(world) == ["stale"] and world.last["writes"]["synapse"] == 0
    assert world.held("P-1") == "P-1, as drawn"


def test_apply_writes_nothing_over_what_a_user_typed_since_the_plan(world: World) -> None:
    happens(world, "the designer types a maker", "plan", "the user types a maker", "apply")
    assert codes(world) == ["stale"] and world.last["writes"]["synapse"] == 0
    assert world.held("P-1", "manufacturer") == "not ours 2"


def test_apply_asks_itself_whether_the_database_is_an_older_copy(world: World) -> None:
    """No run in between has said so and closed the plan."""
    shutil.copyfile(world.dcf, world.folder / "older.dcf")
    happens(world, "the designer types", "now", "the designer types a maker", "plan")
    shutil.copyfile(world.folder / "older.dcf", world.dcf)
    happens(world, "apply")
    assert world.code == 5 and world.held("P-1", "manufacturer") == "Sulzer"


def test_a_plan_that_was_applied_begins_no_run(world: World) -> None:
    happens(world, "the designer types", "plan")
    plan = world.plan
    happens(world, "apply")
    before = world.rows("SELECT id FROM run")
    world.plan = plan
    happens(world, "apply")
    assert world.code == 3 and world.rows("SELECT id FROM run") == before


def test_an_item_that_cannot_be_said_is_left_out_of_its_batch(world: World) -> None:
    """Texts are cleaned where they are read, so only here an item comes that has no JSON."""
    bad, encode = world.items["P-1"][1], world.memory.encode

    def refuses_one(writes: Sequence[Any]) -> bytes:
        if bad in [one.plant3d_id for one in writes]:
            raise SkipRecordError("no JSON", code="invalid_value", details={"plant3d_id": bad})
        return encode(writes)

    world.memory.encode = refuses_one  # type: ignore[method-assign]
    happens(world, "the designer types", "the designer draws P-9", "now")
    assert codes(world) == ["invalid_value"] and world.held("P-9") == "designer 2"
    assert world.held("P-1") == "P-1, as drawn"


def frozen_while_it_is_taken_back(world: World, point: str) -> None:
    """A push stops there; the user takes his words back and another run goes over it; then the push goes on."""
    happens(world, "the user types")

    def takes_it_back() -> None:
        row = world.asset("P-1")
        assert row is not None
        world.memory.user_edit(str(row["id"]), description="P-1, as drawn")
        moves.another_worker(world, "P-1")

    POINTS.at, POINTS.happens = point, takes_it_back
    world.cli("now", "mine")
    assert world.code == 75


def test_a_run_that_was_overtaken_after_its_intent_writes_no_cell(world: World) -> None:
    """The cell holds the expected value again, so only the lease can tell."""
    frozen_while_it_is_taken_back(world, "push.intent_stored")
    assert world.cell("P-1") == "P-1, as drawn"


def test_what_an_overtaken_run_writes_all_the_same_is_recorded_under_its_name(world: World) -> None:
    """It had looked at its lease already."""
    frozen_while_it_is_taken_back(world, "push.before_begin")
    assert world.cell("P-1") == "user 1"
    changes = world.rows("SELECT run_id, fields FROM change WHERE side = 'plant3d' ORDER BY id")
    overtaken = world.rows("SELECT id FROM run ORDER BY seq DESC LIMIT 2")[1]["id"]
    assert [row["run_id"] for row in changes if "user 1" in row["fields"]] == [overtaken]


def is_quiet(world: World) -> bool:
    """Whether the next run passes everything over."""
    happens(world, "now")
    return bool(world.last["unchanged_source"])


@pytest.fixture
def decided(world: World) -> World:
    """A world in which a decision stands."""
    happens(world, "now")
    assert is_quiet(world)
    return world


def test_after_a_run_that_failed_the_next_one_compares(decided: World) -> None:
    decided.memory.lies.refuse_calls = 1
    happens(decided, "now")
    assert decided.code == 75
    assert not is_quiet(decided)


def test_after_an_apply_the_next_run_compares(decided: World) -> None:
    """Though the plan held nothing to write, and neither side moved."""
    happens(decided, "plan", "apply")
    assert decided.code == 0
    assert not is_quiet(decided)


def test_what_a_user_typed_while_a_run_adopted_is_compared_by_the_next_one(decided: World) -> None:
    """SYNAPSE's answer showed it already: in the feed it is no news any more."""
    happens(decided, "the state is lost", "now, and before it writes the user types")
    assert not is_quiet(decided)
    assert decided.cell("P-1") == decided.held("P-1") == "user 1"
