"""What a run sees ends what it does not decide: that an item is missed, that a cell waits to be written."""

from __future__ import annotations

import pytest

from tests.worlds.play import happens
from tests.worlds.world import World

TAG = "P-1"
MISSED = ("missing items are archived late", "the designer deletes the item", "now")


def absence(world: World) -> tuple[str, object]:
    (row,) = world.rows("SELECT state, missing FROM link WHERE plant3d_id = ?", world.items[TAG][1])
    return row["state"], row["missing"]


def lives(world: World) -> bool:
    row = world.asset(TAG)
    return row is not None and row["deleted_at"] is None


def test_an_error_of_its_row_ends_its_absence(world: World) -> None:
    happens(world, *MISSED, "the designer brings the item back", "the designer copies the row", "now")
    assert [error["code"] for error in world.last["errors"]] == ["identity_mismatch"]
    assert absence(world) == ("active", None)
    happens(world, "the designer deletes the item", "three saves within seconds")
    assert lives(world), "it was there before those three saves"


def test_a_run_that_a_guard_stopped_saw_it_too(world: World) -> None:
    happens(world, *MISSED, "the designer brings the item back", "guards are strict")
    happens(world, "the designer empties all descriptions", "now")
    assert world.last["outcome"] == "guarded"
    assert absence(world) == ("active", None)


def test_apply_leaves_an_item_alone_that_is_back_under_another_number(world: World) -> None:
    happens(world, "missing items are asked about", "the designer deletes the item", "now", "now", "now")
    assert absence(world)[0] == "pending"
    happens(world, "plan", "the designer brings the item back", "the designer copies the row", "apply")
    assert [error["code"] for error in world.last["errors"]] == ["stale"]
    assert lives(world)


@pytest.mark.parametrize(
    "gone",
    [("the user archives the asset",), ("missing items are asked about", "the designer deletes the item")],
)
def test_a_pull_ends_the_wait_of_a_cell_whose_asset_or_item_is_gone(
    world: World, gone: tuple[str, ...]
) -> None:
    happens(world, "the user types two lines", "now")
    assert world.rows("SELECT code FROM quarantine") == [{"code": "control_character"}]
    happens(world, *gone, "pull")
    assert world.rows("SELECT code FROM quarantine") == []
    assert world.cli("waiting", "mine")["counts"].get("quarantine", 0) == 0
