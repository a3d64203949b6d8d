"""The other half of the random worlds of the ordinary suite: see `test_random_worlds.py`."""

from __future__ import annotations

import pytest

from tests.worlds.amounts import SEEDS
from tests.worlds.play import Stage
from tests.worlds.test_random_worlds import HALF, parts, play_well


@pytest.mark.parametrize("seeds", parts(HALF, SEEDS), ids=str)
def test_no_world_of_these_seeds_breaks_a_promise(on: Stage, seeds: range) -> None:
    play_well(on, seeds)
