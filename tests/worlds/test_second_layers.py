"""What is held twice, held once: the layer behind the first is silent here, so the first has to speak."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.worlds.play import act, stage
from tests.worlds.world import World


@pytest.fixture(scope="module")
def begin() -> Iterator[object]:
    with stage("P-1") as made:
        yield made.begin


@pytest.fixture
def world(begin: object) -> Iterator[World]:
    made: World = begin()  # type: ignore[operator]
    yield made
    made.close()


def happens(world: World, *names: str) -> None:
    for name in names:
        assert act(world, name, "P-1"), name


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
