"""Whole worlds at random, played to their rest: half of the seeds of the ordinary suite, and many more with `--long`.

Small parts: what takes long begins early, since files with many tests come first. A worker plays a whole file: the other
half is in `test_random_worlds_too.py`.
"""

from __future__ import annotations

import pytest

from tests.worlds.amounts import LONG_SEEDS, SEEDS
from tests.worlds.chance import FAMILY, families
from tests.worlds.play import Stage
from tests.worlds.regressions import SAME_END

PART = 2 * FAMILY
HALF = SEEDS // 2 // PART * PART


def parts(first: int, last: int) -> list[range]:
    return [range(start, min(start + PART, last)) for start in range(first, last, PART)]


def play_well(on: Stage, seeds: range) -> None:
    for seed, _story, failure in families(on, seeds):
        assert failure is None or seed in SAME_END, f"seed {seed}\n{on.shortened(failure)}"


@pytest.mark.parametrize("seeds", parts(0, HALF), ids=str)
def test_no_world_of_these_seeds_breaks_a_promise(on: Stage, seeds: range) -> None:
    play_well(on, seeds)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seeds", parts(SEEDS, LONG_SEEDS), ids=str)
def test_no_world_of_many_seeds_breaks_a_promise(on: Stage, seeds: range) -> None:
    play_well(on, seeds)


def test_a_seed_tells_the_same_story_each_time_alone_or_among_others(on: Stage) -> None:
    among = {seed: story for seed, story, _failure in families(on, range(FAMILY))}
    alone = {seed: story for seed, story, _failure in families(on, range(3, 4))}
    assert alone[3] == among[3] and len(set(among.values())) > 1
